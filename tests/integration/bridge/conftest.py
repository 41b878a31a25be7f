"""One NATS server, one scripted fleet and one bridge: for a test, or, since they take about a second, for all of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.bridge_process import BridgeProcess, bridge_process
from tests.nats_server import NatsServer, nats_server
from tests.scripted_fleet import ScriptedFleet, scripted_fleet

HOLD = {"DROVER_HTTP_HEADER_HOLD_S": "20"}
"""The headers wait for the first token longer than a busy machine may need for it."""


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
    async with bridge_process(nats.url, **HOLD) as bridge:
        await fleet.beat()
        yield bridge


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[tuple[ScriptedFleet, BridgeProcess]]:
    """For the tests of a file that leave both as they found them; they run in one event loop."""
    async with nats_server() as nats, scripted_fleet(nats.url) as fleet, bridge_process(nats.url, **HOLD) as bridge:
        await fleet.beat()
        yield fleet, bridge
