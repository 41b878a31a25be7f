"""What is told of durable jobs that no dispatcher has taken yet, on a real server: by streams, over HTTP and to who looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from common.bus.streams import Streams
from common.durable_backlog import Backlog, BacklogReader
from common.errors import StreamError
from common.messages import Priority
from dispatcher.durable.declare import declare
from dispatcher.settings import DurableSection
from tests.bridge_process import bridge_process
from tests.integration.bridge.watching import HANG_S, watcher
from tests.integration.durable.world import World, eventually, world
from tests.scripted_fleet import scripted_fleet


class Counting:
    """Streams whose messages are looked at so often."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self.state, self.progress = streams.state, streams.progress
        self.looks = 0

    async def next(self, stream: str, subject: str, from_seq: int) -> object:
        self.looks += 1
        return await self._streams.next(stream, subject, from_seq)


@asynccontextmanager
async def queue() -> AsyncIterator[World]:
    """A queue that no dispatcher reads."""
    async with world() as here:
        await declare(here.streams, here.names, here.subjects, DurableSection())
        yield here


async def test_what_nobody_has_taken_is_counted() -> None:
    """Of all classes, with the moment of the oldest; what is taken is none of it, also while it is not acknowledged, and who reads
    the queue has lost nothing by it."""
    async with queue() as here:
        look = BacklogReader(here.streams, here.subjects).look
        none = await look()
        for priority in (Priority.BATCH, Priority.NORMAL, Priority.NORMAL):
            await here.submit(priority=priority)
        came = [kept.stored_unix_s async for kept in here.kept(here.names.jobs, here.subjects.jobs("*", "*"))]
        all_wait = await look()
        async with (
            here.streams.puller(here.names.jobs, "batch") as batch,
            here.streams.puller(here.names.jobs, "normal") as normal,
        ):
            (pulled,) = await batch.fetch(1, wait_s=10.0)
            taken = await look()
            await pulled.ack(sync=True)
            rest = await normal.fetch(2, wait_s=10.0)
            no_more = await look()

    assert (Backlog(), Backlog(waiting=3, oldest_unix_s=came[0])) == (none, all_wait)
    assert (Backlog(waiting=2, oldest_unix_s=came[1]), Backlog()) == (taken, no_more)
    assert came[1:] == [one.kept.stored_unix_s for one in rest]


async def test_a_job_is_looked_at_once_however_long_it_waits() -> None:
    """It may be large; the next is looked at when it is the oldest."""
    async with queue() as here:
        streams = Counting(here.streams)
        reader = BacklogReader(streams, here.subjects)  # type: ignore[arg-type]  # of all that streams do it needs three
        for _ in range(2):
            await here.submit()
        for _ in range(3):
            await reader.look()
        once = streams.looks
        async with here.streams.puller(here.names.jobs, "normal") as normal:
            await normal.fetch(1, wait_s=10.0)
        await reader.look()

    assert (1, 2) == (once, streams.looks)


async def test_a_queue_that_nobody_has_made_is_not_known() -> None:
    """Which is another thing than an empty one."""
    async with world() as here:
        with pytest.raises(StreamError):
            await BacklogReader(here.streams, here.subjects).look()


async def test_who_asks_what_runs_is_told_what_waits_for_a_dispatcher() -> None:
    """While none is there, in the words that say so; and beside what one tells, in the list and in the stream."""
    async with (
        queue() as here,
        bridge_process(here.server.url) as bridge,
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http,
    ):
        for _ in range(3):
            await here.submit()
        alone = await http.get("/api/v1/running")
        async with watcher(http, "?only=queue") as one:
            await one.until(lambda: one.last("queue").get("durable", {}).get("waiting") == 3)
            first = one.last("queue")
            async with scripted_fleet(here.server.url):
                await one.until(lambda: one.last("queue")["dispatchers"] == 1 and "durable" in one.last("queue"))
                both, listed = one.last("queue"), (await http.get("/api/v1/running")).json()

    assert (503, True) == (alone.status_code, "3 durable jobs wait for one" in alone.json()["error"]["message"])
    assert {"waiting": 0, "running": 0, "limit": 0, "dispatchers": 0, "by_model": {}, "by_device": {}} == {
        name: value for name, value in first.items() if name != "durable"
    }
    assert (3, True) == (first["durable"]["waiting"], first["durable"]["oldest_unix_s"] > 0)
    assert first["durable"] == both["durable"] == listed["durable"]


async def test_where_nobody_keeps_a_queue_nothing_is_told_of_it() -> None:
    """Neither a number nor an error."""
    async with (
        world() as here,
        scripted_fleet(here.server.url),
        bridge_process(here.server.url) as bridge,
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http,
    ):

        async def listed() -> int:
            return (await http.get("/api/v1/running")).status_code

        await eventually(listed, 200, "a dispatcher is heard")
        told = (await http.get("/api/v1/running")).json()

    assert {"jobs": [], "more": False, "running": 0, "waiting": 0, "silent": []} == told
