"""The cache of answers as HTTP tells of it and asks for it: a real bridge process, a scripted fleet on a real NATS server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from tests.bridge_process import BridgeProcess
from tests.scripted_fleet import ScriptedFleet, ScriptedJob

HI: Any = [{"role": "user", "content": "hi"}]
CHAT = "/v1/chat/completions"
HANG_S = 20.0

HIT: dict[str, Any] = {
    "outcome": "hit",
    "kind": "exact",
    "id": "0123456789abcdef",
    "similarity": 1.0,
    "chance": None,
    "age_s": 34.2,
    "source": {"job": "j0", "device": "pi5-1", "model": "llama3.2:3b"},
    "why": "the same request",
    "saved": {"s": 3.2, "tokens": 212, "energy_j": 14.1, "energy_estimated": True, "cost_usd": 0.0002},
}


@pytest.fixture
async def http(bridge: BridgeProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http:
        yield http


async def from_cache(job: ScriptedJob) -> None:
    """Give an answer that was given before."""
    await job.ack()
    await job.hit(HIT)
    await job.tokens("Hello", " again")
    await job.end()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hit_says_so(http: httpx.AsyncClient, fleet: ScriptedFleet, stream: bool) -> None:
    """Header and account tell of a hit: its kind, its age and whose answer it was; streamed or not."""
    fleet.script = from_cache
    response = await http.post(CHAT, json={"messages": HI, "stream": stream})
    whole = json.loads(response.text.split("data: ")[-2]) if stream else response.json()

    assert (
        response.headers["x-drover-cache"],
        response.headers["x-drover-device"],
        response.headers["x-drover-model"],
        whole["x_drover"]["cache"],
    ) == ("hit; kind=exact; similarity=1; age=34; source=pi5-1; id=0123456789abcdef", "cache", "llama3.2:3b", HIT)


async def test_a_hit_is_an_answer_like_any_other(bridge: BridgeProcess, fleet: ScriptedFleet) -> None:
    """OpenAI's package reads it piece by piece, and knows no difference."""
    fleet.script = from_cache
    async with openai.AsyncOpenAI(base_url=f"{bridge.url}/v1", api_key="none", max_retries=0, timeout=HANG_S) as client:
        stream = await client.chat.completions.create(model="auto", messages=HI, stream=True)
        pieces = [chunk.choices[0].delta.content async for chunk in stream]

    assert pieces == ["", "Hello", " again", None]


@pytest.mark.parametrize(
    ("told", "header"),
    [
        ({"outcome": "miss", "why": "never asked before"}, 'miss; why="never asked before"'),
        ({"outcome": "bypass", "why": "the request says off"}, 'bypass; why="the request says off"'),
        ({"outcome": "refused", "why": "it asks for the time"}, 'refused; why="it asks for the time"'),
        (None, None),
    ],
)
async def test_why_there_was_no_hit(
    http: httpx.AsyncClient, fleet: ScriptedFleet, told: dict[str, Any] | None, header: str | None
) -> None:
    """A whole answer tells in header and account what the cache did; where it is off there is nothing to tell."""

    async def script(job: ScriptedJob) -> None:
        job.cache = told
        await job.ack()
        await job.route()
        await job.token("hi")
        await job.end()

    fleet.script = script
    response = await http.post(CHAT, json={"messages": HI})

    assert (response.headers.get("x-drover-cache"), response.json()["x_drover"].get("cache")) == (header, told)


async def test_what_is_wished_reaches_the_fleet(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """The body's wish and user go on the bus; a header Cache-Control forbids what the body allows."""
    asked = {"messages": HI, "cache": "semantic", "user": "alice"}
    await http.post(CHAT, json=asked)
    await http.post(CHAT, json=asked, headers={"Cache-Control": "no-cache"})
    await http.post(CHAT, json={"messages": HI}, headers={"X-Drover-Cache": "exact"})
    await http.post(CHAT, json={"messages": HI})
    jobs = [await fleet.jobs.get() for _ in range(4)]

    assert [(job.request.get("cache"), job.request.get("user")) for job in jobs] == [
        ("semantic", "alice"),
        ("refresh", "alice"),
        ("exact", None),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("body", "headers", "param"),
    [
        ({"cache": "on"}, {}, "cache"),
        ({"cache": {"no-cache": True}}, {}, "cache"),
        ({}, {"X-Drover-Cache": "always"}, "x-drover-cache"),
        ({"cache": "off"}, {"X-Drover-Cache": "exact"}, "cache"),
        ({"user": 7}, {}, "user"),
        ({"safety_identifier": ["a"]}, {}, "safety_identifier"),
    ],
)
async def test_what_can_not_be_wished(
    http: httpx.AsyncClient, fleet: ScriptedFleet, body: dict[str, Any], headers: dict[str, str], param: str
) -> None:
    """A wrong word, two that differ, and a user that is no text are refused by name, and reach nobody."""
    response = await http.post(CHAT, json={"messages": HI, **body}, headers=headers)

    assert (response.status_code, response.json()["error"]["param"], fleet.jobs.empty()) == (400, param, True)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"mode": "exact", "store": "redis", "state": "away"}, {"mode": "exact", "store": "redis", "state": "away"}),
        ({"mode": "off", "more": [1]}, {"mode": "off", "store": "", "state": ""}),
        (None, None),
        ("rubbish", None),
    ],
)
async def test_health_shows_the_cache_and_does_not_depend_on_it(
    http: httpx.AsyncClient, fleet: ScriptedFleet, told: object, shown: dict[str, str] | None
) -> None:
    """Redis may be away: the fleet answers all the same, and its health says how the cache is."""
    fleet.cache = told
    response = await http.get("/health")

    assert (response.status_code, response.json()["cache"]) == (200, shown)
