"""An agent's readings when the best sensor's program says nothing: sampler, chain and a real child together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agents.energy.cadence import Cadence
from agents.energy.metering import Metering
from agents.energy.usual import Profile
from agents.power import PowerReader
from agents.power.chain import Chain
from agents.power.patient import PATIENCE_S
from agents.power.tegrastats import Tegrastats
from common import codec
from common.bus import Delivery
from common.bus.memory import MemoryBroker, connect_memory
from common.clock import LoopClock
from common.energy import PowerSample
from common.subjects import Subjects
from tests.integration.agents.test_power_children import program
from tests.listening import GUARD_S
from tests.unit.agents.power.scripted_reader import ScriptedReader

SOON_S = 0.5
"""For what is to take too long."""


@asynccontextmanager
async def samples(reader: Chain) -> AsyncIterator[asyncio.Queue[PowerSample]]:
    """Let an agent's services read it, and hear what they tell."""
    heard: asyncio.Queue[PowerSample] = asyncio.Queue()

    def hear(delivery: Delivery) -> None:
        heard.put_nowait(codec.build(PowerSample, codec.decode(delivery.data)))

    broker = MemoryBroker()
    async with connect_memory(broker) as bus, connect_memory(broker) as other, asyncio.TaskGroup() as group:
        await other.subscribe("llm.v1.power.nano", hear)
        metering = Metering(
            reader,
            bus,
            Subjects(),
            device="nano",
            boot="b1",
            cadence=Cadence(busy_hz=5.0, idle_s=10.0),
            clock=LoopClock(),
            profile=Profile,
            loaded=lambda: False,
        )
        tasks = [group.create_task(_run(service)) for service in metering.services]
        try:
            yield heard
        finally:
            for task in tasks:
                task.cancel()
            await reader.close()


async def _run(service: Callable[[], Awaitable[None]]) -> None:
    await service()


@pytest.mark.parametrize(
    ("wait_s", "patience_s"), [(SOON_S, PATIENCE_S), (GUARD_S, SOON_S)], ids=["its own deadline", "the chain's"]
)
async def test_a_silent_tegrastats_is_given_up_for_the_next_reader(
    tmp_path: Path, wait_s: float, patience_s: float
) -> None:
    """Whichever deadline is over first: the estimate's samples are on the bus, and one line says what was lost."""
    script = program(tmp_path, "tegrastats", "exec sleep 600")
    readers: list[PowerReader] = [Tegrastats(str(script), wait_s=wait_s), ScriptedReader("model", 7.0)]
    with capture_logs() as lines:
        async with samples(Chain(readers, named=False, patience_s=patience_s)) as heard, asyncio.timeout(GUARD_S):
            sample = await heard.get()

    told = [(line["event"], line["lost"]) for line in lines if line["event"] == "power.degraded"]
    assert (sample.source, sample.watts, told) == ("model", 7.0, [("power.degraded", "tegrastats")])
