"""What an agent shows to Prometheus, where its owner wants that: its own heartbeat, as figures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from common.bus import Bus
from common.exposure import exposed, wanted
from common.messages import Heartbeat
from common.metrics import Metrics, gauge
from common.vitals import vitals


@asynccontextmanager
async def watched(address: str, bus: Bus, beat: Callable[[], Heartbeat]) -> AsyncIterator[None]:
    """Show the agent's figures at an address for the life of the context; `beat` gives what it would say of itself now."""
    if not wanted(address):
        yield
        return
    metrics = Metrics()
    metrics.ask(lambda: vitals((beat(),), "drover_agent"))
    metrics.ask(
        lambda: [gauge("drover_nats_connected", "1 while there is a connection to NATS.", float(bus.connected))]
    )
    async with exposed(metrics, address):
        yield
