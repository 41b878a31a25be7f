"""A database that is full, or away: nothing is acknowledged, nothing is lost, and it is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from common.bus.jetstream import JetStream
from common.bus.nats import NatsOptions, connect_nats
from common.durable import Names
from common.records import records_stream
from dispatcher.ledger import drain, schema
from dispatcher.ledger.database import Database, Place, opened, place_of
from dispatcher.ledger.drain import CONSUMER, Drain, State
from dispatcher.ledger.store import Store
from tests.integration.ledger.builders import SUBJECTS, job, payload
from tests.integration.ledger.ledgers import GUARD_S, records_in
from tests.nats_server import nats_server
from tests.postgres_server import PostgresServer, needs_postgres

STREAM = Names.below(SUBJECTS).records


@dataclass(frozen=True, slots=True)
class World:
    """A ledger at work in this process."""

    streams: JetStream
    drain: Drain

    async def publish(self, *numbers: int) -> None:
        for number in numbers:
            entry = job(number)
            await self.streams.publish(SUBJECTS.record("job", entry.tenant), payload(entry), msg_id=entry.record)

    async def turned(self, state: State, holds: Callable[[], bool] = lambda: True) -> None:
        """Wait until it is in a state, and something holds."""
        async with asyncio.timeout(GUARD_S):
            while self.drain.tally.state is not state or not holds():  # noqa: ASYNC110  # a state raises no event
                await asyncio.sleep(0.01)

    async def settled(self) -> int:
        return (await self.streams.progress(STREAM, CONSUMER)).settled


@asynccontextmanager
async def world(database: Database) -> AsyncIterator[World]:
    await schema.upgrade(database)
    async with nats_server(jetstream=True) as server, connect_nats(NatsOptions(urls=(server.url,))) as bus:
        streams = JetStream(bus)
        await streams.declare(records_stream(SUBJECTS))
        one = Drain(bus, streams, SUBJECTS, Store(database), ack_wait_s=30.0)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one.run())
            yield World(streams, one)
            one.stop()


async def test_a_disk_that_is_full_loses_nothing(tmp_path: Path) -> None:
    """When there is room again, all of it is written; until then the stream has it."""
    place = Place(file=tmp_path / "ledger.db")
    async with opened(place) as database, world(database) as at:
        await at.publish(1)
        await at.turned(State.READY, lambda: at.drain.tally.written == 1)
        await _limit(database, pages=1)  # no fewer than it has
        await at.publish(*range(2, 200))
        await at.turned(State.NO_DATABASE)
        trouble, settled = at.drain.tally.trouble, await at.settled()
        await _limit(database, pages=1 << 30)
        await at.turned(State.READY, lambda: at.drain.tally.written == 199)

    assert "full" in trouble
    assert settled < 199
    assert sorted(job(number).record for number in range(1, 200)) == await records_in(place)


async def _limit(database: Database, *, pages: int) -> None:
    """Let the writer's connection, of which there is one, use no more pages than that."""
    async with database.writer.connect() as connection:
        await connection.execute(text(f"PRAGMA max_page_count={pages}"))


@needs_postgres
async def test_a_server_that_is_away_loses_nothing(postgres: PostgresServer, tmp_path: Path) -> None:
    """It is asked again and again, with growing waits, and when it is back all of it is written."""
    url = postgres.database()
    place = place_of(url, tmp_path)
    async with opened(place) as database, world(database) as at:
        await at.publish(1)
        await at.turned(State.READY, lambda: at.drain.tally.written == 1)
        postgres.shut(url)
        await at.publish(2, 3)
        await at.turned(State.NO_DATABASE)
        trouble, settled = at.drain.tally.trouble, await at.settled()
        postgres.reopen(url)
        await at.turned(State.READY, lambda: at.drain.tally.written == 3)

    assert ("hidden-word" in trouble, "postgresql:///ledger" in trouble, settled) == (False, True, 1)
    assert [job(number).record for number in (1, 2, 3)] == await records_in(place)


async def test_what_comes_under_load_is_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one is written at once, what follows together; a stop waits for nothing, and writes it."""
    monkeypatch.setattr(drain, "GATHER_S", 2 * GUARD_S)
    place = Place(file=tmp_path / "ledger.db")
    async with opened(place) as database, world(database) as at:
        await at.publish(1)
        await at.turned(State.READY, lambda: at.drain.tally.written == 1)
        await at.publish(2, 3, 4, 5, 6)

    assert (6, 2) == (at.drain.tally.written, at.drain.tally.batches)
    assert [job(number).record for number in range(1, 7)] == await records_in(place)


async def test_a_stop_does_not_wait_for_a_database_that_is_away(tmp_path: Path) -> None:
    """What is not written is in the stream at the next start."""
    place = Place(file=tmp_path / "ledger.db")
    async with opened(place) as database, world(database) as at:
        await _limit(database, pages=1)
        await at.publish(*range(200))
        await at.turned(State.NO_DATABASE)
    async with opened(place) as database:
        assert await schema.version(database) == schema.newest()
    assert len(await records_in(place)) < 200
