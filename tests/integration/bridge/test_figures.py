"""What the pages of figures are drawn from, over a real bridge and ledger: sums by time, and what savings stand on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from common import codec, key_client
from common.errors import FleetError
from common.key_requests import AddKey
from common.keys import Scope
from common.messages import Heartbeat, ModelInfo
from common.records import Entry
from common.subjects import Subjects
from tests.bridge_process import bridge_process
from tests.integration.ledger.builders import NOON, event, job, minute
from tests.integration.ledger.ledgers import ledger_process, tell, until
from tests.nats_server import nats_server
from tests.scripted_fleet import ScriptedFleet, scripted_fleet

HANG_S = 60.0
SUBJECTS = Subjects()

PEOPLE = {
    "seer": AddKey(name="seer", scopes=(Scope.FLEET, Scope.CHAT)),
    "narrow": AddKey(name="narrow", scopes=(Scope.FLEET,), devices=("orin",)),
    "strait": AddKey(name="strait", scopes=(Scope.FLEET,), devices=("nobody*",)),
}

KEPT: tuple[Entry, ...] = (
    job(1),
    job(2, received_unix_s=NOON + 3600.0),
    minute(1, device="orin"),
    event(1, device="orin"),
    minute(1, device="gone"),
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True, slots=True)
class House:
    """A fleet, and who asks."""

    fleet: ScriptedFleet
    http: httpx.AsyncClient
    secrets: dict[str, str]

    async def ask(self, who: str, path: str, **params: Any) -> httpx.Response:
        """Ask as somebody."""
        headers = {"authorization": f"Bearer {self.secrets[who]}"}
        return await self.http.get(f"/api/v1/{path}", params=params, headers=headers)

    async def told(self, who: str, path: str, **params: Any) -> Any:
        """Ask as somebody, and give what is told."""
        answer = await self.ask(who, path, **params)
        assert 200 == answer.status_code, answer.text
        return answer.json()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    directory = tmp_path_factory.mktemp("ledger")
    settings = {"DROVER_LEDGER": "on", "DROVER_HTTP_KEYS": "on"}
    async with (
        nats_server(jetstream=True) as nats,
        scripted_fleet(nats.url) as fleet,
        ledger_process(nats.url, f"sqlite:///{directory}/ledger.db", directory),
        bridge_process(nats.url, **settings) as bridge,
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http,
    ):

        async def knows() -> bool:
            try:
                return await key_client.state(fleet.bus, SUBJECTS) == 0
            except FleetError:
                return False

        await until(knows)
        issued = {name: await key_client.add(fleet.bus, SUBJECTS, asked) for name, asked in PEOPLE.items()}
        here = House(fleet, http, {name: one.secret for name, one in issued.items()})
        for entry in KEPT:
            await tell(fleet.bus, entry)

        async def written() -> bool:
            span = {"until_unix_s": NOON + 300}
            last = await here.ask("seer", "devices/gone/history", **span)
            return last.status_code == 200 and len((await here.told("seer", "jobs"))["jobs"]) == 2

        await fleet.beat()
        await fleet.beat("orin")
        await until(written)
        yield here


async def test_energy_is_told_by_time(house: House) -> None:
    """A row for each step in which something was, newest first, and their sum; how long steps are is told, too."""
    told = await house.told("seer", "energy", by="time", step_s=1800, since_unix_s=NOON)

    assert ("time", 1800, [(NOON + 3600, 12.0), (NOON, 12.0)]) == (
        told["by"],
        told["step_s"],
        [(row["from_unix_s"], row["joules"]) for row in told["rows"]],
    )
    assert (2, 24.0, 12.0) == tuple(told["total"][name] for name in ("answered", "joules", "joules_per_answer"))


@pytest.mark.parametrize("wrong", [{"step_s": 59}, {"step_s": 31 * 86_400 + 1}, {"step_s": "1h"}, {"by": "hour"}])
async def test_steps_have_bounds(house: House, wrong: dict[str, Any]) -> None:
    """What is wrong is named."""
    answer = await house.ask("seer", "energy", **wrong)

    assert (400, next(iter(wrong))) == (answer.status_code, answer.json()["error"]["param"])


async def test_savings_tell_what_they_stand_on(house: House) -> None:
    """The model and its price, as far as it is there and the key is for it."""
    priced = ModelInfo(name="gpt-4o", input_usd_per_mtok=2.5, output_usd_per_mtok=10.0)
    beat = Heartbeat(device="cloud", boot="b1", seq=1, interval_s=60.0, models=(priced,), remote=True)
    await house.fleet.bus.publish(SUBJECTS.heartbeat("cloud"), codec.encode(codec.plain(beat)))
    await house.fleet.bus.flush()

    async def heard() -> bool:
        return any(one["name"] == "cloud" for one in (await house.told("seer", "devices"))["devices"])

    await until(heard)
    told, narrow = [await house.told(who, "energy", by="tenant") for who in ("seer", "narrow")]
    [row] = told["rows"]

    assert ("gpt-4o@cloud", 0.75, 0.25) == (row["saved_against"], row["cloud_usd"], row["saved_usd"])
    assert [{"name": "gpt-4o@cloud", "input_usd_per_mtok": 2.5, "output_usd_per_mtok": 10.0}] == told["savings"][
        "prices"
    ]
    assumption = told["savings"]["assumption"]
    assert ("cloud_reference" in assumption, "`" in assumption, []) == (True, False, narrow["savings"]["prices"])


async def test_latency_is_counted_by_the_ledger(house: House) -> None:
    """In columns of the span that is asked for, apart for the first token, for each device and model."""
    told = await house.told("seer", "latency", since_s=7200, until_unix_s=NOON + 3601, step_s=3600)

    assert ("ledger", 2, [0, 1], [0, 1]) == (
        told["source"],
        told["columns"],
        [one["column"] for one in told["total"]["columns"]],
        [column for column, _, _ in told["first_token"]["cells"]],
    )
    assert (1.5, 0.5, 2) == (told["total"]["p50_s"], told["first_token"]["p50_s"], told["outcomes"]["answered"])
    assert (["orin"], ["llama3.2:1b"], 63) == (
        [one["name"] for one in told["devices"]],
        [one["name"] for one in told["models"]],
        len(told["bounds_s"]),
    )


async def test_latency_is_of_what_the_key_is_for(house: House) -> None:
    """And without a moment it is of now, when nothing was."""
    span = {"until_unix_s": NOON + 3601, "since_s": 7200}
    told = [await house.told(who, "latency", **span) for who in ("narrow", "strait")]
    filtered = await house.told("seer", "latency", device="nano", **span)
    now = await house.told("seer", "latency")

    assert ([2, 0], [1, 0]) == ([one["total"]["count"] for one in told], [len(one["devices"]) for one in told])
    assert (0, ["orin"]) == (filtered["total"]["count"], [one["name"] for one in filtered["devices"]])
    assert (0, {"count": 0, "columns": [], "cells": []}) == (now["total"]["count"], now["first_token"])


@pytest.mark.parametrize(
    "wrong",
    [{"since_s": 59}, {"since_s": 2_678_401}, {"step_s": 1}, {"until_unix_s": -1}, {"until_unix_s": "nan"}, {"q": 1}],
)
async def test_what_is_asked_of_latency_has_bounds(house: House, wrong: dict[str, Any]) -> None:
    """What is wrong is named."""
    answer = await house.ask("seer", "latency", **wrong)

    assert (400, next(iter(wrong))) == (answer.status_code, answer.json()["error"]["param"])


async def test_what_a_device_was_like_is_told(house: House) -> None:
    """From what its agent has summed up, and what dispatchers saw of it; also of one that is gone."""
    span = {"since_s": 600, "until_unix_s": NOON + 300, "step_s": 60}
    told, gone = [await house.told("seer", f"devices/{name}/history", **span) for name in ("orin", "gone")]
    nothing = await house.told("seer", "devices/nano/history")
    [point] = told["points"]

    assert (NOON + 60, 6.0, 1.0, 0.5, 50.5, (3 << 30) + 1) == tuple(
        point[name]
        for name in ("from_unix_s", "watts", "measured_share", "in_flight", "temperature_c", "memory_used_bytes")
    )
    assert [("tripped", "ready")] == [(one["event"], one["state"]) for one in told["events"]]
    assert (1, [], [], 60) == (len(gone["points"]), nothing["points"], nothing["events"], nothing["step_s"])


@pytest.mark.parametrize("name", ["nobody", "x" * 65, "a.b", "ü"])
async def test_a_device_that_there_never_was_is_not_found(house: House, name: str) -> None:
    """In the words that any is met with."""
    answer = await house.ask("seer", f"devices/{name}/history")

    assert (404, "unknown_device") == (answer.status_code, answer.json()["error"]["code"])


async def test_a_device_that_the_key_is_not_for_is_not_there(house: House) -> None:
    """Whether it is there, or was."""
    span = {"until_unix_s": NOON + 300}
    told = [await house.ask("narrow", f"devices/{name}/history", **span) for name in ("orin", "nano", "gone")]

    assert [200, 404, 404] == [one.status_code for one in told]


@pytest.mark.parametrize("wrong", [{"since_s": 59}, {"step_s": 3}, {"until_unix_s": 1e12}, {"device": "orin"}])
async def test_what_is_asked_of_a_device_s_past_has_bounds(house: House, wrong: dict[str, Any]) -> None:
    """What is wrong is named."""
    answer = await house.ask("seer", "devices/orin/history", **wrong)

    assert (400, next(iter(wrong))) == (answer.status_code, answer.json()["error"]["param"])
