"""What the bridge counts of its requests, however they end."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.bridge_process import BridgeProcess, bridge_process
from tests.nats_server import nats_server
from tests.scripted_fleet import ScriptedFleet, ScriptedJob

CHAT = "/v1/chat/completions"
HI = {"messages": [{"role": "user", "content": "hi"}]}
HANG_S = 20.0

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def figure(http: httpx.AsyncClient, series: str) -> float:
    """Give one figure of the page; 0 where it is not there."""
    for line in (await http.get("/metrics")).text.splitlines():
        name, _, value = line.rpartition(" ")
        if name == series:
            return float(value)
    return 0.0


async def grown(http: httpx.AsyncClient, series: str, before: float) -> float:
    """Wait until a figure has grown, and say by how much."""
    async with asyncio.timeout(HANG_S):
        while True:
            now = await figure(http, series)
            if now > before:
                return now - before
            await asyncio.sleep(0.02)


def client(bridge: BridgeProcess) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False)


async def test_a_stream_is_open_until_it_ends(shared: tuple[ScriptedFleet, BridgeProcess]) -> None:
    """It is counted by its route and status, its bytes with it, and nobody hung up."""
    fleet, bridge = shared
    on = asyncio.Event()

    async def slowly(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.tokens("Rayleigh", " scattering")
        await on.wait()
        await job.end()

    fleet.script = slowly
    ended = f'drover_http_requests_total{{method="POST",route="{CHAT}",status="200"}}'
    async with client(bridge) as http:
        before = [await figure(http, name) for name in (ended, "drover_http_sent_bytes_total")]
        async with http.stream("POST", CHAT, json={**HI, "stream": True}) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            during = await figure(http, "drover_http_streams_open")
            on.set()
            async for _ in lines:
                pass
        more = [await grown(http, ended, before[0]), await grown(http, "drover_http_sent_bytes_total", before[1])]
        after = await figure(http, "drover_http_streams_open")

    assert (1.0, 1.0, 0.0, True) == (during, more[0], after, more[1] > 100)


async def test_a_client_that_hangs_up_is_counted(shared: tuple[ScriptedFleet, BridgeProcess]) -> None:
    """Once, with the status that it would have got, for lack of one that it got."""
    fleet, bridge = shared

    async def never(job: ScriptedJob) -> None:
        await job.ack()
        await job.cancelled.wait()

    fleet.forget()
    fleet.script = never
    hangups = f'drover_http_hangups_total{{route="{CHAT}"}}'
    gone = f'drover_http_requests_total{{method="POST",route="{CHAT}",status="499"}}'
    async with client(bridge) as http:
        before = [await figure(http, hangups), await figure(http, gone)]
        async with client(bridge) as leaving, asyncio.TaskGroup() as group:
            asking = group.create_task(leaving.post(CHAT, json=HI))
            await fleet.jobs.get()
            asking.cancel()
        more = [await grown(http, hangups, before[0]), await grown(http, gone, before[1])]

    assert [1.0, 1.0] == more


async def test_what_is_asked_for_makes_no_series(shared: tuple[ScriptedFleet, BridgeProcess]) -> None:
    """Paths and methods of anybody's invention are `other`, and parameters stay names."""
    _, bridge = shared
    async with client(bridge) as http:
        for number, method in enumerate(("PROPFIND", "MKCOL", "PURGE", "SEARCH", "LOCK")):
            await http.request(method, f"/nowhere/{number}")
            await http.get(f"/v1/models/invented-{number}")
        page = (await http.get("/metrics")).text

    assert ("PURGE" in page, "nowhere" in page, "invented" in page) == (False, False, False)
    assert 'route="/v1/models/{model:path}"' in page
    assert 'drover_http_requests_total{method="other",route="other",status="404"} 5.0' in page


async def test_it_shows_nothing_where_that_is_switched_off() -> None:
    """As if there were no such page."""
    async with (
        nats_server() as nats,
        bridge_process(nats.url, DROVER_HTTP_METRICS="off") as bridge,
        client(bridge) as http,
    ):
        status = (await http.get("/metrics")).status_code

    assert 404 == status
