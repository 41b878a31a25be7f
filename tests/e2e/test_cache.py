"""The cache as its owner has it: a whole fleet of real processes, a real Redis, HTTP and the command line."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.commands import GUARD_S, drover
from tests.e2e.test_cloud import asked, fleet
from tests.redis_server import needs_redis, redis_server

pytestmark = needs_redis

QUESTION = "Why is the sky blue?"
ALIKE = "Why is the sky so blue?"
OTHER = "Why is the sea not blue?"


def _chat(url: str, question: str, **headers: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Ask over HTTP; give headers and body."""
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": question}]}).encode()
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", body, {"Content-Type": "application/json", **headers}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return {name.lower(): value for name, value in answer.headers.items()}, json.loads(answer.read())


async def _health(url: str) -> dict[str, Any]:
    """Ask until a dispatcher has its word in: it is waited for a second, and the machine may be busy."""
    async with asyncio.timeout(GUARD_S), httpx.AsyncClient(trust_env=False, timeout=GUARD_S) as http:
        while (told := await http.get(f"{url}/health")).status_code != 200:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.05)
        return dict(told.json())


@pytest.mark.slow
async def test_a_fleet_with_a_redis(tmp_path: Path) -> None:
    """Given again to the command line and over HTTP, exactly and by likeness; after a restart of everything but the Redis; and
    without it everything runs on, and says what is wrong."""
    knobs = {"DROVER_DEVICES": "orin", "DROVER_CACHE": "semantic", "DROVER_CACHE_BUDGET_S": "1"}
    async with redis_server() as server:
        async with fleet(tmp_path, REDIS_URL=server.url, **knobs) as (_, _, nats):
            made = await asked(tmp_path, nats)
            again = await asked(tmp_path, nats)
        async with fleet(tmp_path, REDIS_URL=server.url, **knobs) as (_, http, nats):
            headers, body = await asyncio.to_thread(_chat, http, QUESTION)
            near, near_body = await asyncio.to_thread(_chat, http, ALIKE)
            fresh, _ = await asyncio.to_thread(_chat, http, QUESTION, **{"Cache-Control": "no-cache"})
            other, _ = await asyncio.to_thread(_chat, http, OTHER)
            report = await drover(
                "cache", "report-bad", near_body["x_drover"]["job"], "--json", cwd=tmp_path, NATS_URL=nats
            )
            after, _ = await asyncio.to_thread(_chat, http, ALIKE)
            await server.kill()
            alone, _ = await asyncio.to_thread(_chat, http, "What is a Jetson?")
            for _ in range(3):
                await asyncio.to_thread(_chat, http, "What is a Jetson?")
            health = await _health(http)

    assert ("miss", "hit", "exact") == (
        made["route"]["cache"]["outcome"], again["route"]["cache"]["outcome"], again["route"]["cache"]["kind"],
    )  # fmt: skip
    assert again["text"] == made["text"] == body["choices"][0]["message"]["content"]
    assert headers["x-drover-cache"].startswith("hit; kind=exact")
    assert near["x-drover-cache"].startswith("hit; kind=semantic")
    assert "hit" not in fresh["x-drover-cache"] + other["x-drover-cache"] + alone["x-drover-cache"]
    assert 0 == report.status, report.err
    assert "hit" not in after["x-drover-cache"]
    assert ("redis", "ok") == (health["cache"]["store"], health["status"])
    assert "open" != health["cache"]["state"]
