"""Tables as files for other programs: CSV, or Parquet; it knows no bus."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Sequence
from typing import Any, TextIO

from sqlalchemy import Select, Table, select

from common.ledger import Span
from dispatcher.cells import harmless
from dispatcher.ledger.database import Database
from dispatcher.ledger.queries import within
from dispatcher.ledger.tables import devices, jobs, power

OF = {
    "jobs": (jobs, jobs.c.received_unix_s),
    "devices": (devices, devices.c.at_unix_s),
    "power": (power, power.c.from_unix_s),
}
ROWS_AT_ONCE = 2000


def table_of(of: str) -> Table:
    """Give the table that a name stands for."""
    return OF[of][0]


async def chunks(database: Database, of: str, span: Span) -> AsyncIterator[Sequence[Sequence[Any]]]:
    """Give rows in the order of their time, some at a time. Raises `LedgerUnavailable`."""
    table, at = OF[of]
    ask: Select[Any] = select(table).where(*within(at, span)).order_by(at, *table.primary_key.columns)
    async with database.reading() as connection:
        found = await connection.stream(ask)
        async for some in found.partitions(ROWS_AT_ONCE):
            yield some


async def write_csv(database: Database, of: str, span: Span, out: TextIO) -> int:
    """Write a table as CSV; gives the number of rows."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(column.name for column in table_of(of).c)
    number = 0
    async for some in chunks(database, of, span):
        writer.writerows([harmless(value) for value in row] for row in some)
        number += len(some)
    return number
