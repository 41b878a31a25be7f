"""Rows out of a database and into one, as one state of all tables; where they lie between is not known here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from sqlalchemy import Table, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from common.errors import ConfigError
from dispatcher.ledger import schema
from dispatcher.ledger.database import Database, Place, RowRefused, opened
from dispatcher.ledger.rows import Row
from dispatcher.ledger.store import insert
from dispatcher.ledger.tables import KEPT

ROWS_AT_ONCE = 1000


class Source(Protocol):
    """Tables to read, all of one state."""

    @property
    def version(self) -> str:
        """The step of the schema that its rows are of."""
        ...

    def rows(self, table: Table) -> AsyncIterator[Sequence[Row]]:
        """Give the rows of a table, some at a time; columns that it does not have yet are absent."""
        ...


class DatabaseSource:
    """`Source`: an open database."""

    def __init__(self, connection: AsyncConnection, version: str, columns: Mapping[str, Sequence[str]]) -> None:
        self._connection = connection
        self._columns = columns
        self.version = version

    async def rows(self, table: Table) -> AsyncIterator[Sequence[Row]]:
        """Give the rows of a table in the order of its key."""
        there = [table.c[name] for name in self._columns.get(table.name, ()) if name in table.c]
        if not there:
            return
        found = await self._connection.stream(select(*there).order_by(*table.primary_key.columns))
        async for some in found.mappings().partitions(ROWS_AT_ONCE):
            yield [dict(row) for row in some]


@asynccontextmanager
async def database_source(database: Database) -> AsyncIterator[DatabaseSource]:
    """Read a database that may be written meanwhile. Raises `ConfigError` for one without a ledger."""
    version = await schema.version(database)
    if version is None:
        raise ConfigError(f"{database.place.shown} holds no ledger")
    async with database.reading() as connection:
        yield DatabaseSource(connection, version, await schema.columns(connection))


@asynccontextmanager
async def file_source(place: Place) -> AsyncIterator[DatabaseSource]:
    """Read a SQLite file, such as a backup."""
    async with opened(place) as database, database_source(database) as source:
        yield source


async def restore(database: Database, source: AbstractAsyncContextManager[Source], *, force: bool) -> dict[str, int]:
    """Put the rows of a source into a database, all or none; gives their numbers by table.

    The tables must be there. Raises `ConfigError` where there are rows already, which `force` has forgotten first, and for a source
    of a newer Drover.
    """
    try:
        return await _restore(database, source, force=force)
    except RowRefused as error:
        raise ConfigError(f"the backup has a row that can't be one of ours ({error}): nothing was changed") from error


async def _restore(database: Database, source: AbstractAsyncContextManager[Source], *, force: bool) -> dict[str, int]:
    counts: dict[str, int] = {}
    async with source as rows, database.writing() as connection:
        if not schema.known(rows.version):
            raise ConfigError(f"the backup is of a newer Drover (tables {rows.version}): restore it with that one")
        if not force:
            there = {str(table.name): await count(connection, table) for table in KEPT}
            if told := ", ".join(f"{number} {name}" for name, number in there.items() if number):
                raise ConfigError(f"{database.place.shown} holds {told} already: --force forgets them first")
        for table in KEPT:
            await connection.execute(delete(table))
            name = str(table.name)
            counts[name] = 0
            async for some in rows.rows(table):
                await insert(connection, table, some)
                counts[name] += len(some)
    return counts


async def count(connection: AsyncConnection, table: Table) -> int:
    """Count the rows of a table."""
    return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())
