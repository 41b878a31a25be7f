"""`drover submit` and `drover result`: jobs that survive every process, from a shell; who answers them is not known here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from common import codec
from common.client import Drover, chat_request
from common.durable import Note, Stage
from common.errors import UnknownJob
from common.messages import ChatRequest, Message, Priority, Role
from dispatcher.cli import running
from dispatcher.cli.ask import Wish
from dispatcher.cli.connect import open_producer, shell_settings
from dispatcher.cli.requests import requests

WAIT_MOST_S = 30 * 86_400.0
"""`--wait` without a time: longer than any job lives."""


STATUSES: Mapping[Stage, int] = {
    Stage.DONE: 0,
    Stage.FAILED: 3,
    Stage.CANCELLED: 4,
    Stage.QUEUED: 5,
    Stage.RUNNING: 5,
    Stage.RETRYING: 5,
}
"""The exit status of `drover result` for each state of the job; 1 is left for what went wrong on the way, 2 for wrong usage."""

UNKNOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """How the command line wants its jobs queued."""

    priority: Priority
    tenant: str | None
    job: str | None = None


async def submit(prompt: str, wish: Wish, posting: Posting) -> int:
    """Put one job into the queue and print its id. Raises `QueueFull`, `StreamsUnavailable`."""
    async with open_producer(shell_settings()) as drover:
        await _submit(drover, (*wish.before(), Message(role=Role.USER, content=prompt)), wish, posting)
    return 0


async def submit_file(path: Path, wish: Wish, posting: Posting) -> int:
    """Put all requests of a file into the queue, and print their ids in its order; nothing is sent when a row is wrong."""
    rows = requests(path, wish, posting.priority)
    async with open_producer(shell_settings()) as drover:
        for request in rows:
            await _post(drover, request, posting)
    return 0


async def _submit(drover: Drover, messages: tuple[Message, ...], wish: Wish, posting: Posting) -> None:
    fields = wish.fields() | ({} if posting.job is None else {"job": posting.job})
    await _post(drover, chat_request(messages, **{**fields, "priority": posting.priority}), posting)


async def _post(drover: Drover, request: ChatRequest, posting: Posting) -> None:
    done = await drover.durable.submit(request, tenant=posting.tenant)
    sys.stdout.write(f"{done.job}\n")
    sys.stdout.flush()
    if done.known and request.job is not None:
        running.say(f"job {done.job} was there before: it is {done.state}, and nothing was added")


async def result(job: str, *, wait: bool, tenant: str | None, as_json: bool) -> int:
    """Print a job's answer, and tell by the exit status how it ended, as `STATUSES` and `UNKNOWN` say."""
    try:
        async with open_producer(shell_settings()) as drover:
            note = await drover.durable.result(
                job, wait_s=WAIT_MOST_S if wait else 0.0, tenant=tenant, heard=_Causes().heard
            )
    except UnknownJob as error:
        running.fail(error)
        return UNKNOWN
    if as_json:
        sys.stdout.write(f"{codec.encode_pretty(codec.plain(replace(note, fingerprint=None)))}\n")
    elif note.state is Stage.DONE:
        sys.stdout.write(f"{_text(note)}\n")
    elif note.failure is not None and note.final:
        running.fail(note.failure)
    else:
        why = "" if note.failure is None else f" ({note.failure.message})"
        running.say(
            f"job {note.job} is {note.state}" + ("" if note.final else f" still{why}: ask again later, or with --wait")
        )
    return STATUSES[note.state]


class _Causes:
    """Says on standard error why a job waits or is tried again, each cause once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def heard(self, note: Note) -> None:
        """Take in what happens."""
        cause = "" if note.failure is None else note.failure.message
        if cause and cause not in self._said:
            self._said.add(cause)
            running.say(f"job {note.job} is {note.state}: {cause}")


def _text(note: Note) -> str:
    return str((note.answer or {}).get("text", ""))
