"""What operators ask a ledger over the bus, and what it answers: also where it can't."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from common import codec
from common.bus import Bus
from common.bus.nats import NatsOptions, connect_nats
from common.errors import BadRequest, BusTimeout, LedgerUnavailable, NoResponders
from common.ledger import By, DevicesQuery, EnergyQuery, JobsQuery, Span, ask
from common.records import Entry
from common.settings import BusSection, LogSection
from common.subjects import Subjects
from dispatcher.ledger.database import Database, Place, opened
from dispatcher.ledger.desk import Desk
from dispatcher.ledger.service import ledger
from dispatcher.ledger.sqlite_file import READERS
from dispatcher.ledger.store import Store
from dispatcher.ledger.tables import jobs
from dispatcher.settings import LedgerSection, LedgerSettings
from tests.integration.ledger.builders import SUBJECTS, came, event, job, minute, payload
from tests.integration.ledger.ledgers import GUARD_S
from tests.nats_server import nats_server

SETTINGS = LedgerSettings(
    bus=BusSection(), log=LogSection(), ledger=LedgerSection(database_url=SecretStr(""), state_dir=Path("nowhere"))
)


@dataclass(frozen=True, slots=True)
class Open:
    """A ledger that answers."""

    bus: Bus
    database: Database
    path: Path


def told(entry: Entry) -> dict[str, Any]:
    return codec.decode(payload(entry))


@pytest_asyncio.fixture
async def desk(made_file: Path, tmp_path: Path) -> AsyncIterator[Open]:
    path = Path(shutil.copyfile(made_file, tmp_path / "ledger.db"))
    async with (
        nats_server(config_extra="max_payload: 65536") as server,
        connect_nats(NatsOptions(urls=(server.url,))) as bus,
        opened(Place(file=path)) as database,
        ledger(SETTINGS, database, bus),
    ):
        await bus.flush()
        yield Open(bus, database, path)


async def test_it_tells_jobs_devices_power_and_sums(desk: Open) -> None:
    """Each as it is kept."""
    await Store(desk.database).write(came(job(), event(), minute()))
    found = await ask(desk.bus, SUBJECTS, "jobs", JobsQuery(job="job-1"))
    devices = await ask(desk.bus, SUBJECTS, "devices", DevicesQuery())
    energy = await ask(desk.bus, SUBJECTS, "energy", EnergyQuery(by=By.TENANT))

    assert {"jobs": [told(job())], "more": False} == found
    assert {"events": [told(event())], "power": [told(minute())], "more": False} == devices
    assert ("tenant", "default", 12.0) == (energy["by"], energy["rows"][0]["key"], energy["rows"][0]["joules"])


async def test_no_answer_is_larger_than_the_bus_carries(desk: Open) -> None:
    """A page then ends early, and the next one begins behind it: all are told, each once."""
    there = [job(number, reason="x" * 500) for number in range(1, 200)]
    await Store(desk.database).write(came(*there))
    told: list[str] = []
    before: str | None = None
    while True:
        page = await ask(desk.bus, SUBJECTS, "jobs", JobsQuery(limit=1000, before=before))
        told += [one["job"] for one in page["jobs"]]
        if not page["more"]:
            break
        before = page["next"]

    assert [one.job for one in reversed(there)] == told


WRONG = (b"", b"{", b'{"limit":0}', b'{"limit":1001}', b'{"nonsense":1}', b'{"since_unix_s":"x"}')


async def test_a_wrong_question_is_answered_with_what_is_wrong(desk: Open) -> None:
    """By each verb, and the ledger goes on."""
    for verb, body in product(("jobs", "devices", "energy"), WRONG):
        answer = codec.decode((await desk.bus.request(SUBJECTS.ledger(verb), body, timeout_s=20.0)).data)
        assert (verb, body, BadRequest.code) == (verb, body, answer["error"]["code"])

    assert (await ask(desk.bus, SUBJECTS, "jobs", JobsQuery()))["jobs"] == []


async def test_a_database_that_is_away_is_a_typed_error(desk: Open) -> None:
    """It says that a retry may help."""
    async with desk.database.writing() as connection:
        await connection.exec_driver_sql("DROP TABLE jobs")
    with pytest.raises(LedgerUnavailable) as told:
        await ask(desk.bus, SUBJECTS, "jobs", JobsQuery())

    assert told.value.retryable


async def test_a_question_that_takes_too_long_is_given_up(desk: Open) -> None:
    """Also by the database, whose readers are few: the answer comes in time, and the next question finds them free."""
    endless = (
        "CREATE VIEW jobs AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1000000000) "
        f"SELECT {', '.join(f'x AS {column.name}' for column in jobs.c)} FROM n"
    )
    async with desk.database.writing() as connection:
        await connection.exec_driver_sql("ALTER TABLE jobs RENAME TO others")
        await connection.exec_driver_sql(endless)
    subjects = Subjects("short")
    async with asyncio.timeout(GUARD_S), Desk(desk.bus, subjects, desk.database, answer_s=0.2).open():
        for _ in range(READERS + 1):
            with pytest.raises(BusTimeout, match="shorter span"):
                await ask(desk.bus, subjects, "jobs", JobsQuery())

        assert [] == (await ask(desk.bus, SUBJECTS, "devices", DevicesQuery()))["events"]


async def test_nobody_answers_where_no_ledger_runs() -> None:
    """At once."""
    async with nats_server() as server, connect_nats(NatsOptions(urls=(server.url,))) as bus:
        with pytest.raises(NoResponders):
            await ask(bus, SUBJECTS, "jobs", Span())


async def test_it_is_found_like_any_service(desk: Open) -> None:
    """With its state."""
    answer = codec.decode((await desk.bus.request("$SRV.STATS.llm-ledger", b"", timeout_s=20.0)).data)

    assert ("llm-ledger", "starting") == (answer["name"], answer["endpoints"][0]["data"]["state"])
