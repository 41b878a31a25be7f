"""`drover ask --file`: many conversations at once, the turns of each one after the other; formats are not known here."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from common.chat_stream import Answer
from common.client import Drover
from common.errors import BadRequest, FleetError
from common.messages import AUTO, Message, Role
from dispatcher.cli import questions, results
from dispatcher.cli.ask import Wish
from dispatcher.cli.batch_view import Report, print_summary, progress
from dispatcher.cli.connect import open_producer, shell_settings
from dispatcher.cli.questions import Conversation
from dispatcher.cli.results import Row
from dispatcher.cli.running import say

RETRY_WAIT_S = 0.5
RETRY_WAIT_MAX_S = 10.0
RESULTS = Path("results")


async def ask_file(
    source: Path, wish: Wish, *, concurrency: int, retries: int, output: str | None, summary: bool
) -> int:
    """Ask all questions of the file; write the rows as CSV, also when interrupted. Gives 1 when a question got no answer.

    Raises `BadRequest` for a file that can't be read or an output that can't be written.
    """
    conversations = questions.read(source)
    target = _target(source, output)
    settings = shell_settings()
    rows: dict[tuple[str, int], Row] = {}
    began = monotonic()
    total = sum(len(conversation.questions) for conversation in conversations)
    try:
        async with open_producer(settings, tenant=wish.tenant) as drover:
            with progress(total) as report:
                await _ask_all(
                    drover, conversations, wish, concurrency=concurrency, retries=retries, report=_keep(rows, report)
                )
    finally:
        ordered = _ordered(conversations, rows)
        _write(target, ordered)
        if summary:
            print_summary(results.summarise(ordered), total=total, took_s=monotonic() - began)
    return 0 if len(ordered) == total and not any(row.error for row in ordered) else 1


async def _ask_all(
    drover: Drover, conversations: Sequence[Conversation], wish: Wish, *, concurrency: int, retries: int, report: Report
) -> None:
    waiting = iter(conversations)

    async def work() -> None:
        for conversation in waiting:  # shared: each takes the next one
            await converse(drover, conversation, wish, retries=retries, report=report)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(concurrency, len(conversations))):
            tasks.create_task(work())


async def converse(drover: Drover, conversation: Conversation, wish: Wish, *, retries: int, report: Report) -> None:
    """Ask the questions of one conversation in turn, each with all that was said before it.

    After a failure the remaining questions are reported as failed too: what they refer to is missing.
    """
    if conversation.model is not None and wish.model == AUTO:
        wish = replace(wish, model=conversation.model)
    history = list(wish.before())
    cause: FleetError | None = None
    for turn, question in enumerate(conversation.questions, start=1):
        where = Row(id=conversation.id, category=conversation.category, turn=turn)
        if cause is not None:
            report(results.failed(where, cause, asked=0))
            continue
        history += question.messages
        try:
            answer, asked = await _persist(drover, history, wish, retries)
        except _GaveUp as failure:
            report(
                results.failed(where, failure.error, asked=failure.asked, device=failure.device, model=failure.model)
            )
            cause = type(failure.error)(f"not asked, since turn {turn} failed")
            continue
        history.append(Message(role=Role.ASSISTANT, content=answer.text))
        report(results.answered(where, answer, asked=asked))


class _GaveUp(Exception):
    """A question got no answer, after as many tries as were allowed."""

    def __init__(self, error: FleetError, asked: int) -> None:
        super().__init__(error.message)
        self.error = error
        self.asked = asked
        self.device = str(error.details.get("device") or "")
        self.model = str(error.details.get("model") or "")


async def _persist(drover: Drover, history: Sequence[Message], wish: Wish, retries: int) -> tuple[Answer, int]:
    """Ask again after an error that a second try may mend: nobody has read the text so far, so it can start anew."""
    asked = 0
    while True:
        asked += 1
        try:
            return await drover.ask(history, **wish.fields()), asked
        except FleetError as error:
            if not error.retryable or asked > retries:
                raise _GaveUp(error, asked) from error
            wait_s = min(error.retry_after_s or RETRY_WAIT_S, RETRY_WAIT_MAX_S)
            say(f"{error.message} (asked again in {wait_s:.2g} s, retry {asked} of {retries})")
            await asyncio.sleep(wait_s)


def _keep(rows: dict[tuple[str, int], Row], report: Report) -> Report:
    def keep(row: Row) -> None:
        rows[row.id, row.turn] = row
        report(row)

    return keep


def _ordered(conversations: Sequence[Conversation], rows: dict[tuple[str, int], Row]) -> list[Row]:
    keys = (
        (conversation.id, turn + 1) for conversation in conversations for turn in range(len(conversation.questions))
    )
    return [rows[key] for key in keys if key in rows]


def _target(source: Path, output: str | None) -> Path | None:
    """Give the file for the rows, None for standard output; its directory is made now, before the work is done."""
    if output == "-":
        return None
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    target = Path(output) if output else RESULTS / f"{source.stem}-{stamp}.csv"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.open("a", encoding="utf-8").close()
    except OSError as error:
        raise BadRequest(f"{target} can't be written ({error.strerror}): choose another --output") from error
    return target


def _write(target: Path | None, rows: Sequence[Row]) -> None:
    text = results.to_csv(rows)
    if target is None:
        sys.stdout.write(text)
        return
    draft = target.with_name(f".{target.name}.tmp")
    draft.write_text(text, encoding="utf-8", newline="")
    draft.replace(target)
    say(f"{len(rows)} rows in {target}")
