"""SQLite behind the loop: a statement and its rows are one way to the library's thread and back; it knows no file, and no table.

Of its own the library goes there four times for a query: for a cursor, to run it, for its rows, and to close it. Each way costs
as much as the query itself.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")

AT_ONCE = 1000
"""Rows that come with the statement; of an answer that has more the others are fetched as they are asked for."""


class Connection(aiosqlite.Connection):
    """The library's, with cursors of our own. `isolation_level` None is for who begins transactions himself."""

    def __init__(self, file: str, *, timeout_s: float) -> None:
        super().__init__(partial(sqlite3.connect, file, timeout=timeout_s), iter_chunk_size=AT_ONCE)
        self._thread.daemon = True  # as SQLAlchemy has it: a connection that was lost keeps no process alive
        self._sure = True

    def cursor(self) -> Cursor:  # type: ignore[override]  # what SQLAlchemy needs of one, and it enters it at once
        """Give a cursor; there is none on the thread before it runs something."""
        return Cursor(self)

    async def rollback(self) -> None:
        """Undo what is open. Each connection that is handed back is asked for it, and mostly nothing is."""
        if self._sure and not self.in_transaction:
            return
        await super().rollback()
        self._sure = True

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Have the thread do something with the connection itself."""
        result: T = await self._execute(lambda: work(self._conn))
        return result

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            self._sure = False  # the thread may be about to begin what nobody waits for any more
            raise


class Cursor:
    """What SQLAlchemy needs of a cursor."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: sqlite3.Cursor | None = None
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Cursor:
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Cursor:
        """Run a statement, and take the rows that it gives."""
        return await self._run(lambda cursor: cursor.execute(sql, parameters))

    async def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> Cursor:
        """Run a statement once for each of these; it gives no rows."""
        return await self._run(lambda cursor: cursor.executemany(sql, parameters))

    async def fetchall(self) -> list[Any]:
        """Give all rows that are left."""
        rows, self._rows = self._rows, []
        return rows + await self._fetch(-1)

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        """Give some of the rows that are left; fewer than that only at their end."""
        size = self.arraysize if size is None else size
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows + await self._fetch(size - len(rows)) if len(rows) < size else rows

    async def fetchone(self) -> Any:
        """Give the next row; None at their end."""
        return next(iter(await self.fetchmany(1)), None)

    async def close(self) -> None:
        """Forget what is left."""
        self._rows = []
        if self._open is not None:
            cursor, self._open = self._open, None
            await self._connection.run(lambda _: cursor.close())

    async def _run(self, work: Callable[[sqlite3.Cursor], object]) -> Cursor:
        await self.close()
        self._open, self._rows, told = await self._connection.run(partial(_ran, work))
        self.description, self.rowcount, self.lastrowid = told
        return self

    async def _fetch(self, size: int) -> list[Any]:
        if self._open is None:
            return []
        cursor = self._open
        rows: list[Any] = await self._connection.run(
            lambda _: cursor.fetchall() if size < 0 else cursor.fetchmany(size)
        )
        return rows


def _ran(
    work: Callable[[sqlite3.Cursor], object], connection: sqlite3.Connection
) -> tuple[sqlite3.Cursor | None, list[Any], tuple[Any, int, int | None]]:
    """On the thread: run something, and give the cursor where more rows are left, the first rows, and what it says of itself."""
    cursor = connection.cursor()
    try:
        work(cursor)
        rows = [] if cursor.description is None else cursor.fetchmany(AT_ONCE)
        told = cursor.description, cursor.rowcount, cursor.lastrowid
    except BaseException:
        cursor.close()
        raise
    if len(rows) == AT_ONCE:
        return cursor, rows, told
    cursor.close()
    return None, rows, told
