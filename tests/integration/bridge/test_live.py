"""The page's stream of events, over a real bridge and ledger and a scripted fleet; people with different scopes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import pytest_asyncio

from common import codec, errors, key_client
from common.frames import Phase
from common.key_requests import AddKey, ChangeKey
from common.keys import Scope
from common.running import RunningJob
from common.subjects import Subjects
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.live.hub import MOST_OF_USER
from tests.bridge_process import BridgeProcess, bridge_process
from tests.integration.bridge.watching import HANG_S, watcher
from tests.integration.ledger.ledgers import ledger_process, until
from tests.nats_server import nats_server
from tests.scripted_fleet import ScriptedFleet, scripted_fleet

SUBJECTS = Subjects()
PEOPLE = {
    "anna": AddKey(name="anna", tenant="acme", user="anna", requests_per_minute=10_000),
    "carol": AddKey(name="carol", tenant="acme", user="carol"),
    "seer": AddKey(name="seer", tenant="acme", scopes=(Scope.FLEET, Scope.CHAT)),
    "narrow": AddKey(name="narrow", tenant="acme", models=("tiny*",)),
    "router": AddKey(name="router", tenant="acme", scopes=(Scope.ROUTE,)),
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


class House:
    """A fleet, a bridge, and a client for each of the people."""

    def __init__(self, fleet: ScriptedFleet, bridge: BridgeProcess) -> None:
        self.fleet = fleet
        self.bridge = bridge
        self.clients: dict[str, httpx.AsyncClient] = {}

    def __getitem__(self, who: str) -> httpx.AsyncClient:
        return self.clients[who]

    async def key(self, asked: AddKey) -> str:
        """Make a key, and give its id; its holder is a client from then on."""
        issued = await key_client.add(self.fleet.bus, SUBJECTS, asked)
        self.clients[asked.name] = httpx.AsyncClient(
            base_url=self.bridge.url,
            timeout=HANG_S,
            trust_env=False,
            headers={"authorization": f"Bearer {issued.secret}"},
            limits=httpx.Limits(max_connections=None),
        )
        return issued.grant.key

    async def ends(self, job: str, tenant: str, state: str = "done", **said: Any) -> None:
        """Tell the end of a job, as its dispatcher does."""
        told = {"job": job, "tenant": tenant, "state": state, **said}
        await self.fleet.bus.publish(SUBJECTS.job_event(state, job), codec.encode(told))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    directory = tmp_path_factory.mktemp("ledger")
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(nats_server())
        fleet = await stack.enter_async_context(scripted_fleet(nats.url))
        database = f"sqlite:///{directory}/ledger.db"
        await stack.enter_async_context(ledger_process(nats.url, database, directory))
        settings = {"DROVER_LEDGER": "on", "DROVER_HTTP_KEYS": "on"}
        bridge = await stack.enter_async_context(bridge_process(nats.url, **settings))

        async def knows() -> bool:
            try:
                return await key_client.state(fleet.bus, SUBJECTS) == 0
            except errors.FleetError:
                return False

        await until(knows)
        here = House(fleet, bridge)
        for asked in PEOPLE.values():
            await here.key(asked)
        await fleet.beat(models=("llama3.2:1b",), watts=7.5, watts_measured=True, watts_source="ina3221", slots=2)
        await fleet.beat("pi", models=("tiny:latest",))
        yield here
        for client in here.clients.values():
            await client.aclose()


@pytest.fixture(autouse=True)
def fleet(house: House) -> ScriptedFleet:
    house.fleet.forget()
    return house.fleet


def waits(job: str, position: int | None = 1, tenant: str = "acme", **fields: Any) -> RunningJob:
    where: dict[str, Any] = {"state": "queued", "phase": Phase.QUEUE, "position": position}
    return RunningJob(
        **{"id": job, "tenant": tenant, "kind": "chat", "asked_model": "auto", "queued_unix_s": 1e9, **where, **fields}
    )


def runs(job: str, tenant: str = "acme") -> RunningJob:
    return waits(job, None, tenant, state="running", phase=Phase.DECODE, device="nano", model="llama3.2:1b")


async def test_all_devices_come_first_and_then_those_that_changed(house: House, fleet: ScriptedFleet) -> None:
    """With the card that the list of devices has; a heartbeat that changes nothing tells only when it came."""
    async with watcher(house["seer"], "?only=devices") as one:
        await one.until(lambda: set(one.cards) >= {"nano", "pi"})
        listed = {card["name"]: card for card in (await house["seer"].get("/api/v1/devices")).json()["devices"]}
        first, before = one.all("devices")[0], dict(one.cards["nano"])
        await fleet.beat(models=("llama3.2:1b",), watts=9.5, watts_measured=True, watts_source="ina3221", slots=2)
        await one.until(lambda: one.cards["nano"]["watts"] == 9.5)
        changed = one.last("devices")
        await fleet.beat(
            models=("llama3.2:1b",), watts=9.5, watts_measured=True, watts_source="ina3221", slots=2, uptime_s=3.0
        )
        await one.until(lambda: "seen" in one.last("devices"))
        breath = one.last("devices")

    assert (True, {"nano", "pi"}) == (first["whole"], {card["name"] for card in first["devices"]})
    assert listed["nano"] == before
    assert (["nano"], False, True) == (
        [card["name"] for card in changed["devices"]],
        "whole" in changed,
        changed["devices"][0]["watts_measured"],
    )
    assert ([], ["nano"]) == (breath["devices"], [*breath["seen"]])


async def test_a_device_that_is_not_heard_any_more_is_told_without_a_word_of_its_own(
    house: House, fleet: ScriptedFleet
) -> None:
    """Nothing comes from it, and its card says so."""
    async with watcher(house["seer"], "?only=devices") as one:
        await fleet.beat("brief", models=("tiny:latest",), interval_s=0.2)
        await one.until(lambda: one.cards.get("brief", {}).get("liveness") == "dead")
        seen = one.cards["brief"]["seen_unix_s"]

    assert ("dead", True) == (one.cards["brief"]["state"], 0 < seen)


async def test_each_key_is_told_what_it_may_see(house: House) -> None:
    """Devices need read:fleet, jobs that or chat, and are left out without it also where they are asked for; of the fleet a narrow
    key knows its part, and of the queue only who sees the fleet knows what is waited for."""
    people = ("seer", "anna", "narrow", "router")
    told: dict[str, dict[str, Any]] = {}
    for who in people:
        async with watcher(house[who]) as one:
            await one.until(lambda one=one: one.last("fleet") and one.last("queue"))
            told[who] = {name: one.last(name) for name in ("hello", "fleet", "queue", "devices")}

    assert [["fleet", "devices", "jobs", "queue"], *[["fleet", "jobs", "queue"]] * 2, ["fleet", "queue"]] == [
        told[who]["hello"]["events"] for who in people
    ]
    assert [True, False, False, False] == [bool(told[who]["devices"]) for who in people]
    assert ({"nano", "pi"}, {"pi"}) == (
        set(told["anna"]["fleet"]["devices"]) - {"brief"},
        set(told["narrow"]["fleet"]["devices"]) - {"brief"},
    )
    assert (["tiny:latest"], "", True) == (
        told["narrow"]["fleet"]["models"],
        told["anna"]["fleet"]["reason"],
        told["anna"]["fleet"]["dispatcher"],
    )
    assert [True, False, False, False] == ["warnings" in told[who]["fleet"] for who in people]
    assert [True, False, False, False] == ["by_model" in told[who]["queue"] for who in people]


async def test_jobs_are_told_from_the_line_to_their_end(house: House, fleet: ScriptedFleet) -> None:
    """What a dispatcher says of them, and how they ended; to their own user, and to who sees the fleet."""
    own = Caller(tenant="acme", user="anna").job("j-told")
    async with watcher(house["anna"], "?only=jobs,queue") as one, watcher(house["seer"], "?only=jobs,queue") as other:
        await one.until(lambda: one.all("jobs"))
        await other.until(lambda: other.all("jobs"))
        fleet.house = [waits(own, 2), runs("j-others", "other")]
        for each in (one, other):
            await each.until(lambda each=each: own in each.jobs)
            await each.until(lambda each=each: each.last("queue").get("waiting") == 1)
        waiting = one.jobs[own]
        fleet.house = [runs(own), runs("j-others", "other")]
        await one.until(lambda: one.jobs[own]["phase"] == "decode")
        running = one.jobs[own]
        fleet.house = []
        energy = {"joules": 12.5, "measured": True}
        await house.ends(own, "acme", total_s=4.0, first_token_s=1.5, completion_tokens=9, device="nano", energy=energy)
        await house.ends("j-others", "other", "failed", error="device_lost", total_s=1.0)
        await one.until(lambda: one.jobs[own]["state"] == "done")
        await other.until(lambda: other.jobs["j-others"]["state"] == "failed")

    assert (True, [], own[-17:]) == (one.all("jobs")[0]["whole"], one.all("jobs")[0]["jobs"], one.last("hello")["own"])
    assert ("queued", "queue", 2) == (waiting["state"], waiting["phase"], waiting["position"])
    assert ("running", "nano", "llama3.2:1b") == (running["state"], running["device"], running["model"])
    assert ([own], {own, "j-others"}) == ([*one.jobs], set(other.jobs))
    ended = one.jobs[own]
    assert (9, 12.5, True, 1e9 + 1.5, 1e9 + 4.0, "auto") == (
        ended["tokens"],
        ended["joules"],
        ended["joules_measured"],
        ended["first_token_unix_s"],
        ended["ended_unix_s"],
        ended["asked_model"],
    )
    assert "device_lost" == other.jobs["j-others"]["error_code"]


async def test_a_job_whose_end_nobody_tells_is_gone(house: House, fleet: ScriptedFleet) -> None:
    """Its dispatcher has it no more, and no event came."""
    async with watcher(house["seer"], "?only=jobs") as one:
        fleet.house = [runs("j-lost")]
        await one.until(lambda: "j-lost" in one.jobs)
        fleet.house = []
        await one.until(lambda: one.jobs["j-lost"]["state"] == "gone")

    assert "nano" == one.jobs["j-lost"]["device"]


async def test_what_nobody_looked_at_meanwhile_is_asked_for_anew(house: House, fleet: ScriptedFleet) -> None:
    """The stream of somebody else goes on; jobs that ended while nobody was told of jobs are not there for who comes then."""
    async with watcher(house["seer"], "?only=queue") as other:
        async with watcher(house["seer"], "?only=jobs") as one:
            fleet.house = [runs("j-unseen")]
            await one.until(lambda: "j-unseen" in one.jobs)
            await other.until(lambda: other.last("queue").get("running") == 1)
        fleet.house = []
        await other.until(lambda: other.last("queue").get("running") == 0)
        async with watcher(house["seer"], "?only=jobs") as again:
            await again.until(lambda: again.all("jobs"))

    assert [(True, [])] == [(told["whole"], told["jobs"]) for told in again.all("jobs")]


async def test_a_key_that_is_gone_or_is_for_something_else_loses_its_stream(house: House) -> None:
    """With a last event that says why; who comes again learns the rest."""
    names = ("brief-key", "once-seer")
    keys = [await house.key(AddKey(name=name, tenant="acme", scopes=(Scope.CHAT, Scope.FLEET))) for name in names]
    async with watcher(house[names[0]]) as one, watcher(house[names[1]]) as other:
        await one.until(lambda: one.cards)
        await other.until(lambda: other.cards)
        await key_client.revoke(house.fleet.bus, SUBJECTS, keys[0])
        await key_client.change(house.fleet.bus, SUBJECTS, ChangeKey(which=keys[1], scopes=(Scope.CHAT,)))
        await one.until(lambda: one.ended)
        await other.until(lambda: other.ended)
    again = await house[names[0]].get("/ui/events")
    async with watcher(house[names[1]]) as third:
        await third.until(lambda: third.events)

    assert ("unauthorized", "stopping") == (one.last("end")["error"]["code"], other.last("end")["error"]["code"])
    assert 401 == again.status_code
    assert "devices" not in third.last("hello")["events"]


async def test_a_session_that_ends_loses_its_stream(house: House) -> None:
    """A log-out in one tab is one of all."""
    secret = house["anna"].headers["authorization"].removeprefix("Bearer ")
    async with httpx.AsyncClient(base_url=house.bridge.url, timeout=HANG_S, trust_env=False) as browser:
        opened = await browser.post("/api/v1/session", json={"key": secret})
        async with watcher(browser) as one:
            await one.until(lambda: one.last("fleet"))
            closed = await browser.delete("/api/v1/session", headers={"sec-fetch-site": "same-origin"})
            await one.until(lambda: one.ended)

    assert (201, 204, "unauthorized") == (opened.status_code, closed.status_code, one.last("end")["error"]["code"])


async def test_streams_have_bounds(house: House) -> None:
    """So many of one user, and of another one it is none; what is asked for must be there to be had, and somebody must ask."""
    async with AsyncExitStack() as stack:
        for _ in range(MOST_OF_USER):
            await stack.enter_async_context(watcher(house["anna"], "?only=queue"))
        refused = await house["anna"].get("/ui/events")
        await stack.enter_async_context(watcher(house["carol"], "?only=queue"))
    wrong = await house["carol"].get("/ui/events?only=fleet,weather")
    bare = await house["carol"].get("/ui/events", headers={"authorization": ""})

    assert (429, "rate_limit") == (refused.status_code, refused.json()["error"]["code"])
    assert (400, "only", True) == (
        wrong.status_code,
        wrong.json()["error"]["param"],
        "weather" in wrong.json()["error"]["message"],
    )
    assert 401 == bare.status_code

    async def let_in() -> bool:
        async with house["anna"].stream("GET", "/ui/events") as again:
            return again.status_code == 200

    await until(let_in)  # what was closed counts no more


async def test_the_clock_comes_at_once(house: House) -> None:
    """By it a page knows how old what it shows is."""
    async with watcher(house["router"], "?only=queue") as one:
        await one.until(lambda: one.last("steady"))

    assert 1.6e9 < one.last("steady")["now_unix_s"]
