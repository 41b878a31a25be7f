"""Cancelling a live job over HTTP, on servers with streams and without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from common import errors
from tests.bridge_process import bridge_process
from tests.chaos.world import Plan, world
from tests.nats_server import nats_server
from tests.scripted_fleet import ScriptedJob, scripted_fleet

HANG_S = 60.0
CHAT = {"model": "auto", "stream": True, "max_tokens": 4000, "messages": [{"role": "user", "content": "3000 words"}]}


async def begun(http: httpx.AsyncClient, response: httpx.Response) -> tuple[str, AsyncIterator[str]]:
    """Read the first line of an answer; gives its job, and what follows."""
    lines = response.aiter_lines()
    await anext(lines)
    return response.headers["x-drover-job"], lines


@pytest.mark.parametrize("jetstream", [True, False])
async def test_a_live_job_needs_no_streams_to_be_cancelled(*, jetstream: bool) -> None:
    """Also where a server has streams and nobody has made the queue, so that no question for it is answered: the order comes while
    the job is alive, though after two silent seconds and a half its dispatcher is taken for dead."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.token("Once")
        await job.cancelled.wait()
        await job.fail(errors.JobCancelled("cancelled"))

    async with (
        asyncio.timeout(HANG_S),
        nats_server(jetstream=jetstream) as nats,
        scripted_fleet(nats.url) as fleet,
        bridge_process(nats.url) as bridge,
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http,
    ):
        await fleet.beat()
        fleet.script = script
        async with http.stream("POST", "/v1/chat/completions", json=CHAT) as response:
            job, lines = await begun(http, response)
            done = await http.delete(f"/api/v1/jobs/{job}")
            rest = "".join([line async for line in lines])

    assert (200, {"id": job, "cancelled": True}) == (done.status_code, done.json())
    assert '"code":"cancelled"' in rest


async def test_a_dispatcher_with_a_durable_queue_ends_a_live_job_at_once() -> None:
    """The streaming job of a real dispatcher, beside its queue: the stream ends with the order, and a job that nobody knows is
    unknown."""
    plan = Plan(simulated=1, bridges=1, time_factor=1.0)
    async with (
        asyncio.timeout(HANG_S),
        world(plan) as fleet,
        httpx.AsyncClient(base_url=fleet.bridge_url(fleet.bridges[0]), timeout=HANG_S, trust_env=False) as http,
    ):
        async with http.stream("POST", "/v1/chat/completions", json=CHAT) as response:
            job, lines = await begun(http, response)
            done = await http.delete(f"/api/v1/jobs/{job}")
            rest = "".join([line async for line in lines])
        unknown = await http.delete("/api/v1/jobs/never-was")

    assert (200, {"id": job, "cancelled": True}) == (done.status_code, done.json())
    assert '"code":"cancelled"' in rest
    assert (404, "unknown_job") == (unknown.status_code, unknown.json()["error"]["code"])
