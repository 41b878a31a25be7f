"""One NATS server, one scripted fleet and one bridge for a test; started anew for each, since they take about a second."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.bridge_process import BridgeProcess, bridge_process
from tests.nats_server import NatsServer, nats_server
from tests.scripted_fleet import ScriptedFleet, scripted_fleet


@pytest.fixture
async def nats() -> AsyncIterator[NatsServer]:
    async with nats_server() as server:
        yield server


@pytest.fixture
async def fleet(nats: NatsServer) -> AsyncIterator[ScriptedFleet]:
    async with scripted_fleet(nats.url) as fleet:
        yield fleet


@pytest.fixture
async def bridge(nats: NatsServer, fleet: ScriptedFleet) -> AsyncIterator[BridgeProcess]:
    # The headers wait for the first token longer than a busy machine may need for it.
    async with bridge_process(nats.url, DROVER_HTTP_HEADER_HOLD_S="20") as bridge:
        await fleet.beat()
        yield bridge
