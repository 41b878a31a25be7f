"""The heartbeat and the look at the backend as services: when they act, and when they hold still; over the memory bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from structlog.testing import capture_logs

from agents.backends import Version
from agents.heartbeat import Beacon, Identity, heartbeat
from agents.inventory import Inventory, Stock
from agents.tally import Workload
from agents.telemetry import Readings
from common import codec
from common.bus.memory import MemoryBroker, MemoryBus, connect_memory
from common.clock import LoopClock
from common.errors import BackendError
from common.messages import Heartbeat, ModelInfo
from tests.listening import GUARD_S, Listener
from tests.unit.agents.held_backend import HeldBackend

IDENTITY = Identity(device="nano", boot="b", interval_s=1.0, topics=(), backend="held", agent_version="0.1.0")


@asynccontextmanager
async def running(service: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    async def run() -> None:
        await service()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run())
        try:
            yield
        finally:
            task.cancel()


def beacon(bus: MemoryBus, *, interval_s: float) -> Beacon:
    def build(seq: int, uptime_s: float, stopped: bool) -> Heartbeat:
        return heartbeat(IDENTITY, Workload(slots=1), Stock(), Readings(), seq=seq, uptime_s=uptime_s, stopped=stopped)

    return Beacon(bus, "llm.v1.hb.nano", build, clock=LoopClock(), interval_s=interval_s)


def numbers(heard: Listener) -> list[int]:
    return [codec.build(Heartbeat, codec.decode(data)).seq for data in heard.data]


async def test_heartbeats_are_numbered_from_zero() -> None:
    """Each interval one."""
    async with connect_memory(MemoryBroker()) as bus:
        heard = Listener()
        await bus.subscribe("llm.v1.hb.*", heard)
        async with running(beacon(bus, interval_s=0.05).shine):
            await heard.until(3)

        assert numbers(heard)[:3] == [0, 1, 2]


async def test_a_change_is_told_before_the_interval_is_over() -> None:
    """An interval of an hour, and two heartbeats at once."""
    async with connect_memory(MemoryBroker()) as bus:
        heard = Listener()
        await bus.subscribe("llm.v1.hb.*", heard)
        shining = beacon(bus, interval_s=3600)
        async with running(shining.shine):
            await heard.until(1)
            shining.nudge()
            await heard.until(2)

        assert numbers(heard) == [0, 1]


async def test_many_changes_share_a_heartbeat() -> None:
    """At most ten a second, so that a fast device does not flood its dispatchers."""
    async with connect_memory(MemoryBroker()) as bus:
        heard = Listener()
        await bus.subscribe("llm.v1.hb.*", heard)
        shining = beacon(bus, interval_s=3600)
        async with running(shining.shine):
            await heard.until(1)
            started_s = asyncio.get_running_loop().time()
            while len(heard.heard) < 4:
                shining.nudge()
                await asyncio.sleep(0)
            took_s = asyncio.get_running_loop().time() - started_s

        assert took_s >= 0.29  # three heartbeats, each a tenth of a second after the one before


async def test_there_are_no_heartbeats_without_a_connection() -> None:
    """None is sent late: the first one after the outage carries the next number."""
    async with connect_memory(MemoryBroker()) as bus:
        heard = Listener()
        await bus.subscribe("llm.v1.hb.*", heard)
        shining = beacon(bus, interval_s=3600)
        await shining.beat()
        bus.disconnect()
        await shining.beat()
        bus.reconnect()
        await shining.beat()
        await heard.until(2)

        assert numbers(heard) == [0, 1]


class Looks:
    """Counts the changes that an inventory reports, and lets a test wait for them."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(GUARD_S):
            while self.count < count:
                self._changed.clear()
                await self._changed.wait()


async def test_a_backend_that_does_not_answer_is_a_fault() -> None:
    """The models seen before stay listed, and none of them counts as loaded."""
    backend, looks = HeldBackend(), Looks()
    backend.listed = (ModelInfo(name="m", loaded=True),)
    inventory = Inventory(backend, poll_s=1.0, changed=looks)
    await inventory.look()
    backend.fault = BackendError("no Ollama answers")
    await inventory.look()

    assert inventory.stock == Stock(
        seen=True, models=backend.listed, version=Version("held"), fault="no Ollama answers"
    )
    assert inventory.is_loaded("m") is False


async def test_a_backend_that_answers_again_is_no_fault() -> None:
    """Each turn is reported once: seen, faulty, recovered."""
    backend, looks = HeldBackend(), Looks()
    inventory = Inventory(backend, poll_s=1.0, changed=looks)
    for fault in (None, BackendError("down"), BackendError("down"), None, None):
        backend.fault = fault
        await inventory.look()

    assert (inventory.stock.fault, looks.count) == (None, 3)


async def test_a_bug_in_the_backend_is_a_fault_and_no_more() -> None:
    """The device is out and says so; its log tells the bug once, and not with each look."""
    backend, looks = HeldBackend(), Looks()
    inventory = Inventory(backend, poll_s=1.0, changed=looks)
    backend.fault = ZeroDivisionError("a bug")
    with capture_logs() as lines:
        await inventory.look()
        await inventory.look()
    faulty = inventory.stock
    backend.fault = None
    await inventory.look()

    assert "ZeroDivisionError" in (faulty.fault or "")
    assert [line["event"] for line in lines].count("inventory.crashed") == 1
    assert inventory.stock.fault is None


async def test_a_model_without_a_tag_is_the_latest() -> None:
    """As Ollama has it."""
    backend = HeldBackend()
    backend.listed = (ModelInfo(name="moondream:latest", loaded=True), ModelInfo(name="other:latest"))
    inventory = Inventory(backend, poll_s=1.0, changed=Looks())
    await inventory.look()

    assert [inventory.is_loaded(name) for name in ("moondream", "moondream:latest", "other")] == [True, True, False]


async def test_a_nudge_brings_the_next_look_forward() -> None:
    """An hour between the looks, and a finished job."""
    backend, looks = HeldBackend(), Looks()
    inventory = Inventory(backend, poll_s=3600.0, changed=looks)
    async with running(inventory.watch):
        await looks.until(1)
        backend.listed = (ModelInfo(name="m"),)
        inventory.nudge()
        await looks.until(2)

    assert inventory.stock.models == (ModelInfo(name="m"),)
