"""Edge and cloud in one fleet: the provider of one fleet's paid models is another fleet's bridge, all of it real processes."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Running, drover, running
from tests.provider_process import KEY, provider

READY = r"drover is up: (http://127\.0\.0\.1:\d+)  \((nats://127\.0\.0\.1:\d+)\)"
BIG = "llama3.2:3b"
"""What only the far fleet's Orin has, and the near fleet pays for."""


def directories(path: Path) -> None:
    """Make one for each fleet."""
    for name in ("far", "near"):
        (path / name).mkdir()


@asynccontextmanager
async def fleet(cwd: Path, **environment: str) -> AsyncIterator[tuple[Running, str, str]]:
    """One that is up; gives its HTTP and its NATS address."""
    knobs = {
        "DROVER_HTTP_PORT": "0",
        "DROVER_NATS_PORT": "0",
        "DROVER_SIM_TIME_FACTOR": "50",
        "DROVER_ACCEPT_S": "20",  # a busy machine must not make a device silent
        "OLLAMA_HOST": "http://127.0.0.1:9",  # the discard port: no Ollama is there
        "DROVER_RESTART": "false",
        "DROVER_CACHE": "off",  # the same question is asked again and again
        "DROVER_LEDGER": "off",  # a process less in each fleet
        **environment,
    }
    async with running("up", cwd=cwd, **knobs) as up:
        found = await up.until(READY)
        yield up, found[1], found[2]


def _card(url: str, model: str) -> dict[str, Any]:
    """Give what the bridge tells of a model."""
    # Without the machine's proxy settings: the bridge is on this host.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        f"{url}/v1/models/{model}", timeout=30
    ) as answer:
        return dict(json.loads(answer.read()))


async def asked(cwd: Path, nats: str, *arguments: str) -> dict[str, Any]:
    """Ask, and give the whole account."""
    end = await drover("ask", "Why is the sky blue?", "--json", *arguments, cwd=cwd, NATS_URL=nats)
    assert end.status == 0, end.err
    return dict(json.loads(end.out))


async def cloud_is_ready(cwd: Path, nats: str) -> None:
    """The agent is started like all others, but nobody waits for it: the first job does."""
    end = await drover("ask", "hi", "--device", "cloud", "--timeout", "30", cwd=cwd, NATS_URL=nats)
    assert end.status == 0, end.err


@pytest.mark.slow
async def test_a_fleet_pays_another_one(tmp_path: Path) -> None:
    """The near fleet has a Pi and an agent whose provider is the far one's bridge: each job says where it ran, what ran in the
    cloud what it cost, and the account of the agent adds it up."""
    directories(tmp_path)
    async with (
        fleet(tmp_path / "far", DROVER_DEVICES="orin") as (_, far_http, _),
        fleet(
            tmp_path / "near",
            DROVER_DEVICES="pi5",
            DROVER_CLOUD_MODELS=f"{BIG}=100/200 8k tools json",
            OPENAI_BASE_URL=f"{far_http}/v1",
            OPENAI_API_KEY=KEY,
        ) as (_, near_http, nats),
    ):
        cwd = tmp_path / "near"
        await cloud_is_ready(cwd, nats)
        card = await asyncio.to_thread(_card, near_http, BIG)
        paid = await asked(cwd, nats, "--model", f"{BIG}@cloud")
        free = await asked(cwd, nats, "--model", "auto@pi5")
        account = json.loads((cwd / ".drover" / "cloud-cloud.json").read_text())

    usage = paid["usage"]
    price_usd = (usage["prompt_tokens"] * 100 + usage["completion_tokens"] * 200) / 1e6
    assert (100, 200) == (card["x_drover"]["input_usd_per_mtok"], card["x_drover"]["output_usd_per_mtok"])
    assert (paid["device"], paid["model"], paid["route"]["cost_usd"] > 0) == ("cloud", BIG, True)
    assert paid["route"]["cost_usd"] == pytest.approx(price_usd)
    assert (free["device"], "cost_usd" in free["route"]) == ("pi5", False)
    assert account["total_usd"] >= paid["route"]["cost_usd"]


@pytest.mark.slow
async def test_a_cloud_that_is_out_of_money_leaves_the_edge(tmp_path: Path) -> None:
    """The first job spends the budget; `auto` then runs at home, and who insists on the cloud is told why not."""
    directories(tmp_path)
    async with (
        provider() as one,
        fleet(
            tmp_path / "near",
            DROVER_DEVICES="pi5",
            DROVER_CLOUD_MODELS="gpt-small=1/2 8k/500",
            DROVER_CLOUD_BUDGET_DAY_USD="0.002",
            OPENAI_BASE_URL=one.base_url,
            OPENAI_API_KEY=KEY,
        ) as (_, _, nats),
    ):
        cwd = tmp_path / "near"
        await cloud_is_ready(cwd, nats)
        home = await asked(cwd, nats, "--model", "auto")
        refused = await drover("ask", "hi", "--device", "cloud", cwd=cwd, NATS_URL=nats)

    assert home["device"] == "pi5"
    assert (refused.status, "raise DROVER_CLOUD_BUDGET_DAY_USD" in refused.err) == (1, True)
