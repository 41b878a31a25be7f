"""The energy receipt as HTTP tells it: `usage.energy`, the account, and a header; a real bridge process, a scripted fleet."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from common import energy, frames
from common.energy import Energy
from common.errors import NoDevice
from common.messages import Usage
from tests.bridge_process import BridgeProcess
from tests.scripted_fleet import ScriptedFleet, ScriptedJob

CHAT = "/v1/chat/completions"
HI: Any = [{"role": "user", "content": "hi"}]
HANG_S = 20.0
TAKEN = Energy(
    joules=12.5, idle_joules=3.0, lost_joules=2.5, measured=True, source="ina3221", uncertainty=0.02, tokens=2,
    cost=0.000125, currency="EUR", co2e_g=0.05,
)  # fmt: skip
WASTED = Energy(joules=12.5, idle_joules=3.0, lost_joules=12.5, source="prediction", uncertainty=0.3)
TOLD = {
    "joules": 12.5, "idle_joules": 3.0, "lost_joules": 2.5, "measured": True, "source": "ina3221", "uncertainty": 0.02, "tokens": 2,
    "cost": 0.000125, "currency": "EUR", "co2e_g": 0.05, "watt_hours": 0.00347222, "joules_per_token": 6.25,
}  # fmt: skip


@pytest.fixture
async def http(bridge: BridgeProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http:
        yield http


async def metered(job: ScriptedJob) -> None:
    """Answer in two tokens, with a receipt."""
    await job.ack()
    await job.route()
    await job.tokens("Hel", "lo")
    await job.send(
        frames.End(tokens=2, usage=Usage(prompt_tokens=7, completion_tokens=2), energy=TAKEN, route=job.account())
    )


async def test_a_whole_answer(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """In `usage.energy`, in our account, and in a header."""
    fleet.script = metered
    response = await http.post(CHAT, json={"messages": HI})
    body = response.json()

    assert (TOLD, TOLD) == (body["usage"]["energy"], body["x_drover"]["energy"])
    assert (
        "12.5 J; measured; uncertainty=0.02; source=ina3221; cost=0.000125 EUR; co2e_g=0.05"
        == response.headers["x-drover-energy"]
    )


@pytest.mark.parametrize("usage", [False, True])
async def test_a_stream(http: httpx.AsyncClient, fleet: ScriptedFleet, usage: bool) -> None:
    """In the account of the last chunk, and in the usage for whoever asks for that."""
    fleet.script = metered
    asked = {"messages": HI, "stream": True, "stream_options": {"include_usage": usage}}
    events = (await http.post(CHAT, json=asked)).text.split("data: ")
    chunks = [json.loads(event) for event in events[1:-1]]

    assert [TOLD] == [chunk["x_drover"]["energy"] for chunk in chunks if "energy" in chunk.get("x_drover", {})]
    assert ([TOLD] if usage else []) == [chunk["usage"]["energy"] for chunk in chunks if chunk.get("usage")]


async def test_the_openai_package_reads_it(bridge: BridgeProcess, fleet: ScriptedFleet) -> None:
    """A field that it does not know is kept, and harms nothing."""
    fleet.script = metered
    async with openai.AsyncOpenAI(base_url=f"{bridge.url}/v1", api_key="x", timeout=HANG_S) as client:
        answer = await client.chat.completions.create(model="auto", messages=HI)

    assert answer.usage is not None
    assert (9, TOLD) == (answer.usage.total_tokens, answer.usage.model_dump()["energy"])


async def test_without_a_receipt_there_is_none(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """A model elsewhere: neither 0 J nor null is told."""
    assert fleet.jobs.empty()
    response = await http.post(CHAT, json={"messages": HI})

    assert "x-drover-energy" not in response.headers
    assert "energy" not in response.json()["usage"]


async def breaks(job: ScriptedJob) -> None:
    """Fail after work, with a receipt of what is lost."""
    await job.ack()
    await job.route()
    await job.send(frames.Err(NoDevice("no device is left"), {**job.account(), "energy": energy.to_wire(WASTED)}))


async def breaks_off(job: ScriptedJob) -> None:
    """Fail after a word."""
    await job.ack()
    await job.route()
    await job.tokens("Hel")
    await job.send(frames.Err(NoDevice("no device is left"), {"energy": energy.to_wire(WASTED)}))


async def test_a_failure_tells_what_was_lost(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """In its error and in the header: it took as much as an answer does."""
    fleet.script = breaks
    response = await http.post(CHAT, json={"messages": HI})

    assert (503, energy.to_wire(WASTED)) == (response.status_code, response.json()["error"]["energy"])
    assert "12.5 J; estimated; uncertainty=0.3; source=prediction" == response.headers["x-drover-energy"]


async def test_a_stream_that_fails_tells_it_too(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """In its error event."""
    fleet.script = breaks_off
    events = (await http.post(CHAT, json={"messages": HI, "stream": True})).text.split("data: ")
    failures = [told["error"] for event in events[1:-1] if "error" in (told := json.loads(event))]

    assert [energy.to_wire(WASTED)] == [failure["energy"] for failure in failures]


@pytest.mark.parametrize("told", [None, {}, {"energy": {"joules": -1}}, {"energy": "much"}])
async def test_a_failure_without_a_receipt_tells_none(
    http: httpx.AsyncClient, fleet: ScriptedFleet, told: dict[str, Any] | None
) -> None:
    """Nor one that can't be read."""

    async def unmetered(job: ScriptedJob) -> None:
        await job.ack()
        await job.send(frames.Err(NoDevice("no device is left"), told))

    fleet.script = unmetered
    response = await http.post(CHAT, json={"messages": HI})

    assert (503, False) == (response.status_code, "x-drover-energy" in response.headers)
    assert "energy" not in response.json()["error"]
