"""`drover ledger`: the database itself, whether or not a ledger runs over it."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common import codec
from common.conversations import Owner
from common.errors import ConfigError
from common.ledger import Span
from common.settings import load
from common.votes import mark_of
from dispatcher.cli import times
from dispatcher.cli.cache_words import plain
from dispatcher.cli.running import FAILED, say
from dispatcher.ledger import archive, checking, export, moving, schema
from dispatcher.ledger.archive import whole
from dispatcher.ledger.database import Database, opened, place_of
from dispatcher.ledger.retention import prune as prune_rows
from dispatcher.ledger.sqlite_file import sole_writer
from dispatcher.ledger.talk.writing import remove_all
from dispatcher.ledger.votes import keeping
from dispatcher.settings import LedgerSection


@dataclass(frozen=True, slots=True)
class _Settings:
    """What these verbs read."""

    ledger: LedgerSection


@asynccontextmanager
async def _database() -> AsyncIterator[Database]:
    settings = load(_Settings).ledger
    async with opened(place_of(settings.database_url.get_secret_value(), settings.state_dir)) as database:
        yield database


async def stats(*, as_json: bool) -> int:
    """Say what it holds."""
    async with _database() as database:
        found = await checking.stats(database)
    if as_json:
        sys.stdout.write(f"{codec.encode_pretty(codec.plain(found))}\n")
        return 0
    lines = [("database", found.database), ("size", _size(found.size_bytes)), ("tables", f"version {found.tables}")]
    lines += [(name, str(number)) for name, number in found.rows.items()]
    if found.first_unix_s is not None and found.last_unix_s is not None:
        lines.append(("jobs from", f"{_when(found.first_unix_s)} to {_when(found.last_unix_s)} UTC"))
    width = max(len(name) for name, _ in lines)
    sys.stdout.writelines(f"{name:<{width}}  {value}\n" for name, value in lines)
    return 0


async def export_rows(of: str, form: str, target: str, span: Span) -> int:
    """Write a table to a file, or as CSV to standard output."""
    async with _database() as database:
        await schema.require_newest(database)
        if target == "-":
            if form != "csv":
                raise ConfigError("Parquet can't be written to standard output: name a file")
            await export.write_csv(database, of, span, sys.stdout)
            return 0
        path = Path(target)
        with whole(path, database.place) as draft:
            number = await _exported(database, of, form, span, draft)
    say(f"{number} rows of {of} written to {path}")
    return 0


async def _exported(database: Database, of: str, form: str, span: Span, draft: Path) -> int:
    if form == "parquet":
        from dispatcher.ledger.parquet import write_parquet  # noqa: PLC0415  # pyarrow need not be there

        return await write_parquet(database, of, span, draft)
    with draft.open("w", encoding="utf-8", newline="") as out:
        return await export.write_csv(database, of, span, out)


async def backup(target: Path) -> int:
    """Write a backup; whoever writes the ledger goes on meanwhile."""
    async with _database() as database:
        await schema.require_newest(database)
        counts = await archive.backup(database, target)
    told = ", ".join(f"{number} {name}" for name, number in counts.items()) or "a copy of the file"
    say(f"{target} written: {told}")
    return 0


async def restore(source: Path, *, force: bool) -> int:
    """Put a backup into the database, all of it or nothing."""
    rows = archive.source_of(source)
    async with _database() as database:
        with sole_writer(database.place.file):
            await schema.upgrade(database)
            counts = await moving.restore(database, rows, force=force)
    say(f"{database.place.shown} restored: {', '.join(f'{number} {name}' for name, number in counts.items())}")
    return 0


async def prune(*, days: int | None) -> int:
    """Forget what is too old now, as the ledger does by itself every few hours."""
    settings = load(_Settings).ledger
    async with _database() as database:
        await schema.require_newest(database)
        gone = await prune_rows(
            database,
            now_unix_s=time.time(),
            days=settings.days if days is None else days,
            power_days=settings.power_days,
            conversation_days=settings.conversation_days,
            sure=days is not None,
        )
    say(
        f"{gone.jobs} jobs, {gone.devices} device events, {gone.power} rows of power, {gone.conversations} conversations and "
        f"{gone.keys} ended keys forgotten; {gone.power_merged} rows of power put together by the hour"
    )
    return 0


async def forget(*, tenant: str, user: str) -> int:
    """Forget the conversations of one user, and what it said of answers."""
    async with _database() as database:
        await schema.require_newest(database)
        gone = await remove_all(database, Owner(tenant=tenant, user=user))
        words = await keeping.forget(database, tenant, mark_of(tenant, user))
    also = f", and {words} of its votes" if words else ""
    say(f"{gone} conversations of {tenant}{f'/{user}' if user else ''} forgotten{also}")
    return 0


async def check() -> int:
    """Read all of it; status 1 when something is wrong."""
    async with _database() as database:
        found = await checking.faults(database)
    for line in found:
        sys.stdout.write(f"{plain(line)}\n")
    if found:
        say(f"{database.place.shown} is damaged: restore a backup")
        return FAILED
    say(f"{database.place.shown} is sound")
    return 0


def span_of(since: str | None, until: str | None) -> Span:
    """Read two moments. Raises `BadRequest`."""
    begin, end = times.span(since, until, now=datetime.now(UTC))
    return Span(since_unix_s=begin, until_unix_s=end)


def _when(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"
