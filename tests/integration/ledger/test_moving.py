"""Backups, what they are restored from, and files for other programs: on SQLite and on PostgreSQL, and from one to the other."""

from __future__ import annotations

import csv
import io
import os
import shutil
import sqlite3
import zipfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from common.conversations import Summary
from common.errors import ConfigError
from common.key_requests import AddKey, Limit
from common.keys import Period, Reservation, Unit
from common.ledger import Span
from dispatcher.ledger import key_changes, schema
from dispatcher.ledger.archive import MOST_LINE_BYTES, backup, source_of, whole
from dispatcher.ledger.database import Database, Place, opened
from dispatcher.ledger.export import write_csv
from dispatcher.ledger.moving import restore
from dispatcher.ledger.parquet import write_parquet
from dispatcher.ledger.reserving import Reserving
from dispatcher.ledger.sqlite_file import sole_writer
from dispatcher.ledger.store import Store
from dispatcher.ledger.tables import KEPT
from tests.integration.ledger.builders import NOON, came, came_raw, event, job, minute
from tests.integration.ledger.talks import ANNA, asked, said, talking
from tests.postgres_server import PostgresServer, needs_postgres


async def rows(database: Database) -> list[Sequence[Any]]:
    """All rows of all tables."""
    async with database.reading() as connection:
        return [
            (table.name, *row)
            for table in KEPT
            for row in await connection.execute(select(table).order_by(*table.primary_key.columns))
        ]


def copied(made: Path, file: Path) -> Place:
    """Give a ledger of its own."""
    return Place(file=Path(shutil.copyfile(made, file)))


async def filled(database: Database) -> list[Sequence[Any]]:
    """Write some of everything, more than goes in one piece, and give all of it."""
    odd = job(
        1, reason='=1+1;"quoted"\nüñí', error_message="-2", decision=None, cache=None, terms=None, score=0.1 + 0.2
    )
    entries = [odd, *(job(number) for number in range(2, 1010)), event(), *(minute(number) for number in range(5))]
    await Store(database).write([*came(*entries), came_raw("llm.v1.rec.job.x", b"\xff\x00garbage", 7)])
    await talked(database)
    limit = Limit(unit=Unit.TOKENS, limit=1000, period=Period.DAY)
    key = (
        await key_changes.add(database, AddKey(name="=1+1", budgets=(limit,), expires_unix_s=NOON + 0.1), NOON)
    ).grant
    wanted = Reservation(key=key.key, tenant=key.tenant, job="j1", tokens=7, micro_usd=9)
    await Reserving(database, lambda: NOON).reserve(wanted)
    return await rows(database)


async def talked(database: Database) -> None:
    """Keep a conversation: two turns, one of them as large as any can be in an archive."""
    async with talking(database) as talk:
        new = await talk.ask.create(ANNA, title="ünï")
        await talk.ask.append(ANNA, new.id, [asked("t1"), said("t2", '\\"' * 45_000, "t1", model="m")])
        await talk.ask.summarise(ANNA, new.id, Summary(covers="t2", text="s" * 20_000))


@pytest.mark.parametrize("name", ["backup.zip", "backup.db"])
async def test_a_backup_has_all_of_it(name: str, made_file: Path, tmp_path: Path) -> None:
    """Every row of every table, bit for bit; a file of SQLite may be copied as one, too. Of PostgreSQL see below."""
    target = tmp_path / name
    async with (
        opened(copied(made_file, tmp_path / "one.db")) as one,
        opened(copied(made_file, tmp_path / "o.db")) as other,
    ):
        there = await filled(one)
        await backup(one, target)
        counts = await restore(other, source_of(target), force=False)
        restored = await rows(other)

    assert there == restored
    told = {
        "jobs": 1009,
        "shares": 2018,
        "devices": 1,
        "power": 5,
        "rejected": 1,
        "keys": 1,
        "budgets": 1,
        "reservations": 1,
        "conversations": 1,
        "turns": 2,
    }
    assert told.items() <= counts.items()


@needs_postgres
async def test_a_ledger_moves_from_one_database_to_the_other_and_back(
    postgres: PostgresServer, made_file: Path, tmp_path: Path
) -> None:
    """What comes back is what went."""
    async with (
        opened(copied(made_file, tmp_path / "first.db")) as first,
        opened(Place(dsn=postgres.database())) as server,
        opened(copied(made_file, tmp_path / "last.db")) as last,
    ):
        await schema.upgrade(server)
        there = await filled(first)
        await backup(first, tmp_path / "a.db")
        await restore(server, source_of(tmp_path / "a.db"), force=False)
        await backup(server, tmp_path / "b.zip")
        await restore(last, source_of(tmp_path / "b.zip"), force=False)

        assert there == await rows(server)
        assert there == await rows(last)


async def test_a_backup_overwrites_rows_only_when_told(database: Database, tmp_path: Path) -> None:
    """And then it is all that there is."""
    await Store(database).write(came(job(1)))
    await backup(database, tmp_path / "b.zip")
    before = await rows(database)
    await Store(database).write(came(job(2)))
    with pytest.raises(ConfigError, match="holds 2 jobs, 4 shares already: --force"):
        await restore(database, source_of(tmp_path / "b.zip"), force=False)
    await restore(database, source_of(tmp_path / "b.zip"), force=True)

    assert before == await rows(database)


ONLY = {
    "jobs": came(job(1, energy=None)),
    "devices": came(event()),
    "power": came(minute()),
    "rejected": [came_raw("llm.v1.rec.job.x", b"?")],
}


async def test_conversations_are_in_the_way_of_a_backup(database: Database, tmp_path: Path) -> None:
    """They are nobody's records, and the dearest that there is."""
    await backup(database, tmp_path / "b.zip")
    await talked(database)
    before = await rows(database)
    with pytest.raises(ConfigError, match="holds 1 conversations, 2 turns already: --force"):
        await restore(database, source_of(tmp_path / "b.zip"), force=False)

    assert before == await rows(database)


@pytest.mark.parametrize("name", ONLY)
async def test_rows_of_each_table_are_in_the_way(name: str, database: Database, tmp_path: Path) -> None:
    """Nothing is forgotten without a word: each table goes when a backup comes."""
    await backup(database, tmp_path / "b.zip")
    await Store(database).write(ONLY[name])
    before = await rows(database)
    with pytest.raises(ConfigError, match=f"holds 1 {name} already: --force"):
        await restore(database, source_of(tmp_path / "b.zip"), force=False)

    assert before == await rows(database)


HARMS = (
    "cut",
    "flipped",
    "a row less",
    "half a row",
    "no zip",
    "newer",
    "unknown column",
    "bytes that are none",
    "locked",
    "an endless list",
)


async def test_a_damaged_backup_changes_nothing(database: Database, tmp_path: Path) -> None:
    """It is found out before anything is committed, whatever was forgotten for it."""
    await Store(database).write(
        [*came(*(job(number) for number in range(1, 50))), came_raw("llm.v1.rec.job.x", b"?", 99)]
    )
    good, bad = tmp_path / "good.zip", tmp_path / "bad.zip"
    await backup(database, good)
    before = await rows(database)
    for harm in HARMS:
        spoil(harm, good, bad)
        with pytest.raises(ConfigError):
            await restore(database, source_of(bad), force=True)
        assert (harm, before) == (harm, await rows(database))


def spoil(harm: str, good: Path, bad: Path) -> None:
    data = good.read_bytes()
    if harm == "cut":
        bad.write_bytes(data[: len(data) // 2])
    elif harm == "no zip":
        bad.write_bytes(b"what is this?" * 100)
    elif harm == "flipped":
        at = data.index(b"shares.jsonl") + 200
        bad.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
    elif harm == "locked":
        at = data.index(b"PK\x01\x02") + 8  # in the directory: this one is encrypted
        bad.write_bytes(data[:at] + bytes([data[at] | 1]) + data[at + 1 :])
    else:
        with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
            for name in source.namelist():
                text = source.read(name)
                if harm == "newer" and name == "manifest.json":
                    text = text.replace(f'"{schema.newest()}"'.encode(), b'"0999"')
                if harm == "a row less" and name == "jobs.jsonl":
                    text = text[: text.rindex(b"\n", 0, -1) + 1]
                if harm == "half a row" and name == "power.jsonl":
                    text = b'{"device":"x"}\n'
                if harm == "unknown column" and name == "jobs.jsonl":
                    text = text.replace(b'"record"', b'"recrod"')
                if harm == "bytes that are none" and name == "rejected.jsonl":
                    text = text.replace(b'"Pw=="', b"7")
                if harm == "an endless list" and name == "manifest.json":
                    text = text.replace(b"{", b"{" + b" " * (MOST_LINE_BYTES + 1), 1)
                target.writestr(name, text)


async def test_two_backups_at_once_are_both_whole(database: Database, tmp_path: Path) -> None:
    """Each has a draft of its own; the later one stays, and no draft does."""
    name = "b.zip"
    await Store(database).write(came(job(1)))
    there = await rows(database)
    await backup(database, tmp_path / f"first-{name}")
    with whole(tmp_path / name, database.place) as slow:
        slow.write_bytes((tmp_path / f"first-{name}").read_bytes())
        await backup(database, tmp_path / name)
    drafts = [one for one in os.listdir(tmp_path) if one.startswith(".")]  # noqa: PTH208
    await restore(database, source_of(tmp_path / name), force=True)

    assert (there, []) == (await rows(database), drafts)


async def test_an_older_backup_has_the_columns_that_it_has(made_file: Path, tmp_path: Path) -> None:
    """A SQLite file of an earlier step: what came later is absent in it."""
    files = (tmp_path / "old.db", tmp_path / "new.db")
    async with opened(copied(made_file, files[0])) as old, opened(copied(made_file, files[1])) as new:
        await Store(old).write(came(job(1)))
        await backup(old, tmp_path / "backup.db")
        with closing(sqlite3.connect(tmp_path / "backup.db")) as raw:
            raw.execute("ALTER TABLE jobs DROP COLUMN saved_usd")
            raw.commit()
        await restore(new, source_of(tmp_path / "backup.db"), force=False)
        [restored] = [row for row in await rows(new) if row[0] == "jobs"]

    assert job(1).record == restored[1]
    assert 0.125 not in restored


def test_a_second_writer_of_a_file_is_told_who_has_it(tmp_path: Path) -> None:
    """And when to come again: the first may be about to end."""
    file = tmp_path / "ledger.db"
    with sole_writer(file), pytest.raises(ConfigError, match=r"writes .*already") as told, sole_writer(file):
        pass

    assert told.value.retry_after_s is not None
    with sole_writer(file):
        pass  # it is free again


@pytest.mark.parametrize(("of", "number"), [("jobs", 3), ("devices", 1), ("power", 2)])
async def test_csv_and_parquet_have_the_same_rows(of: str, number: int, database: Database, tmp_path: Path) -> None:
    """Parquet with the types; in CSV no text can be taken for a formula."""
    entries = (
        job(1, reason="=HYPERLINK()"),
        job(2, energy=None, terms=None),
        job(3),
        event(why="@x"),
        minute(1),
        minute(2),
    )
    await Store(database).write(came(*entries))
    text = io.StringIO(newline="")
    told = (
        await write_csv(database, of, Span(), text),
        await write_parquet(database, of, Span(), tmp_path / "f.parquet"),
    )
    read = list(csv.DictReader(io.StringIO(text.getvalue())))
    table = pq.read_table(tmp_path / "f.parquet").to_pylist()

    assert (number, number) == told
    assert read == [{name: cell(value) for name, value in row.items()} for row in table]


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and value[:1] in set("=+-@") else str(value)


async def test_an_export_is_of_a_span(database: Database) -> None:
    """Its beginning belongs to it, its end does not."""
    await Store(database).write(came(*(job(number) for number in range(1, 5))))
    text = io.StringIO(newline="")
    await write_csv(database, "jobs", Span(since_unix_s=NOON + 2, until_unix_s=NOON + 4), text)

    assert ["job-2", "job-3"] == [row["job"] for row in csv.DictReader(io.StringIO(text.getvalue()))]
