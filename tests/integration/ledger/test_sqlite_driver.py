"""A statement in one way to the thread and back: all rows come, and nothing stays open behind who gives up."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import insert, literal_column, select, text

from dispatcher.ledger.database import Database, Place, RowRefused, opened
from dispatcher.ledger.sqlite_driver import AT_ONCE, Connection
from dispatcher.ledger.tables import budgets
from tests.integration.ledger.ledgers import GUARD_S

_COUNT = text("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < :most) SELECT x FROM n")


@pytest.fixture
def file(made_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(made_file, tmp_path / "ledger.db"))


@pytest_asyncio.fixture
async def ledger(file: Path) -> AsyncIterator[Database]:
    async with opened(Place(file=file)) as database:
        yield database


@pytest.mark.parametrize("most", [1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE, 2 * AT_ONCE + 1])
async def test_all_rows_come_however_many(most: int, ledger: Database) -> None:
    """At once, or some at a time."""
    async with ledger.reading() as connection:
        whole = (await connection.execute(_COUNT, {"most": most})).scalars().all()
        parts = [
            list(part) async for part in (await connection.stream(_COUNT, {"most": most})).scalars().partitions(700)
        ]

    assert [*range(1, most + 1)] == whole
    assert [*range(1, most + 1)] == [one for part in parts for one in part]
    assert {700} >= {len(part) for part in parts[:-1]}


async def test_who_reads_a_little_leaves_nothing_open(ledger: Database, file: Path) -> None:
    """What is not asked for is forgotten: what was read last is no older than the transaction."""
    async with ledger.reading() as connection:
        first = (await connection.execute(_COUNT, {"most": 3 * AT_ONCE})).scalar()
        async for _ in await connection.stream(_COUNT, {"most": 3 * AT_ONCE}):
            break
    async with ledger.writing() as connection:
        await connection.execute(insert(budgets).values(_BUDGET))
    with closing(sqlite3.connect(file)) as other:
        moved = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    assert (1, 0) == (first, moved[0])  # no reader is in the way


async def test_who_gives_up_leaves_no_transaction_behind(ledger: Database, file: Path) -> None:
    """The thread may begin one when nobody waits for it any more."""
    async with ledger.writing() as connection:
        await connection.execute(select(literal_column("1")))
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(_write(ledger))
            for _ in range(10):
                await asyncio.sleep(0)
            waiting.cancel()
            for _ in range(10):
                await asyncio.sleep(0)
            other.execute("ROLLBACK")
    await _write(ledger)
    async with ledger.reading() as connection:
        rows = (await connection.execute(select(budgets.c.key))).scalars().all()

    assert (True, ["k"]) == (waiting.cancelled(), rows)


async def test_what_nobody_waits_for_any_more_is_undone(file: Path) -> None:
    """The thread has not begun it yet, so nothing is open; but it will."""
    connection = await Connection(str(file), timeout_s=GUARD_S)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.TaskGroup() as tasks:
            beginning = tasks.create_task(connection.cursor().execute("BEGIN IMMEDIATE"))
            await asyncio.sleep(0)
            beginning.cancel()
            undoing = tasks.create_task(connection.rollback())
            for _ in range(10):
                await asyncio.sleep(0)
            at_once = undoing.done()
            other.execute("ROLLBACK")
    try:
        assert (False, False) == (at_once, connection.in_transaction)
    finally:
        await connection.close()


async def test_a_row_that_is_refused_leaves_the_next_one_alone(ledger: Database) -> None:
    """It is undone, and told."""
    await _write(ledger)
    with pytest.raises(RowRefused):
        await _write(ledger)
    async with ledger.writing() as connection:
        added = await connection.execute(insert(budgets), [_BUDGET | {"key": name} for name in "ab"])

    assert added.rowcount == 2


_BUDGET = {"key": "k", "unit": "tokens", "period": "day", "limit": 1, "window_unix_s": 0.0, "spent": 0}


async def _write(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(insert(budgets).values(_BUDGET))
