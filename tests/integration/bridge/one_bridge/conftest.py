"""For the files whose tests share one bridge, and one fleet that forgets between two of them, in one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import openai
import pytest
import pytest_asyncio

from tests.bridge_process import BridgeProcess
from tests.scripted_fleet import ScriptedFleet

HANG_S = 30.0


@pytest.fixture(autouse=True)
def fleet(shared: tuple[ScriptedFleet, BridgeProcess]) -> ScriptedFleet:
    shared[0].forget()
    return shared[0]


@pytest.fixture
def bridge(shared: tuple[ScriptedFleet, BridgeProcess]) -> BridgeProcess:
    return shared[1]


@pytest_asyncio.fixture(loop_scope="module")
async def http(bridge: BridgeProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http:
        yield http


@pytest_asyncio.fixture(loop_scope="module")
async def client(bridge: BridgeProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{bridge.url}/v1", api_key="none", max_retries=0, timeout=HANG_S) as client:
        yield client
