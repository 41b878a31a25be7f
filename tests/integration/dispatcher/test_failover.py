"""A dispatcher that dies or stops under its producers: the client library finds another, and its reader sees one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from common.bus.memory import MemoryBroker, MemoryBus, connect_memory
from common.chat_stream import ChatStream
from common.client import Drover
from dispatcher.app import dispatcher
from dispatcher.pipeline import Pipeline
from tests.integration.dispatcher.house import House, settings
from tests.integration.dispatcher.scripted import answer, stall, until


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """Two dispatchers, each with a bus of its own that can be cut, and a producer."""

    pipelines: tuple[Pipeline, Pipeline]
    buses: tuple[MemoryBus, MemoryBus]
    house: House
    drover: Drover

    def owner(self) -> int:
        """Tell which of the two runs the job."""
        return next(index for index, pipeline in enumerate(self.pipelines) if pipeline.running)


@asynccontextmanager
async def town() -> AsyncIterator[Town]:
    """Open it; the dispatchers know one another."""
    broker = MemoryBroker()
    async with (
        connect_memory(broker) as one,
        connect_memory(broker) as other,
        connect_memory(broker) as world,
        Drover.over(world) as drover,
        asyncio.TaskGroup() as tasks,
    ):
        async with dispatcher(settings(grace_s=0.1), one) as a, dispatcher(settings(grace_s=0.1), other) as b:
            house = House(a, one, world, tasks)
            await house.listen()
            await until(lambda: bool(a.sharing.peers.others and b.sharing.peers.others), "they meet")
            yield Town(pipelines=(a, b), buses=(one, other), house=house, drover=drover)
        for device in house.devices:
            await device.die()


async def read(stream: ChatStream) -> str:
    """Read to the end."""
    async with stream:
        return "".join([chunk.text async for chunk in stream])


@pytest.mark.parametrize("how", ["dies", "stops"])
async def test_a_dispatcher_that_goes_in_mid_stream_is_not_seen(how: str) -> None:
    """Cut off the bus, or ended after its grace: the other one has the device go on with the text that the reader has."""
    async with town() as here, asyncio.TaskGroup() as tasks:
        nano = await here.house.device("nano", stall("Once "), answer("upon"), slots=2)
        await until(lambda: "nano" in here.pipelines[1].roster.fleet.devices, "both know the device")
        stream = here.drover.chat("hi")
        reading = tasks.create_task(read(stream))
        await until(lambda: stream.text == "Once ", "the reader has text")
        owner = here.owner()
        if how == "dies":
            here.buses[owner].disconnect()
        else:
            await here.pipelines[owner].sharing.peers.leave()
            here.pipelines[owner].stop_all()
        await until(lambda: len(nano.attempts) == 2, "the device is asked again")
        text = await reading
        here.buses[owner].reconnect()

        assert ("Once upon", "Once ") == (text, nano.attempts[1].dispatch.messages[-1].content)


async def test_a_producer_whose_own_line_broke_joins_its_job() -> None:
    """The frames that were sent meanwhile are lost to it; what runs goes on, and the whole text arrives."""
    async with town() as here, asyncio.TaskGroup() as tasks:
        nano = await here.house.device("nano", stall("Once "), answer("upon"), slots=2)
        await until(lambda: "nano" in here.pipelines[1].roster.fleet.devices, "both know the device")
        stream = here.drover.chat("hi", keep_s=30.0)
        reading = tasks.create_task(read(stream))
        await until(lambda: stream.text == "Once ", "the reader has text")
        world = here.house.world
        assert isinstance(world, MemoryBus)
        world.disconnect()
        world.reconnect()
        await until(lambda: [one["state"] for one in here.house.job_events] == ["attached"], "it comes again")
        await nano.attempts[0].tokens("upon")
        await nano.attempts[0].end()

        assert ("Once upon", 1) == (await reading, len(nano.attempts))
