"""Writes what came into the tables, each record once, however often it comes, and settles what jobs took; it knows no bus."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from common.bus.streams import Kept
from common.records import Entry, JobEntry
from dispatcher.ledger import purse, tables
from dispatcher.ledger.database import Database, RowRefused
from dispatcher.ledger.rows import Row, rows_of

MOST_REJECTED = 1000
REJECTED_BYTES = 2048
"""Of each the beginning is kept: enough to know its sender."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that can't be kept, and why."""

    kept: Kept
    why: str


@dataclass(frozen=True, slots=True)
class Read:
    """A message that can."""

    kept: Kept
    entry: Entry


Came = Read | Rejected


class Store:
    """The tables, for one writer."""

    def __init__(
        self, database: Database, *, clock: Callable[[], float] = time.time, written: Callable[[], None] = lambda: None
    ) -> None:
        """Write into `database`; `written` is called when something is there that was not."""
        self._database = database
        self._clock = clock
        self._written = written

    async def write(self, batch: Sequence[Came]) -> int:
        """Write a batch as one transaction; when it returns, all of it is there. Gives how many could not be kept.

        A row that the database itself refuses must hold up no other: then each is written by itself, and that one is noted among
        those that could not be kept. Raises `LedgerUnavailable`: then nothing of it is there.
        """
        try:
            await self._write(batch)
            refused = sum(isinstance(one, Rejected) for one in batch)
        except RowRefused:
            refused = await self._one_by_one(batch)
        self._written()
        return refused

    async def _one_by_one(self, batch: Sequence[Came]) -> int:
        refused = 0
        for one in batch:
            try:
                await self._write([one])
                refused += isinstance(one, Rejected)
            except RowRefused as error:
                await self._write([Rejected(one.kept, f"the database refused it: {error}")])
                refused += 1
        return refused

    async def _write(self, batch: Sequence[Came]) -> None:
        by_table: dict[str, list[Row]] = {}
        for one in batch:
            for name, rows in _rows(one).items():
                by_table.setdefault(name, []).extend(rows)
        async with self._database.writing() as connection:
            new = await _insert_jobs(connection, by_table.pop(tables.jobs.name, []))
            for table in tables.KEPT:
                if found := by_table.get(table.name):
                    await insert(connection, table, found)
            jobs = [one.entry for one in batch if isinstance(one, Read) and isinstance(one.entry, JobEntry)]
            ended = {one.record: one for one in jobs if one.record in new}
            if ended:
                await purse.settle(connection, list(ended.values()), self._clock())
            if tables.rejected.name in by_table:
                await _forget_rejected(connection)


async def insert(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows; one that is there already stays as it is."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    await connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows))


async def _insert_jobs(connection: AsyncConnection, rows: Sequence[Row]) -> set[str]:
    """Insert records of jobs, and name those that were not there."""
    if not rows:
        return set()
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    adding = dialect.insert(tables.jobs).on_conflict_do_nothing().returning(tables.jobs.c.record)
    return set((await connection.execute(adding, list(rows))).scalars())


def _rows(one: Came) -> dict[str, list[Row]]:
    match one:
        case Read():
            found = rows_of(one.entry)
            for drawn in found.get(tables.power.name, ()):
                drawn["stored_unix_s"] = one.kept.stored_unix_s
            return found
        case Rejected():
            row: Row = {
                "seq": one.kept.seq,
                "stored_unix_s": one.kept.stored_unix_s,
                "subject": one.kept.subject[:500].replace("\0", "?"),
                "why": one.why[:500].replace("\0", "?"),
                "size_bytes": len(one.kept.data),
                "data": one.kept.data[:REJECTED_BYTES],
            }
            return {tables.rejected.name: [row]}


async def _forget_rejected(connection: AsyncConnection) -> None:
    """Keep the newest ones."""
    stored = tables.rejected.c.stored_unix_s
    newest = select(stored).order_by(stored.desc()).offset(MOST_REJECTED).limit(1).scalar_subquery()
    await connection.execute(delete(tables.rejected).where(stored <= newest))
