"""Tables as files for other programs: CSV, or Parquet; it knows no bus."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Sequence
from typing import Any, TextIO

from sqlalchemy import Column, Select, select

from common.ledger import Span
from dispatcher.cells import harmless
from dispatcher.ledger.database import Database
from dispatcher.ledger.queries import within
from dispatcher.ledger.tables import devices, feedback, jobs, keys, power

OF = {
    "jobs": (jobs, jobs.c.received_unix_s),
    "devices": (devices, devices.c.at_unix_s),
    "power": (power, power.c.from_unix_s),
    "keys": (keys, keys.c.created_unix_s),
    "feedback": (feedback, feedback.c.at_unix_s),
}
SECRET = frozenset({"digest", "old_digest"})
"""Columns that no other program has a use for, but one that guesses."""

ROWS_AT_ONCE = 2000


def columns_of(of: str) -> list[Column[Any]]:
    """Give the columns of the table that a name stands for, those of secrets left out."""
    return [column for column in OF[of][0].c if column.name not in SECRET]


async def chunks(database: Database, of: str, span: Span) -> AsyncIterator[Sequence[Sequence[Any]]]:
    """Give rows in the order of their time, some at a time. Raises `LedgerUnavailable`."""
    table, at = OF[of]
    ask: Select[Any] = select(*columns_of(of)).where(*within(at, span)).order_by(at, *table.primary_key.columns)
    async with database.reading() as connection:
        found = await connection.stream(ask)
        async for some in found.partitions(ROWS_AT_ONCE):
            yield some


async def write_csv(database: Database, of: str, span: Span, out: TextIO) -> int:
    """Write a table as CSV; gives the number of rows."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(column.name for column in columns_of(of))
    number = 0
    async for some in chunks(database, of, span):
        writer.writerows([harmless(value) for value in row] for row in some)
        number += len(some)
    return number
