"""`drover submit` and `drover result`: jobs that survive every process, from a shell; who answers them is not known here."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from common import codec
from common.client import Drover, chat_request
from common.durable import Note
from common.durable_client import answer_or_raise
from common.errors import BadRequest
from common.messages import Message, Priority, Role
from dispatcher.cli.ask import Wish
from dispatcher.cli.connect import open_producer, shell_settings
from dispatcher.cli.questions import read

WAIT_MOST_S = 30 * 86_400.0
"""`--wait` without a time: longer than any job lives."""


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
    """Put all questions of a file into the queue, and print their ids in the order of the file."""
    conversations = read(path)
    for conversation in conversations:
        if len(conversation.questions) > 1:
            raise BadRequest(
                f"{path}: {conversation.id} asks several questions, each of which needs the answer before it: "
                "durable jobs stand alone; use drover ask --file"
            )
    async with open_producer(shell_settings()) as drover:
        for conversation in conversations:
            (question,) = conversation.questions
            await _submit(drover, (*wish.before(), *question.messages), wish, posting)
    return 0


async def _submit(drover: Drover, messages: tuple[Message, ...], wish: Wish, posting: Posting) -> None:
    fields = wish.fields() | ({} if posting.job is None else {"job": posting.job})
    done = await drover.durable.submit(
        chat_request(messages, **fields), priority=posting.priority, tenant=posting.tenant
    )
    sys.stdout.write(f"{done.job}\n")
    sys.stdout.flush()


async def result(job: str, *, wait: bool, tenant: str | None, as_json: bool) -> int:
    """Print a job's answer. Raises the job's own error, `UnknownJob`, and `BusTimeout` when it is not over."""
    async with open_producer(shell_settings()) as drover:
        note = await drover.durable.result(job, wait_s=WAIT_MOST_S if wait else 0.0, tenant=tenant)
    if as_json:
        sys.stdout.write(f"{codec.encode_pretty(codec.plain(note))}\n")
        return 0 if note.final and note.error is None else 1
    sys.stdout.write(f"{_text(answer_or_raise(note))}\n")
    return 0


def _text(note: Note) -> str:
    return str((note.answer or {}).get("text", ""))
