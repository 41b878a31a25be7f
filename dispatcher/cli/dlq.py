"""`drover dlq`: the jobs that could not be answered, one line each, and what to do with them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from common import codec
from common.bus.jetstream import JetStream
from common.dead_letters import DeadLetters, Filed
from common.subjects import Subjects
from dispatcher.cli.batch_view import LOG_WIDTH
from dispatcher.cli.cache_words import plain
from dispatcher.cli.columns import Column, fitted
from dispatcher.cli.connect import open_bus, shell_settings

ERROR_CHARS = 160
"""The whole error is in `drover dlq show`."""


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
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
    console.print(table(found, console.width) if found else "no dead letters")
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
            sys.stdout.write(f"{plain((await letters.retry(one)).letter.job)}\n")
    return 0


async def drop(which: list[str]) -> int:
    """Forget them."""
    async with _letters() as letters:
        for one in which:
            sys.stdout.write(f"{plain((await letters.drop(one)).letter.job)} dropped\n")
    return 0


def table(found: Sequence[Filed], width: int) -> Table:
    """Draw one row per letter; what is copied stays in one piece, and of a long error the beginning is shown."""
    return fitted(_COLUMNS, found, width)


def _since(filed: Filed) -> str:
    return datetime.fromtimestamp(filed.letter.at_unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _error(filed: Filed) -> str:
    message = str((filed.letter.error or {}).get("message", ""))
    return message if len(message) <= ERROR_CHARS else f"{message[: ERROR_CHARS - 1].rstrip()}…"


_COLUMNS: tuple[Column[Filed], ...] = (
    Column("id", 0, lambda filed: str(filed.seq)),
    Column("job", 0, lambda filed: filed.letter.job, right=False),
    Column("tenant", 4, lambda filed: filed.letter.tenant, right=False),
    Column("class", 5, lambda filed: filed.letter.priority, right=False),
    Column("reason", 0, lambda filed: filed.letter.reason, right=False),
    Column("tries", 3, lambda filed: str(filed.letter.tries)),
    Column("since (UTC)", 2, _since, right=False),
    Column("last error", 1, _error, right=False, words=True),
)
