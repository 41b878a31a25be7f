"""A real dispatcher and a real agent on one bus in this process, and a backend that a test plays by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agents.app import Agent
from agents.settings import AgentSection, AgentSettings, OllamaSection
from agents.telemetry import Gauge, sensors_for
from common import codec, frames
from common.bus import Delivery
from common.bus.memory import MemoryBroker, connect_memory
from common.frames import Ack, KeepAlive
from common.lifecycle import Stop
from common.messages import ModelInfo
from common.settings import BusSection, LogSection
from tests.integration.dispatcher.house import Connect, House, open_house
from tests.integration.dispatcher.scripted import until
from tests.unit.agents.held_backend import HeldBackend

DEVICE = "nano"


class Wire:
    """What the agent says to the dispatcher, read on its way."""

    def __init__(self) -> None:
        self.said: list[frames.Frame] = []

    def __call__(self, delivery: Delivery) -> None:
        if delivery.data:
            self.said.extend(map(frames.from_wire, codec.decode_all(delivery.data)))

    @property
    def accepted(self) -> int:
        """How many jobs the agent has taken."""
        return sum(isinstance(frame, Ack) for frame in self.said)

    @property
    def keep_alives(self) -> list[KeepAlive]:
        return [frame for frame in self.said if isinstance(frame, KeepAlive)]

    async def until_keep_alives(self, count: int) -> list[KeepAlive]:
        """Wait for so many, and give them."""
        await until(lambda: len(self.keep_alives) >= count, f"{count} keep-alives")
        return self.keep_alives


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """The dispatcher with its producers, the backend, and the wire between agent and dispatcher."""

    house: House
    backend: HeldBackend
    wire: Wire


@asynccontextmanager
async def rig(*, slots: int = 1, **clocks: float) -> AsyncIterator[Rig]:
    """Run both until the dispatcher knows the device; on leaving, every job must be over, told once, and without a trace."""
    broker, backend, wire, stop = MemoryBroker(), HeldBackend(), Wire(), Stop()
    backend.listed = (ModelInfo(name="m", loaded=True, capabilities=("completion",)),)

    @asynccontextmanager
    async def wires() -> AsyncIterator[Connect]:
        yield lambda: connect_memory(broker)

    async with open_house(wires, **clocks) as house, connect_memory(broker) as bus, asyncio.TaskGroup() as tasks:
        await house.world.subscribe("_INBOX_disp.>", wire)
        settings = _settings(slots)
        gauge = Gauge(sensors_for(""), poll_s=settings.agent.poll_s)
        tasks.create_task(Agent(settings, bus, backend, gauge).serve(stop))
        try:
            devices = house.pipeline.roster.fleet.devices
            await until(lambda: DEVICE in devices and devices[DEVICE].usable, "the device is ready")
            yield Rig(house=house, backend=backend, wire=wire)
        finally:
            stop.request()


def _settings(slots: int) -> AgentSettings:
    return AgentSettings(
        bus=BusSection(),
        log=LogSection(),
        agent=AgentSection(device=DEVICE, slots=slots, grace_s=1.0),
        ollama=OllamaSection(),
    )
