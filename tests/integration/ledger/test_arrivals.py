"""Words on jobs whose records are on their way: they are waited for, and not for ever, nor by any number at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from common.bus import Bus
from common.bus.nats import NatsOptions, connect_nats
from common.errors import BadRequest, UnknownJob
from common.ledger import exchange
from common.subjects import Subjects
from common.votes import RECORD_S, VotesQuery
from dispatcher.ledger.arrivals import MOST_WAITING, Arrivals
from dispatcher.ledger.database import Database
from dispatcher.ledger.desk import Desk
from dispatcher.ledger.store import Store
from dispatcher.ledger.votes.keeping import said
from tests.integration.ledger.builders import came, job
from tests.integration.ledger.ledgers import until
from tests.nats_server import nats_server


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    async with nats_server() as server, connect_nats(NatsOptions(urls=(server.url,))) as bus:
        yield bus


async def asked(bus: Bus, verb: str, **wire: object) -> dict[str, object]:
    return await exchange(bus, Subjects().ledger(verb), {"tenant": "default", **wire}, timeout_s=20.0)


async def waiting(arrivals: Arrivals, number: int) -> None:
    async def enough() -> bool:
        return arrivals.waiting >= number

    await until(enough)


async def test_a_word_waits_for_its_record(database: Database, bus: Bus) -> None:
    """A vote for both of its jobs, and a thumb; what they are of is written while they wait."""
    arrivals = Arrivals()
    store = Store(database, written=arrivals.tell)
    async with Desk(bus, Subjects(), database, arrivals=arrivals).open(), asyncio.TaskGroup() as tasks:
        await bus.flush()
        vote = tasks.create_task(asked(bus, "vote", jobs=["job-1", "job-2"], winner="job-2", wait_s=RECORD_S))
        thumb = tasks.create_task(asked(bus, "thumb", job="job-2", score=1.0, wait_s=RECORD_S))
        await waiting(arrivals, 2)
        await store.write(came(job(1)))
        await waiting(arrivals, 2)
        await store.write(came(job(2), first_seq=9))
    found, _ = await said(database, VotesQuery(tenant="default"))

    assert ({"kept": True}, {"kept": True}) == (vote.result(), thumb.result())
    assert (3, 0) == (len(found), arrivals.waiting)


async def test_a_record_that_another_ledger_has_written_is_found(database: Database, bus: Bus) -> None:
    """It tells nobody here, so it is looked for."""
    arrivals = Arrivals()
    async with Desk(bus, Subjects(), database, arrivals=arrivals).open(), asyncio.TaskGroup() as tasks:
        await bus.flush()
        thumb = tasks.create_task(asked(bus, "thumb", job="job-1", score=1.0, wait_s=RECORD_S))
        await waiting(arrivals, 1)
        await Store(database).write(came(job(1)))

    assert {"kept": True} == thumb.result()


async def test_what_does_not_come_is_refused(database: Database, bus: Bus) -> None:
    """As is what nobody is asked to wait for, and a wait that is too long."""
    async with Desk(bus, Subjects(), database).open():
        await bus.flush()
        for wait in ({"wait_s": 0.01}, {}):
            with pytest.raises(UnknownJob):
                await asked(bus, "thumb", job="job-1", score=1.0, **wait)
        for wait_s in (RECORD_S + 0.1, -1.0, "long"):
            with pytest.raises(BadRequest, match="wait_s"):
                await asked(bus, "thumb", job="job-1", score=1.0, wait_s=wait_s)


async def test_one_too_many_does_not_wait() -> None:
    """The desk is there for other questions too."""
    arrivals, written = Arrivals(), False

    async def look() -> bool:
        if not written:
            raise UnknownJob
        return written

    async with asyncio.TaskGroup() as tasks:
        patient = [tasks.create_task(arrivals.patiently(look, 60.0)) for _ in range(MOST_WAITING)]
        await waiting(arrivals, MOST_WAITING)
        with pytest.raises(UnknownJob):
            await arrivals.patiently(look, 60.0)
        written = True
        arrivals.tell()

    assert ([True] * MOST_WAITING, 0) == ([one.result() for one in patient], arrivals.waiting)
