"""A worker with a backend that is held by hand, over the memory bus, for the tests of the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from agents.energy.charge import Charge
from agents.liveness import EngineLiveness
from agents.slots import Slots
from agents.worker import Worker
from common import codec
from common.bus.memory import MemoryBroker, MemoryBus, connect_memory
from common.clock import Clock, LoopClock
from tests.listening import GUARD_S, Listener
from tests.unit.agents.held_backend import HeldBackend

JOB = "llm.v1.dev.nano.job"
FIRST = "_INBOX_disp.d.0.1"
"""The reply subject of the first job that a rig sends."""


class Rig:
    """A worker on a bus, its backend, and whoever sends it jobs over another connection."""

    def __init__(
        self,
        own: MemoryBus,
        sender: MemoryBus,
        group: asyncio.TaskGroup,
        *,
        slots: int = 1,
        clock: Clock | None = None,
        charge: Callable[[], Charge] = Charge,
    ) -> None:
        self.own = own
        self.sender = sender
        self.backend = HeldBackend()
        self.changes = 0
        self._changed = asyncio.Event()
        self.loaded = True
        clock = clock or LoopClock()
        self.liveness = EngineLiveness(clock, changed=self._count)
        self.worker = Worker(
            own,
            self.backend,
            group,
            boot="b1",
            slots=Slots(slots),
            clock=clock,
            liveness=self.liveness,
            flush_s=0.0,
            is_loaded=lambda _: self.loaded,
            changed=self._count,
            finished=lambda: None,
            charge=charge,
        )
        self._streams: dict[str, Listener] = {}

    def _count(self) -> None:
        self.changes += 1
        self._changed.set()

    async def idle(self) -> None:
        """Return when no slot is taken."""
        async with asyncio.timeout(GUARD_S):
            while self.worker.workload().in_flight:
                self._changed.clear()
                await self._changed.wait()

    async def send(self, number: int = 1, *, payload: bytes | None = None, **fields: Any) -> Listener:
        """Dispatch a job, under a reply subject of its own, whose answer the listener hears."""
        reply = f"_INBOX_disp.d.{len(self._streams)}.1"
        heard = self._streams[reply] = Listener()
        await self.sender.subscribe(reply, heard)
        await self.deliver(reply, number, payload=payload, **fields)
        return heard

    async def deliver(self, reply: str, number: int = 1, *, payload: bytes | None = None, **fields: Any) -> None:
        """Deliver a dispatch under any reply subject."""
        body = {"job": f"j{number}", "attempt": 1, "dispatcher": "d", "model": "m", "messages": [], "stream": True}
        await self.sender.publish(JOB, payload or codec.encode({**body, **fields}), reply=reply)


def frames(heard: Listener) -> list[dict[str, Any]]:
    return [codec.decode(data) if data else {} for data in heard.data]


def kinds(heard: Listener) -> list[str | None]:
    return [frame.get("t") for frame in frames(heard)]


@asynccontextmanager
async def opened(
    *, slots: int = 1, clock: Clock | None = None, charge: Callable[[], Charge] = Charge
) -> AsyncIterator[Rig]:
    broker = MemoryBroker()
    async with connect_memory(broker) as own, connect_memory(broker) as sender, asyncio.TaskGroup() as group:
        rig = Rig(own, sender, group, slots=slots, clock=clock, charge=charge)
        await own.subscribe(JOB, rig.worker.take)
        ticker = group.create_task(rig.worker.tick())
        try:
            yield rig
        finally:
            ticker.cancel()
            rig.worker.hand_back()
            rig.worker.close()
