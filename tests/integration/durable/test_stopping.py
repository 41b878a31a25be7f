"""A lane that is stopped while its server fails. Over the twin of the server's streams."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from common.bus.memory import MemoryBroker, connect_memory
from common.bus.memory_streams import MemoryStreams
from common.bus.streams import Puller
from common.errors import BusDisconnected
from dispatcher.app import dispatcher
from dispatcher.durable.service import DurableLane
from dispatcher.settings import DurableSection
from tests.integration.dispatcher.house import settings
from tests.listening import GUARD_S


class Failing(DurableLane):
    """A lane that loses its connection in the very moment in which it is stopped."""

    failed = False

    async def _work(self, pullers: Mapping[str, Puller]) -> None:
        del pullers
        self.ready.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.failed = True
            raise BusDisconnected("the connection was lost") from None


async def test_a_lane_that_fails_while_it_is_stopped_ends() -> None:
    """A task group that fails while it is cancelled tells of the failure alone: the lane ends all the same, and its process."""
    broker = MemoryBroker()
    twin = MemoryStreams(broker)
    alone = replace(settings(), durable=DurableSection(enabled=False))
    async with connect_memory(broker) as bus, dispatcher(alone, bus) as pipeline, asyncio.TaskGroup() as tasks:
        lane = Failing(bus, pipeline, DurableSection(), room=lambda: 0, spawn=tasks.create_task)
        async with asyncio.timeout(GUARD_S):
            async with lane.open():
                await lane.ready.wait()
    twin.close()

    assert lane.failed
