"""A device of a simulated fleet is throttled: routing turns away from it before it fails, and says why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from common.client import Drover, chat_request
from tests.commands import GUARD_S
from tests.e2e.test_fleet import Fleet, fleet

PROMPT = "Tell me in 20 words how a queue works."
DEVICES = {"orin", "nx"}
FAULT = {"kind": "throttle", "factor": 3, "reasons": ["under-voltage: 4.5 V"]}
WHY = ["93 °C", "under-voltage: 4.5 V"]


def sensors_of(house: Fleet, device: str) -> str:
    """The address of a device's simulator, as its agent was told it."""
    environments = [one.environ() for one in house.up.children()]
    return next(one["DROVER_SENSORS_URL"] for one in environments if one.get("DROVER_DEVICE") == device)


async def healthy(http: httpx.AsyncClient, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Ask for the fleet's health until that holds."""
    async with asyncio.timeout(GUARD_S):
        while True:
            if holds((await http.get("/health")).json()):
                return
            await asyncio.sleep(0.05)


async def explained(drover: Drover, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask the dispatcher where the prompt would go, until that holds; the explanation then."""
    async with asyncio.timeout(GUARD_S):
        while True:
            told = await drover.explain(chat_request(PROMPT))
            if holds(told):
                return told
            await asyncio.sleep(0.05)


def option(told: dict[str, Any], device: str) -> dict[str, Any]:
    """A device among the options; nothing while a busy machine makes its heartbeats late."""
    return next((one for one in told["options"] if one["device"] == device), {})


async def test_a_throttled_device_is_turned_away_from_before_it_fails(tmp_path: Path) -> None:
    """Under-voltage and heat cost the device that leads its place, no job fails, and with the strain gone its health is back."""
    async with (
        fleet(tmp_path, DROVER_DEVICES=",".join(sorted(DEVICES)), DROVER_CACHE="off", DROVER_SITE="attic") as house,
        Drover.connect(house.nats) as drover,
        httpx.AsyncClient(base_url=house.http, timeout=GUARD_S, trust_env=False) as http,
    ):
        await healthy(http, lambda told: told["devices"] == dict.fromkeys(DEVICES, "ready"))
        first = await drover.ask(PROMPT)
        lead = first.device
        (other,) = DEVICES - {lead}
        simulator = sensors_of(house, lead).removesuffix("/sim/sensors")
        await http.post(f"{simulator}/sim/faults", json=FAULT)
        await http.post(f"{simulator}/sim/sensors", json={"temperature_c": 93})
        strained = option(
            await explained(
                drover,
                lambda told: (told["chosen"] or {}).get("device") == other and WHY == option(told, lead).get("strain"),
            ),
            lead,
        )
        second = await drover.ask(PROMPT)
        await healthy(http, lambda told: "throttled: under-voltage: 4.5 V" in told["warnings"].get(lead, ()))
        await http.delete(f"{simulator}/sim/faults")
        await http.delete(f"{simulator}/sim/sensors")
        eased = option(await explained(drover, lambda told: option(told, lead).get("strain") == []), lead)

    assert (other, 0.0) == (second.device, strained["terms"]["health"])
    assert eased["terms"]["health"] > 0.0
