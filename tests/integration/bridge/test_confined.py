"""What a key that is for a part of the fleet is told of the rest, wherever it asks: nothing, over a real bridge and ledger."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from common import codec, key_client
from common.bus.jetstream import JetStream
from common.durable import Names
from common.errors import FleetError
from common.frames import Phase
from common.key_requests import AddKey
from common.keys import Scope
from common.running import RunningJob
from common.subjects import Subjects
from common.votes import mark_of
from dispatcher.briefs import COLUMNS
from dispatcher.durable.declare import declare
from dispatcher.settings import DurableSection
from tests.bridge_process import bridge_process
from tests.integration.bridge.watching import HANG_S, watcher
from tests.integration.ledger.builders import NOON, event, job, minute
from tests.integration.ledger.ledgers import ledger_process, tell, until
from tests.nats_server import nats_server
from tests.scripted_fleet import ScriptedFleet, scripted_fleet

SUBJECTS = Subjects()
HERE, ELSEWHERE = "orin", "atoll"
OWN = f"job-1-{mark_of('default', 'ann')}"
SIGHT = (Scope.CHAT, Scope.ROUTE, Scope.FLEET)
PEOPLE = {
    "seer": AddKey(name="seer", scopes=SIGHT),
    "part": AddKey(name="part", user="ann", scopes=SIGHT, devices=(HERE,)),
    "admin": AddKey(name="admin", scopes=(Scope.ADMIN,), devices=(HERE,)),
}
FIGURES = [True, False, *[0.5] * (len(COLUMNS) - 4)]
SPAN = f"since_s=7200&until_unix_s={NOON + 3600}"
LISTS = [
    "/api/v1/devices",
    "/api/v1/models",
    "/api/v1/energy",
    "/api/v1/energy?by=model",
    "/api/v1/energy?by=tenant",
    f"/api/v1/latency?{SPAN}",
    f"/api/v1/devices/{HERE}/history?{SPAN}",
    "/api/v1/running",
    "/api/v1/jobs",
    f"/api/v1/jobs?device={ELSEWHERE}",
    f"/api/v1/jobs/{OWN}",
    f"/api/v1/route/{OWN}",
    "/api/v1/votes",
    "/api/v1/usage",
    "/api/v1/session",
    "/v1/models",
    "/api/tags",
    "/api/ps",
]

pytestmark = pytest.mark.asyncio(loop_scope="module")


class House:
    """A fleet of two devices, and a client for each of the people."""

    def __init__(self, fleet: ScriptedFleet, clients: dict[str, httpx.AsyncClient]) -> None:
        self.fleet = fleet
        self.clients = clients

    async def told(self, who: str, path: str) -> Any:
        """Ask as somebody, and give what is told."""
        answer = await self.clients[who].get(path)
        assert 200 == answer.status_code, answer.text
        return answer.json()


def client(url: str, secret: str) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.AsyncClient(base_url=url, timeout=HANG_S, trust_env=False, headers=headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A job of each device is over, its attempts were on it alone; and both had a minute and an event."""
    directory = tmp_path_factory.mktemp("ledger")
    settings = {"DROVER_LEDGER": "on", "DROVER_HTTP_KEYS": "on"}
    async with (
        nats_server(jetstream=True) as nats,
        scripted_fleet(nats.url) as fleet,
        ledger_process(nats.url, f"sqlite:///{directory}/ledger.db", directory),
        bridge_process(nats.url, **settings) as bridge,
    ):

        async def knows() -> bool:
            try:
                return await key_client.state(fleet.bus, SUBJECTS) == 0
            except FleetError:
                return False

        await until(knows)
        # As in any fleet with a dispatcher: without streams whoever is asked for a job looks for them first.
        await declare(JetStream(fleet.bus), Names.below(SUBJECTS), SUBJECTS, DurableSection())
        issued = {name: await key_client.add(fleet.bus, SUBJECTS, asked) for name, asked in PEOPLE.items()}
        here = House(fleet, {name: client(bridge.url, one.secret) for name, one in issued.items()})
        last = job(1).attempts[-1:]
        options = [[HERE, "llama3.2:1b", *FIGURES], [ELSEWHERE, "far:1b", *FIGURES]]
        brief = {"strategy": "hybrid", "weights": {}, "options": options}
        for entry in (
            job(1, job=OWN, attempts=last, decision=brief),
            job(2, job="others", device=ELSEWHERE, model="far:1b", attempts=(), decision=brief),
            *(minute(1, device=name) for name in (HERE, ELSEWHERE)),
            *(event(number, device=name) for number, name in enumerate((HERE, ELSEWHERE), 1)),
        ):
            await tell(fleet.bus, entry)
        await fleet.beat(HERE, ("llama3.2:1b",), warnings=("hot",))
        await fleet.beat(ELSEWHERE, ("far:1b",), warnings=("cold",))
        fleet.house = [running(OWN, HERE), running("others", ELSEWHERE)]

        async def written() -> bool:
            found = await here.clients["seer"].get(f"/api/v1/devices/{ELSEWHERE}/history?{SPAN}")
            jobs, devices = await here.told("seer", "/api/v1/jobs"), await here.told("seer", "/api/v1/devices")
            return found.status_code == 200 and (2, 2) == (len(jobs["jobs"]), len(devices["devices"]))

        await until(written)
        yield here
        for one in here.clients.values():
            await one.aclose()


def running(name: str, device: str) -> RunningJob:
    return RunningJob(
        id=name,
        tenant="default",
        kind="chat",
        state="running",
        phase=Phase.DECODE,
        asked_model="auto",
        queued_unix_s=1e9,
        device=device,
        model="any:1b",
    )


@pytest.mark.parametrize("path", LISTS)
async def test_the_rest_of_the_fleet_is_named_nowhere(house: House, path: str) -> None:
    """Neither its devices nor its models, nor who runs there; who sees all is told of both where there is anything to tell."""
    told = codec.encode(await house.told("part", path)).decode()

    assert [] == [name for name in (ELSEWHERE, "far:1b", "others") if name in told]


async def test_what_it_is_for_is_told(house: House) -> None:
    """Its card, its joules, its latency; and who sees all, or makes keys, has both."""
    devices, energy, counts, jobs = [], [], [], []
    for who in ("part", "seer", "admin"):
        devices.append([one["name"] for one in (await house.told(who, "/api/v1/devices"))["devices"]])
        energy.append(sorted(row["key"] for row in (await house.told(who, "/api/v1/energy"))["rows"]))
        counts.append((await house.told(who, f"/api/v1/latency?{SPAN}"))["total"]["count"])
        jobs.append(sorted(one["id"] for one in (await house.told(who, "/api/v1/running"))["jobs"]))

    assert [[HERE], [ELSEWHERE, HERE], [ELSEWHERE, HERE]] == devices == energy
    assert [1, 2, 2] == counts
    assert [[OWN], [OWN, "others"], [OWN, "others"]] == jobs


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/api/v1/devices/{ELSEWHERE}/history", 404),
        ("/api/v1/jobs/others", 404),
        ("/api/v1/route/others", 503),  # no dispatcher is there to ask either
        ("/api/v1/jobs?tenant=acme", 403),
        ("/api/v1/running?tenant=acme", 403),
        ("/api/v1/votes?tenant=acme", 403),
        ("/api/v1/experiments", 403),
    ],
)
async def test_what_is_asked_for_by_name_is_not_there(house: House, path: str, status: int) -> None:
    """As if it had never been; what is refused says that the key is for a part, and an administrator's is answered."""
    told, admin = [await house.clients[who].get(path) for who in ("part", "admin")]

    assert (status, status == 403, 200) == (told.status_code, "part of the fleet" in told.text, admin.status_code)


async def test_the_stream_tells_of_the_part(house: House) -> None:
    """Cards, jobs, and what is said of the fleet and the queue; also when the rest changes meanwhile."""
    async with watcher(house.clients["part"]) as part, watcher(house.clients["seer"]) as seer:
        for one in (part, seer):
            await one.until(lambda one=one: one.last("fleet") and one.last("queue") and one.jobs and one.cards)
        await house.fleet.beat(ELSEWHERE, ("far:1b",), watts=99.0)
        await seer.until(lambda: seer.cards[ELSEWHERE].get("watts") == 99.0)
        await house.fleet.beat(HERE, ("llama3.2:1b",), watts=7.5, warnings=("hot",))
        await part.until(lambda: part.cards[HERE].get("watts") == 7.5)
        told = codec.encode([data for _, data in part.events]).decode()

    assert ([HERE], [OWN], [HERE]) == ([*part.cards], [*part.jobs], [*part.last("fleet")["warnings"]])
    assert ({HERE, ELSEWHERE}, {OWN, "others"}) == (set(seer.cards), set(seer.jobs))
    assert [] == [name for name in (ELSEWHERE, "far:1b", "others") if name in told]
    assert 2 == part.last("queue")["running"]


@pytest.mark.parametrize("tail", ["", "/bench", "/bench/rows", "/bench/rows?format=jsonl"])
async def test_what_was_measured_is_told_of_all_or_not_at_all(house: House, tail: str) -> None:
    """By none of the routes, before anything is looked up; the refusal names the way out."""
    path = f"/api/v1/experiments{tail}"
    part, seer = [await house.clients[who].get(path) for who in ("part", "seer")]

    assert (403, "not_allowed") == (part.status_code, part.json()["error"]["code"])
    assert "drover keys change --any-device --any-model" in part.json()["error"]["message"]
    assert (404 if tail else 200) == seer.status_code


async def test_the_page_has_no_view_of_it_either(house: House) -> None:
    """Neither in the menu nor at its address, which says why; who sees all of the fleet has it."""
    page = {"accept": "text/html"}
    part, seer, admin = [
        await house.clients[who].get("/experiments", headers=page) for who in ("part", "seer", "admin")
    ]

    assert [403, 200, 200] == [one.status_code for one in (part, seer, admin)]
    assert [False, True, True] == ['data-view="experiments"' in one.text for one in (part, seer, admin)]
    assert 'data-view="fleet"' in part.text
    assert "This key is for a part of the fleet" in part.text


async def test_metrics_name_nothing_of_the_fleet(house: House) -> None:
    """They ask for no key, so a key hides nothing of them: they count requests by route and status."""
    await house.told("seer", f"/api/v1/devices/{ELSEWHERE}/history?{SPAN}")
    await house.told("seer", "/api/v1/jobs/others")
    labels = set(re.findall(r'="([^"]*)"', (await house.clients["part"].get("/metrics")).text))

    assert {"/api/v1/devices/{name}/history", "/api/v1/jobs/{job}"} <= labels
    assert [] == [
        one for one in labels if any(name in one for name in (HERE, ELSEWHERE, ":1b", "others", "ann", "seer"))
    ]
