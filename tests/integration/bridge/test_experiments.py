"""Experiments over HTTP: a real small bench, what a bridge tells of it, and what it tells of what is none."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dispatcher.experiments.manifest import ENDING
from tests.bridge_process import bridge_process
from tests.commands import drover
from tests.integration.bridge.answers import Description
from tests.nats_server import nats_server

HANG_S = 60.0
LISTED = "/api/v1/experiments"
QUESTIONS = [{"id": str(number), "category": "chat", "prompt": f"Say {number}."} for number in range(3)]
BENCH = ("bench", "--query-set", "mine.json", "--strategies", "hybrid", "least_loaded", "--no-report", "--no-warm-up")
FAST = ("--time-factor", "100", "--devices", "nano,pi5", "--max-tokens", "8", "--setting", "DROVER_ACCEPT_S=20")
NOWHERE = {"OLLAMA_HOST": "http://127.0.0.1:9", "DROVER_ACCEPT_S": "20"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(home: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A bridge over a folder that is not there yet."""
    async with (
        nats_server() as nats,
        bridge_process(nats.url, DROVER_HTTP_RESULTS=str(home / "results")) as bridge,
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as client,
    ):
        yield client


async def listed(http: httpx.AsyncClient) -> dict[str, Any]:
    return dict((await http.get(LISTED)).json())


async def test_what_a_bench_has_measured_is_told(home: Path, http: httpx.AsyncClient) -> None:
    """Nothing at first, and how to make some; then a real run: its strategies side by side, its plots, its rows to the last byte;
    and each answer is as it is described. Beside it a broken one is told as such."""
    before = await listed(http)
    (home / "mine.json").write_text(json.dumps(QUESTIONS))
    done = await drover(*BENCH, *FAST, cwd=home, **NOWHERE)
    assert 0 == done.status, done.err
    (home / "results" / f"bad{ENDING}").write_text("{")
    after = await listed(http)
    bad, run = sorted(after["experiments"], key=lambda one: str(one["name"]))
    one = (await http.get(f"{LISTED}/{run['id']}")).json()
    plain = await http.get(f"{LISTED}/{run['id']}/rows")
    objects = await http.get(f"{LISTED}/{run['id']}/rows?format=jsonl")
    broken = [await http.get(f"{LISTED}/{bad['id']}{tail}") for tail in ("", "/rows")]
    description = Description((await http.get("/openapi.json")).json())
    bodies = description.bodies()

    assert ([], True) == (before["experiments"], "drover bench" in before["hint"])
    assert {"id", "name", "broken"} == set(bad)
    assert ("bench", True, 6, ["hybrid", "least_loaded"], 6, 1) == tuple(
        run[name] for name in ("kind", "simulated", "n", "arms", "rows", "repeats")
    )
    assert 0 < one["arms"][0]["figures"]["latency_p50"]["value"] < 1000
    assert {"latency_mean", "energy_per_answer", "success_rate"} <= one["arms"][1]["figures"].keys()
    assert 5 == len(one["plots"])
    assert any("simulated" in words for words in one["caveats"])
    assert (home / "results" / "bench-mine-queries.csv").read_bytes() == plain.content
    assert ("text/csv; charset=utf-8", "attachment") == (
        plain.headers["content-type"],
        plain.headers["content-disposition"].partition(";")[0],
    )
    rows = list(csv.DictReader(io.StringIO(plain.text)))
    assert [one["query_id"] for one in rows] == [str(json.loads(one)["query_id"]) for one in objects.text.splitlines()]
    assert [404, 404] == [answer.status_code for answer in broken]
    assert all("is broken" in answer.json()["error"]["message"] for answer in broken)
    for path, body in ((LISTED, before), (LISTED, after), (f"{LISTED}/{{experiment}}", one)):
        assert [] == description.faults(bodies["GET", path, "200"], body)


@pytest.mark.parametrize(
    "name", ["nothing", "..%2F..%2Fetc%2Fpasswd", "%2e%2e", "results", "x" * 65, "bench-mine-queries.manifest.json"]
)
async def test_no_name_leads_to_a_file(http: httpx.AsyncClient, name: str) -> None:
    """An id is one of the list, or nothing."""
    told = [(await http.get(f"{LISTED}/{name}{tail}")).status_code for tail in ("", "/rows")]

    assert all(status in {400, 404} for status in told), told


async def test_another_form_is_refused(http: httpx.AsyncClient) -> None:
    """By name."""
    told = await http.get(f"{LISTED}/nothing/rows?format=xlsx")

    assert (400, True) == (told.status_code, "format" in told.json()["error"]["message"])
