"""Kill -9 at any point: what the stream has accepted is in the database once, no more and no less.

Of the NATS server a kill is meant, not a loss of power: the server acknowledges what the system has, and the disk may not.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from ulid import ULID

from common.bus.jetstream import JetStream
from common.bus.nats import NatsOptions, connect_nats
from common.clock import LoopClock
from common.durable import Names
from common.errors import FleetError
from common.records import records_stream
from dispatcher.fleet import Fleet
from dispatcher.ledger.database import Place
from dispatcher.ledger.drain import CONSUMER
from dispatcher.outcomes import JobRecord, JobState
from dispatcher.record.ledger import LedgerSink
from tests.integration.ledger.builders import NOON, SUBJECTS, job, payload
from tests.integration.ledger.ledgers import LOOK_S, ledger_process, records_in, until
from tests.nats_server import nats_server

STREAM = Names.below(SUBJECTS).records
SEED = 20261121

FIRST = 600
"""What lies there before: more than any round has pulled when it is killed, and several batches."""


async def test_a_ledger_that_is_killed_neither_loses_nor_doubles(url: str, place: Place, tmp_path: Path) -> None:
    """Wherever it is: it has pulled, written, committed, acknowledged half of it; records come all the time."""
    chance = random.Random(SEED)
    async with nats_server(jetstream=True) as server, connect_nats(NatsOptions(urls=(server.url,))) as bus:
        streams, accepted = JetStream(bus), list[str]()
        await streams.declare(records_stream(SUBJECTS))

        async def publish(numbers: range) -> None:
            for number in numbers:
                entry = job(number)
                await streams.publish(SUBJECTS.record("job", entry.tenant), payload(entry), msg_id=entry.record)
                accepted.append(entry.record)

        async def pulled(sequence: int) -> bool:
            try:
                return (await streams.progress(STREAM, CONSUMER)).delivered >= sequence
            except FleetError:
                return False  # no ledger was there yet

        await publish(range(FIRST))
        for kill in range(2 if place.file else 1):  # each start takes a second
            async with ledger_process(server.url, url, tmp_path) as ledger, asyncio.TaskGroup() as tasks:
                tasks.create_task(publish(range(FIRST + 200 * kill, FIRST + 200 * (kill + 1))))
                target = 300 * kill + chance.randrange(1, 300)
                await until(lambda: pulled(target))  # noqa: B023  # awaited within the round
                await ledger.kill()
        async with ledger_process(server.url, url, tmp_path) as ledger:

            async def all_there() -> bool:
                return len(await records_in(place)) >= len(accepted)

            await until(all_there, every_s=LOOK_S)
            status = await ledger.stop()

    assert (0, sorted(accepted)) == (status, await records_in(place))


async def test_a_nats_server_that_is_killed_loses_no_record(tmp_path: Path) -> None:
    """Dispatchers send again what was not acknowledged, under the same id, and the ledger takes what is delivered again once."""
    place = Place(file=tmp_path / "ledger.db")
    chance = random.Random(SEED)
    async with nats_server(jetstream=True) as server, connect_nats(NatsOptions(urls=(server.url,))) as bus:
        clock = LoopClock()
        sink = LedgerSink(bus, JetStream(bus), SUBJECTS, clock=clock, dispatcher="d1", fleet=lambda: Fleet({}))
        written = list[str]()
        async with (
            ledger_process(server.url, f"sqlite:///{place.file}", tmp_path) as ledger,
            asyncio.TaskGroup() as tasks,
        ):
            keeping = tasks.create_task(sink.keep())
            for _ in range(2):
                for _ in range(150):
                    written.append(str(ULID()))
                    await sink.write(record(written[-1]))
                await until(_some_in(place), every_s=LOOK_S)
                stays = chance.randrange(150)
                await until(_less_than(sink, stays + 1))
                await server.kill()
                for _ in range(50):
                    written.append(str(ULID()))
                    await sink.write(record(written[-1]))
                await server.restart()
            await until(_less_than(sink, 1))
            keeping.cancel()

            async def all_there() -> bool:
                return len(await records_in(place)) >= len(written)

            await until(all_there, every_s=LOOK_S)
            status = await ledger.stop()

    assert (0, 0, sorted(written)) == (status, sink.dropped, await records_in(place))


def record(name: str) -> JobRecord:
    return JobRecord(
        record=name, job=name, tenant="default", kind="chat", state=JobState.DONE, received_unix_s=NOON, total_s=1.0
    )


def _some_in(place: Place) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return await records_in(place) != []

    return holds


def _less_than(sink: LedgerSink, waiting: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return sink.waiting < waiting

    return holds
