"""`drover dlq`: the jobs that could not be answered, one line each, and what to do with them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from common import codec
from common.bus.jetstream import JetStream
from common.dead_letters import DeadLetters, Filed
from common.subjects import Subjects
from dispatcher.cli.connect import open_bus, shell_settings


@asynccontextmanager
async def _letters() -> AsyncIterator[DeadLetters]:
    settings = shell_settings()
    async with open_bus(settings) as bus:
        yield DeadLetters(JetStream(bus), Subjects(settings.bus.prefix))


async def ls(*, as_json: bool) -> int:
    """List them, the oldest first."""
    async with _letters() as letters:
        found = [filed async for filed in letters.all()]
    if as_json:
        rows = [{"id": filed.seq, **codec.plain(filed.letter)} for filed in found]
        sys.stdout.write(f"{codec.encode_pretty(rows)}\n")
        return 0
    Console().print(_table(found) if found else "no dead letters")
    return 0


async def show(which: str) -> int:
    """Print one as JSON, with what was sent."""
    async with _letters() as letters:
        filed = await letters.one(which)
    sys.stdout.write(f"{codec.encode_pretty({'id': filed.seq, **codec.plain(filed.letter)})}\n")
    return 0


async def retry(which: list[str]) -> int:
    """Put them into their queues again, and print their jobs' ids."""
    async with _letters() as letters:
        for one in which:
            sys.stdout.write(f"{(await letters.retry(one)).letter.job}\n")
    return 0


async def drop(which: list[str]) -> int:
    """Forget them."""
    async with _letters() as letters:
        for one in which:
            sys.stdout.write(f"{(await letters.drop(one)).letter.job} dropped\n")
    return 0


def _table(found: list[Filed]) -> Table:
    table = Table()
    for name in ("id", "job", "tenant", "class", "reason", "tries", "since", "last error"):
        table.add_column(name, overflow="fold", no_wrap=name in {"id", "job"})  # what is copied stays in one piece
    for filed in found:
        letter = filed.letter
        since = datetime.fromtimestamp(letter.at_unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
        error = str((letter.error or {}).get("message", ""))
        table.add_row(
            str(filed.seq), letter.job, letter.tenant, letter.priority, letter.reason, str(letter.tries), since, error
        )
    return table
