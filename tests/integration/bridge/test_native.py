"""Drover's own API and the simple router's, over a real bridge and ledger and a scripted fleet; people with different scopes."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from common import codec, errors, key_client
from common.bus import Delivery
from common.bus.jetstream import JetStream
from common.durable import Names
from common.frames import Phase
from common.key_requests import AddKey, Limit, ListKeys
from common.keys import Scope, Unit
from common.records import JOB
from common.running import RunningJob
from common.subjects import Subjects
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.gate.limiter import MOST_FOLLOWED
from dispatcher.durable.declare import declare
from dispatcher.settings import DurableSection
from tests.bridge_process import bridge_process
from tests.integration.bridge.conftest import HOLD
from tests.integration.ledger.builders import job as record
from tests.integration.ledger.builders import payload
from tests.integration.ledger.ledgers import ledger_process, until
from tests.nats_server import nats_server
from tests.scripted_fleet import ScriptedFleet, ScriptedJob, scripted_fleet

HANG_S = 60.0
SUBJECTS = Subjects()
EXPLAINED = '{"model":"auto","messages":[{"role":"user","content":"hi"}]}'
JSON = {"content-type": "application/json"}

PEOPLE = {
    "anna": AddKey(name="anna", tenant="acme", user="anna"),
    "ben": AddKey(name="ben", tenant="other"),
    "carol": AddKey(name="carol", tenant="acme", user="carol"),
    "seer": AddKey(name="seer", tenant="acme", scopes=(Scope.FLEET, Scope.CHAT)),
    "narrow": AddKey(name="narrow", tenant="acme", models=("tiny*",)),
    "strait": AddKey(name="strait", tenant="acme", user="strait", models=("tiny*",), scopes=(Scope.ROUTE, Scope.CHAT)),
    "router": AddKey(name="router", tenant="acme", scopes=(Scope.ROUTE,)),
    "admin": AddKey(name="admin", tenant="acme", scopes=(Scope.ADMIN,)),
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


class House:
    """A fleet, and a client for each of the people."""

    def __init__(self, fleet: ScriptedFleet, url: str, secrets: dict[str, str]) -> None:
        self.fleet = fleet
        self.secrets = secrets
        self.clients = {
            name: httpx.AsyncClient(
                base_url=url, timeout=HANG_S, trust_env=False, headers={"authorization": f"Bearer {secret}"}
            )
            for name, secret in secrets.items()
        }

    async def call(self, who: str, verb: str, path: str, **more: Any) -> httpx.Response:
        """Ask as somebody."""
        return await self.clients[who].request(verb, path, **more)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    directory = tmp_path_factory.mktemp("ledger")
    settings = {**HOLD, "DROVER_LEDGER": "on", "DROVER_HTTP_KEYS": "on", "DROVER_HTTP_MAX_UPLOAD_BYTES": "2000000"}
    async with (
        nats_server(jetstream=True) as nats,
        scripted_fleet(nats.url) as fleet,
        ledger_process(nats.url, f"sqlite:///{directory}/ledger.db", directory),
        bridge_process(nats.url, **settings) as bridge,
    ):

        async def knows() -> bool:
            try:
                return await key_client.state(fleet.bus, SUBJECTS) == 0
            except errors.FleetError:
                return False

        await until(knows)
        await declare(JetStream(fleet.bus), Names.below(SUBJECTS), SUBJECTS, DurableSection())
        issued = {name: await key_client.add(fleet.bus, SUBJECTS, asked) for name, asked in PEOPLE.items()}
        await fleet.beat(models=("llama3.2:1b",), watts=7.5, temperature_c=51.0, slots=2)
        await fleet.beat("pi", models=("tiny:latest",))
        here = House(fleet, bridge.url, {name: one.secret for name, one in issued.items()})
        yield here
        for client in here.clients.values():
            await client.aclose()


@pytest.fixture(autouse=True)
def fleet(house: House) -> ScriptedFleet:
    house.fleet.forget()
    return house.fleet


async def test_a_chat_as_on_nats(house: House, fleet: ScriptedFleet) -> None:
    """What the body says reaches the dispatcher; the key of a provider goes by header alone."""
    body = {"prompt": "hi", "options": {"max_tokens": 5}, "strategy": "energy:eco", "device": "nano", "local": True}
    answer = await house.call("anna", "POST", "/api/v1/chat", json=body, headers={"X-Drover-Provider-Key": "sk-1"})
    asked = (await fleet.jobs.get()).request
    refused = [
        await house.call("anna", "POST", "/api/v1/chat", json={"prompt": "hi", **more})
        for more in ({"provider_key": "sk-1"}, {"allow_models": ["*"]}, {"max_token": 5}, {"options": {"n": 1}})
    ]
    told = answer.json()

    assert ("Hello there!", "llama3.2:1b", "stop", "nano") == (
        told["text"],
        told["model"],
        told["finish"],
        told["x_drover"]["device"],
    )
    assert {"max_tokens": 5} == {name: value for name, value in asked["options"].items() if value}
    assert ("energy:eco", "nano", True, "sk-1") == tuple(
        asked[one] for one in ("strategy", "device", "local", "provider_key")
    )
    assert [400] * 4 == [one.status_code for one in refused]


async def test_the_frames_of_nats_come_as_events(house: House, fleet: ScriptedFleet) -> None:
    """Each is named as its kind, the place in the queue and the phases among them."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.keep_alive("queue", 3.0, 2)
        await job.route()
        await job.keep_alive("load", 1.5)
        await job.tokens("Hi", "!")
        await job.end()

    fleet.script = script
    answer = await house.call("anna", "POST", "/api/v1/chat", json={"prompt": "hi", "stream": True})
    lines = [line for line in answer.text.splitlines() if line]
    events = [(name[7:], json.loads(data[6:])) for name, data in zip(lines[::2], lines[1::2], strict=True)]

    assert ["ack", "ka", "route", "ka", "tok", "tok", "end"] == [name for name, _ in events]
    assert all(name == data["t"] for name, data in events)
    assert {"t": "ka", "phase": "queue", "eta_ms": 3000, "position": 2} == events[1][1]
    assert ("nano", "load", [0, 1]) == (
        events[2][1]["device"],
        events[3][1]["phase"],
        [one["s"] for _, one in events[4:6]],
    )


async def test_a_failed_stream_ends_with_its_error(house: House, fleet: ScriptedFleet) -> None:
    """With the code that producers get."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.token("Hi")
        await job.fail(errors.DeviceLost("nano went away"))

    fleet.script = script
    answer = await house.call("anna", "POST", "/api/v1/chat", json={"prompt": "hi", "stream": True})
    name, data = answer.text.strip().splitlines()[-2:]

    assert ("event: err", "device_lost") == (name, json.loads(data[6:])["code"])


SCOPES = [
    ("POST", "/api/v1/chat", {"anna", "seer", "narrow", "strait", "carol", "admin"}),
    ("GET", "/api/v1/models", {"anna", "seer", "narrow", "strait", "carol", "admin"}),
    ("GET", "/api/v1/limits", {"anna", "seer", "narrow", "strait", "carol", "admin"}),
    ("GET", "/api/v1/jobs", {"anna", "seer", "narrow", "strait", "carol", "admin"}),
    ("GET", "/api/v1/running", {"anna", "seer", "narrow", "strait", "carol", "admin"}),
    ("GET", "/api/v1/votes", {"anna", "seer", "narrow", "strait", "router", "carol", "admin"}),
    ("POST", "/api/v1/votes", {"anna", "seer", "narrow", "strait", "carol", "admin"}),
    ("POST", "/api/v1/feedback", {"anna", "seer", "narrow", "strait", "carol", "admin"}),
    ("GET", "/api/v1/usage", {"anna", "seer", "narrow", "strait", "carol", "admin"}),
    ("GET", "/api/v1/conversations", {"anna", "seer", "narrow", "strait", "carol", "admin"}),
    ("POST", "/route", {"anna", "seer", "narrow", "strait", "carol", "admin"}),
    ("GET", "/models", {"anna", "seer", "narrow", "strait", "carol", "admin"}),
    ("GET", "/api/v1/devices", {"seer", "admin"}),
    ("GET", "/api/v1/energy", {"seer", "admin"}),
    ("GET", "/api/v1/latency", {"seer", "admin"}),
    ("GET", "/api/v1/devices/nano/history", {"seer", "admin"}),
    ("GET", "/api/v1/experiments", {"seer", "admin"}),
    ("GET", "/api/v1/experiments/any", {"seer", "admin"}),
    ("GET", "/api/v1/experiments/any/rows", {"seer", "admin"}),
    ("POST", "/api/v1/route/explain", {"router", "strait", "admin"}),
    ("POST", "/api/v1/devices/nano/drain", {"admin"}),
    ("POST", "/api/v1/devices/nano/resume", {"admin"}),
    ("POST", "/api/v1/devices/nano/load", {"admin"}),
    ("GET", "/api/v1/keys", {"admin"}),
    ("POST", "/api/v1/keys", {"admin"}),
    ("PATCH", "/api/v1/keys/nobody", {"admin"}),
    ("POST", "/api/v1/keys/nobody/rotate", {"admin"}),
    ("POST", "/api/v1/keys/nobody/refill", {"admin"}),
    ("DELETE", "/api/v1/keys/nobody", {"admin"}),
]


@pytest.mark.parametrize(("verb", "path", "who"), SCOPES)
async def test_each_route_asks_for_its_scope(house: House, verb: str, path: str, who: set[str]) -> None:
    """Who lacks it is told so, and without a key nobody gets anywhere."""
    told = {name: (await house.call(name, verb, path)).status_code for name in house.clients if name != "ben"}
    bare = await house.call("anna", verb, path, headers={"authorization": ""})

    assert (who, 401) == ({name for name, status in told.items() if status != 403}, bare.status_code)


async def test_models_are_those_that_the_key_is_for(house: House) -> None:
    """With what is known of them; the names that stand for a choice are there for everybody."""
    everything = (await house.call("anna", "GET", "/api/v1/models")).json()["models"]
    narrow = (await house.call("narrow", "GET", "/api/v1/models")).json()["models"]
    plain = (await house.call("narrow", "GET", "/models")).json()["models"]
    real = [one for one in everything if not one.get("virtual")]

    assert [("llama3.2:1b", ["nano"]), ("tiny:latest", ["pi"])] == [(one["name"], one["devices"]) for one in real]
    assert ["tiny:latest"] == [one["name"] for one in narrow if not one.get("virtual")]
    assert [("tiny:latest", "local", ["pi"])] == [(one["name"], one["provider"], one["devices"]) for one in plain]


async def test_limits_are_told_before_anything_is_sent(house: House) -> None:
    """As the settings and the bus have them; and a body that is told to be too large is."""
    told = (await house.call("anna", "GET", "/api/v1/limits")).json()
    large = "x" * (told["upload_bytes"] + 1)
    refused = await house.call("anna", "POST", "/api/v1/chat", json={"prompt": large})
    many = {"role": "user", "content": "?", "images": ["aGk="] * (told["images"]["per_message"] + 1)}
    images = await house.call("anna", "POST", "/api/v1/chat", json={"messages": [many]})

    assert (2_000_000, house.fleet.bus.max_payload) == (told["upload_bytes"], told["message_bytes"])
    assert [413, 400] == [refused.status_code, images.status_code]
    assert (24_000_000, 16, 32, 50) == (
        told["images"]["pixels"],
        told["images"]["per_message"],
        told["images"]["per_request"],
        told["documents"]["pages"],
    )
    assert {"auto", "auto:eco"} <= {one["name"] for one in told["models"]}
    assert ("energy:eco", ["interactive", "normal", "batch"]) == (
        next(one["example"] for one in told["strategies"] if one["name"] == "energy"),
        told["priorities"],
    )


async def test_devices_tell_what_their_heartbeats_say(house: House) -> None:
    """State, watts, temperature, slots, and what they have loaded."""
    found = {one["name"]: one for one in (await house.call("seer", "GET", "/api/v1/devices")).json()["devices"]}
    nano = found["nano"]

    assert ({"nano", "pi"}, "ready", 7.5, 51.0, 2) == (
        set(found),
        nano["state"],
        nano["watts"],
        nano["temperature_c"],
        nano["slots"],
    )
    assert [("llama3.2:1b", True)] == [(one["name"], one["loaded"]) for one in nano["models"]]
    assert 0 < found["pi"]["seen_unix_s"]


async def test_a_device_is_drained_as_operators_do_it(house: House, fleet: ScriptedFleet) -> None:
    """By the same subject; one that is not there is not found."""
    heard: list[Any] = []

    async def answer(delivery: Delivery) -> None:
        await fleet.bus.publish(delivery.reply, codec.encode({"state": "draining"}))

    loop = asyncio.get_running_loop()
    answers: list[asyncio.Task[None]] = []

    def hear(delivery: Delivery) -> None:
        heard.append(codec.decode(delivery.data))
        answers.append(loop.create_task(answer(delivery)))  # awaited below

    subscription = await fleet.bus.subscribe(SUBJECTS.device("nano", "drain"), hear)
    await fleet.bus.flush()
    drained = await house.call("admin", "POST", "/api/v1/devices/nano/drain")
    await house.call("admin", "POST", "/api/v1/devices/nano/resume")
    await asyncio.gather(*answers)
    await subscription.unsubscribe()
    nobody = await house.call("admin", "POST", "/api/v1/devices/nobody/drain")

    assert ({"name": "nano", "state": "draining"}, [{"on": True}, {"on": False}]) == (drained.json(), heard)
    assert (404, "unknown_device") == (nobody.status_code, nobody.json()["error"]["code"])


async def test_a_model_is_loaded_as_operators_do_it(house: House, fleet: ScriptedFleet) -> None:
    """By its device's own name for it; what the device says is told, and what can't be is refused before it is asked."""
    heard: list[Any] = []
    answers = iter(
        [
            {"model": "llama3.2:1b", "state": "loaded", "seconds": 1.5},
            {"error": errors.ModelNotLoadable("no room").to_wire()},
            {"model": "llama3.2:1b", "state": "maybe", "seconds": "soon"},
        ]
    )
    replies: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()

    def hear(delivery: Delivery) -> None:
        heard.append(codec.decode(delivery.data))
        said = fleet.bus.publish(delivery.reply, codec.encode(next(answers)))
        replies.append(loop.create_task(said))  # awaited below

    await fleet.beat("cloud", models=("gpt",), remote=True)
    subscription = await fleet.bus.subscribe(SUBJECTS.device("nano", "load"), hear)
    await fleet.bus.flush()
    path = "/api/v1/devices/{}/load"
    told = [
        await house.call("admin", "POST", path.format(name), json=body)
        for name, body in (
            ("nano", {"model": "llama3.2:1b", "keep_s": 60, "wait_s": 5}),
            ("nano", {"model": "llama3.2:1b"}),
            ("nano", {"model": "llama3.2:1b"}),
            ("nano", {"model": "nothing"}),
            ("nobody", {"model": "llama3.2:1b"}),
            ("cloud", {"model": "gpt"}),
            ("nano", {"model": "llama3.2:1b", "keep_s": -1}),
            ("nano", {"model": "llama3.2:1b", "wait_s": 601}),
            ("nano", {}),
        )
    ]
    await asyncio.gather(*replies)
    await subscription.unsubscribe()

    assert {"name": "nano", "model": "llama3.2:1b", "state": "loaded", "seconds": 1.5} == told[0].json()
    assert [{"model": "llama3.2:1b", "keep_s": 60, "wait_s": 5}, *[{"model": "llama3.2:1b", "wait_s": 60}] * 2] == heard
    assert [
        (502, "not_loadable"),
        (502, "garbled"),
        (404, "unknown_model"),
        (404, "unknown_device"),
        (400, "unsupported"),
        *[(400, "bad_request")] * 3,
    ] == [(one.status_code, one.json()["error"]["code"]) for one in told[1:]]


async def test_jobs_are_listed_and_looked_up_by_their_own_user(house: House, fleet: ScriptedFleet) -> None:
    """In pages; of others only who may see the fleet hears, and looks up those of its tenant."""
    anna, carol = Caller(tenant="acme", user="anna"), Caller(tenant="acme", user="carol")
    for number, caller in enumerate((anna, anna, anna, carol), 1):
        entry = record(number, tenant="acme", job=caller.job(f"j{number}"))
        await fleet.bus.publish(SUBJECTS.record(JOB, "acme"), payload(entry))

    async def written() -> bool:
        return len((await house.call("seer", "GET", "/api/v1/jobs")).json()["jobs"]) >= 4

    await until(written)
    first = (await house.call("anna", "GET", "/api/v1/jobs", params={"limit": 2})).json()
    rest = (await house.call("anna", "GET", "/api/v1/jobs", params={"limit": 2, "before": first["next"]})).json()
    job = first["jobs"][0]["job"]
    seen = [
        await house.call("anna", "GET", f"/api/v1/jobs/{job}"),
        await house.call("seer", "GET", f"/api/v1/jobs/{job}"),
        await house.call("ben", "GET", f"/api/v1/jobs/{job}"),
        await house.call("carol", "GET", f"/api/v1/jobs/{job}"),
        await house.call("ben", "GET", "/api/v1/jobs", params={"tenant": "acme"}),
    ]
    carols = (await house.call("carol", "GET", "/api/v1/jobs")).json()["jobs"]
    bens = (await house.call("ben", "GET", "/api/v1/jobs")).json()["jobs"]
    seers = (await house.call("seer", "GET", "/api/v1/jobs", params={"tenant": "acme"})).json()["jobs"]
    used = (await house.call("anna", "GET", "/api/v1/usage")).json()
    sums = (await house.call("seer", "GET", "/api/v1/energy", params={"by": "tenant"})).json()["rows"]

    assert (2, 1) == (len(first["jobs"]), len(rest["jobs"]))
    assert [200, 200, 404, 404, 403] == [one.status_code for one in seen]
    assert (job, [], 4) == (seen[0].json()["record"]["job"], bens, len(seers))
    assert [carol.job("j4")] == [one["job"] for one in carols]
    assert (4, "acme", ["acme"]) == (used["used"]["jobs"], used["tenant"], [one["key"] for one in sums])
    assert ("anna", "acme", None) == (used["key"], used["used"]["tenant"], used["used"].get("key"))


async def test_what_runs_is_told_to_its_own_user(house: House, fleet: ScriptedFleet) -> None:
    """And all of it to who may see the fleet; a tenant is its own, a limit leaves the newest out, and what can't be is refused."""
    own = [Caller(tenant="acme", user=user).job(f"j-{user}") for user in ("anna", "carol")]
    fleet.house = [
        RunningJob(
            id=job,
            tenant=tenant,
            kind="chat",
            state="queued",
            phase=Phase.QUEUE,
            asked_model="auto",
            queued_unix_s=number,
        )
        for number, (job, tenant) in enumerate([(own[1], "acme"), (own[0], "acme"), ("j-ben", "other")])
    ]

    async def told(who: str, query: str = "") -> tuple[list[str], bool]:
        body = (await house.call(who, "GET", f"/api/v1/running{query}")).json()
        return [job["id"] for job in body["jobs"]], body["more"]

    assert ([own[0]], False) == await told("anna")
    assert ([own[1], own[0], "j-ben"], False) == await told("seer")
    assert (["j-ben"], False) == await told("seer", "?tenant=other")
    assert ([own[1]], True) == await told("seer", "?limit=1")
    counts = (await house.call("anna", "GET", "/api/v1/running")).json()
    assert (3, 0, []) == (counts["waiting"], counts["running"], counts["silent"])
    refused = [await house.call("anna", "GET", f"/api/v1/running?{query}") for query in ("tenant=other", "limit=501")]
    assert [("not_allowed", "tenant"), ("bad_request", "limit")] == [
        (one.json()["error"]["code"], one.json()["error"]["param"]) for one in refused
    ]


async def test_a_key_is_told_only_of_what_it_may_use(house: House, fleet: ScriptedFleet) -> None:
    """Its patterns go with the question, and of the answer, of a job's past too, what they leave out is left out."""
    closed = {"device": "nano", "model": "llama3.2:1b", "score": 0.9, "filter": "allowed", "reason": "no"}
    open_to_it = {"device": "pi", "model": "tiny:latest", "score": 0.5}
    told = codec.encode({"options": [closed, open_to_it], "removed": [closed], "chosen": closed, "power": {"nano": 1}})
    asked: list[Delivery] = []
    loop = asyncio.get_running_loop()
    answers: list[asyncio.Task[None]] = []

    def hear(delivery: Delivery) -> None:
        asked.append(delivery)
        answers.append(loop.create_task(fleet.bus.publish(delivery.reply, told)))  # awaited below

    mine = Caller(tenant="acme", user="strait").job("j-why")
    ears = [
        await fleet.bus.subscribe(subject, hear)
        for subject in (SUBJECTS.work("route", "acme"), SUBJECTS.control(mine, "why", "acme"))
    ]
    await fleet.bus.flush()
    explained = await house.call("strait", "POST", "/api/v1/route/explain", content=EXPLAINED, headers=JSON)
    why = await house.call("strait", "GET", "/api/v1/route/j-why")
    whole = await house.call("admin", "GET", f"/api/v1/route/{mine}")
    await asyncio.gather(*answers)
    for one in ears:
        await one.unsubscribe()

    assert [[open_to_it]] * 2 == [one.json()["options"] for one in (explained, why)]
    assert [([], None, False)] * 2 == [
        (one["removed"], one["chosen"], "power" in one) for one in (explained.json(), why.json())
    ]
    assert codec.decode(told) == whole.json()
    assert ["tiny*"] == codec.decode_request(asked[0].data)["allow_models"]


async def test_a_job_that_no_device_had_chose_none(house: House, fleet: ScriptedFleet) -> None:
    """As the ledger has kept it; of one that a device had, which and why."""
    option = ["nano", "llama3.2:1b", True, True, 0.9, 1.0, 1.0, 0.75, 0.0, 0.0, 0.5, 1.0, 3.0, None]
    weights = {"tokens": 0.4, "topic": 0.2, "health": 0.4}
    brief = {"strategy": "hybrid", "weights": weights, "features": {}, "options": [option]}
    none = {"device": None, "model": None, "reason": None, "state": "cancelled"}
    for number, had in ((60, none), (61, {})):
        entry = record(number, tenant="acme", job=f"j-{number}", decision=brief, **had)
        await fleet.bus.publish(SUBJECTS.record(JOB, "acme"), payload(entry))

    async def written() -> bool:
        told = [await house.call("admin", "GET", f"/api/v1/jobs/j-{number}") for number in (60, 61)]
        return all(one.status_code == 200 for one in told)

    await until(written)
    told = [(await house.call("admin", "GET", f"/api/v1/route/j-{number}")).json() for number in (60, 61)]

    assert [None, {"device": "orin", "model": "llama3.2:1b", "reason": "hybrid: it was quickest"}] == [
        one["chosen"] for one in told
    ]
    assert [["nano"], ["nano"]] == [[option["device"] for option in one["options"]] for one in told]


async def test_a_live_job_is_cancelled_by_its_id(house: House, fleet: ScriptedFleet) -> None:
    """And who is of another tenant cancels nothing: the order names whose it is."""
    begun = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        begun.set()
        await job.stay(job.cancelled, "decode")
        await job.fail(errors.JobCancelled("cancelled"))

    fleet.script = script
    async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as tasks:
        body = {"prompt": "hi", "job": "j-live"}
        running = tasks.create_task(house.call("anna", "POST", "/api/v1/chat", json=body))
        await begun.wait()
        done = await house.call("anna", "DELETE", "/api/v1/jobs/j-live")

    assert {"id": Caller(tenant="acme", user="anna").job("j-live"), "cancelled": True} == done.json()
    assert (499, "cancelled") == (running.result().status_code, running.result().json()["error"]["code"])


async def test_a_durable_job_waits_for_its_user(house: House) -> None:
    """It is found under both names of the path and of the job, and by nobody else, in the words for one that never was; what has no
    place in it is refused."""
    submitted = await house.call("anna", "POST", "/api/v1/jobs", json={"prompt": "hi", "job": "j-durable"})
    where = submitted.headers["location"]
    seen = [
        await house.call("anna", "GET", "/api/v1/jobs/j-durable"),
        await house.call("anna", "GET", "/v1/jobs/j-durable"),
        await house.call("anna", "GET", where),
        await house.call("seer", "GET", where),
        await house.call("anna", "POST", "/api/v1/jobs", json={"prompt": "hi", "provider_key": "sk-1"}),
    ]
    lost = [
        await house.call(who, verb, f"{path}{more}")
        for who in ("ben", "carol")
        for path in ("/api/v1/jobs/j-durable", where)
        for verb, more in (("GET", ""), ("GET", "/events"), ("DELETE", ""))
    ]
    lost.append(await house.call("seer", "DELETE", where))
    words = [
        re.sub("'.*?'", "ID", (await house.call("carol", "GET", f"/api/v1/jobs/{name}")).json()["error"]["message"])
        for name in (where.rpartition("/")[2], "never-was")
    ]

    assert (202, "/api/v1/jobs/j-durable-") == (submitted.status_code, where[: -len("0123456789abcdef")])
    assert [200, 200, 200, 200, 400] == [one.status_code for one in seen]
    assert [404] * 13 == [one.status_code for one in lost]
    assert words[0] == words[1]
    assert "queued" == seen[0].json()["state"]


async def test_who_may_see_others_jobs_finds_its_own_by_the_name_it_chose(house: House, fleet: ScriptedFleet) -> None:
    """In the queue, and live: the name means its own job first."""
    begun = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        begun.set()
        await job.stay(job.cancelled, "decode")
        await job.fail(errors.JobCancelled("cancelled"))

    submitted = (await house.call("seer", "POST", "/api/v1/jobs", json={"prompt": "hi", "job": "j-mine"})).json()
    seen = (await house.call("seer", "GET", "/api/v1/jobs/j-mine")).json()
    fleet.script = script
    async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(house.call("admin", "POST", "/api/v1/chat", json={"prompt": "hi", "job": "j-mine"}))
        await begun.wait()
        done = await house.call("admin", "DELETE", "/api/v1/jobs/j-mine")

    assert (submitted["id"], "queued") == (seen["id"], seen["state"])
    assert (True, True) == (done.json()["cancelled"], done.json()["id"] != "j-mine")
    assert 499 == running.result().status_code


async def test_a_key_follows_so_many_jobs_at_once(house: House) -> None:
    """One too many is told so as an error of its own, before its stream begins, until another one ends; of another key it is
    none."""
    submitted = await house.call("anna", "POST", "/api/v1/jobs", json={"prompt": "hi", "job": "j-followed"})
    events = f"{submitted.headers['location']}/events"
    anna, seer = house.clients["anna"], house.clients["seer"]
    async with AsyncExitStack() as open_ones, asyncio.timeout(HANG_S):
        for _ in range(MOST_FOLLOWED):
            stream = anna.stream("GET", events)
            assert 200 == (await open_ones.enter_async_context(stream)).status_code
        refused = await anna.get(events)
        async with seer.stream("GET", events) as another:
            others = another.status_code

    async def let_in() -> bool:
        async with anna.stream("GET", events) as again:
            return again.status_code == 200

    await until(let_in)
    assert (429, "rate_limit", "1", 200) == (
        refused.status_code,
        refused.json()["error"]["code"],
        refused.headers["retry-after"],
        others,
    )


async def test_two_users_of_one_name_for_a_job_have_two(house: House) -> None:
    """What one of them has asked neither stands in the way of the other, nor is it given to that one."""
    told = [
        await house.call(who, "POST", "/api/v1/jobs", json={"prompt": f"hi from {who}", "job": "nightly"})
        for who in ("anna", "carol", "anna")
    ]

    assert [(202, False), (202, False), (202, True)] == [(one.status_code, one.json()["known"]) for one in told]
    assert told[0].json()["id"] == told[2].json()["id"] != told[1].json()["id"]


async def test_an_administrator_owns_the_whole_fleet(house: House) -> None:
    """Whatever its own tenant is, it sees the keys of all of them, makes one for any of them, and ends it: so that scope is for
    nobody else."""
    made = await house.call(
        "admin", "POST", "/api/v1/keys", json={"name": "theirs", "tenant": "third", "user": "eve", "scopes": ["admin"]}
    )
    listed = (await house.call("admin", "GET", "/api/v1/keys")).json()["keys"]
    key = made.json()["key"]["key"]
    filled = await house.call("admin", "POST", f"/api/v1/keys/{key}/refill")
    ended = await house.call("admin", "DELETE", f"/api/v1/keys/{key}")

    assert {"acme", "other", "third"} <= {one["tenant"] for one in listed}
    assert (("third", "eve"), [201, 200, 200]) == (
        (made.json()["key"]["tenant"], made.json()["key"]["user"]),
        [one.status_code for one in (made, filled, ended)],
    )


async def test_an_administrator_makes_and_ends_keys(house: House) -> None:
    """The secret is shown once, and with the key that it was it is over at once."""
    made = await house.call(
        "admin", "POST", "/api/v1/keys", json={"name": "carl", "tenant": "acme", "scopes": ["chat"]}
    )
    told = made.json()
    key, secret = told["key"]["key"], {"authorization": f"Bearer {told['secret']}"}
    listed = await house.call("admin", "GET", "/api/v1/keys", params={"which": key})
    works = await house.call("anna", "GET", "/api/v1/models", headers=secret)
    changed = await house.call("admin", "PATCH", f"/api/v1/keys/{key}", json={"requests_per_minute": 7})
    turned = await house.call("admin", "POST", f"/api/v1/keys/{key}/rotate", json={})
    fresh = {"authorization": f"Bearer {turned.json()['secret']}"}
    filled = await house.call("admin", "POST", f"/api/v1/keys/{key}/refill")
    ended = await house.call("admin", "DELETE", f"/api/v1/keys/{key}")

    async def over() -> bool:
        return (await house.call("anna", "GET", "/api/v1/models", headers=fresh)).status_code == 401

    await until(over)
    assert (201, "no-store", 200) == (made.status_code, made.headers["cache-control"], works.status_code)
    assert (True, 7, 200, True) == (
        told["secret"] not in listed.text,
        changed.json()["requests_per_minute"],
        filled.status_code,
        ended.json()["revoked"],
    )


async def test_a_prompt_is_routed(house: House, fleet: ScriptedFleet) -> None:
    """The answer, the model that gave it, and nothing of a file; the key by body or header, and never two."""
    answer = await house.call(
        "anna", "POST", "/route", json={"prompt": "hi", "temperature": 0.5, "openai_api_key": "sk-2"}
    )
    by_header = await house.call("anna", "POST", "/route", json={"prompt": "hi"}, headers={"X-OpenAI-API-Key": "sk-3"})
    two = await house.call(
        "anna", "POST", "/route", json={"prompt": "hi", "api_key": "sk-2"}, headers={"X-OpenAI-API-Key": "sk-3"}
    )
    first, second = await fleet.jobs.get(), await fleet.jobs.get()
    told = answer.json()

    assert ("Hello there!", "llama3.2:1b", None, None) == tuple(
        told[one] for one in ("response", "selected_model", "file_processed", "file_processing_error")
    )
    assert (0.5, "sk-2", "sk-3") == (
        first.request["options"]["temperature"],
        first.request["provider_key"],
        second.request["provider_key"],
    )
    assert (200, 400, False) == (by_header.status_code, two.status_code, "sk-" in two.text)


async def test_what_a_routed_prompt_is_answered_with_is_described(house: House, fleet: ScriptedFleet) -> None:
    """Of both routes, with each field that an answer has."""
    described = (await house.call("anna", "GET", "/openapi.json")).json()
    answer = (await house.call("anna", "POST", "/route", json={"prompt": "hi"})).json()
    forms = [
        described["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        for path in ("/route", "/route/with-file")
    ]
    form = described["components"]["schemas"]["RouteAnswer"]

    assert [{"$ref": "#/components/schemas/RouteAnswer"}] * 2 == forms
    assert set(answer) == set(form["properties"]) == set(form["required"])
    assert answer["x_drover"]["job"] == (await fleet.jobs.get()).id


def png() -> bytes:
    """A small image."""
    out = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(out, "PNG")
    return out.getvalue()


async def test_a_prompt_comes_with_a_file(house: House, fleet: ScriptedFleet) -> None:
    """An image goes to the model; what is none is left out, and that is said."""
    fields = {"prompt": "What is this?", "temperature": "0.1"}
    good = await house.call("anna", "POST", "/route/with-file", data=fields, files={"file": ("red.png", png())})
    bad = await house.call("anna", "POST", "/route/with-file", data=fields, files={"file": ("x.png", b"no image")})
    none = await house.call("anna", "POST", "/route/with-file", data=fields, files={"file": ("x.png", b"")})
    first, second = await fleet.jobs.get(), await fleet.jobs.get()

    assert (True, None, 1) == (
        good.json()["file_processed"],
        good.json()["file_processing_error"],
        len(first.request["messages"][0]["images"]),
    )
    assert (False, True, "What is this?") == (
        bad.json()["file_processed"],
        bool(bad.json()["file_processing_error"]),
        second.request["messages"][0]["content"],
    )
    assert (None, 0.1) == (none.json()["file_processed"], first.request["options"]["temperature"])


async def test_forms_have_bounds_of_their_own(house: House) -> None:
    """A file may be larger than a body of JSON; what is too large, too many, or no form is refused, and nothing breaks."""
    fields, path = {"prompt": "What is this?"}, "/route/with-file"
    fits = await house.call("anna", "POST", path, data=fields, files={"file": ("x.png", bytes(1_500_000))})
    large = await house.call("anna", "POST", path, data=fields, files={"file": ("x.png", bytes(2_500_000))})
    body = await house.call("anna", "POST", "/api/v1/conversations", json={"title": "x" * 1_500_000})
    two = await house.call("anna", "POST", path, data=fields, files=[("file", ("a", b"a")), ("file", ("b", b"b"))])
    many = await house.call(
        "anna", "POST", path, data={f"f{number}": "x" for number in range(99)}, files={"file": b"x"}
    )
    plain = await house.call("anna", "POST", path, json=fields)
    empty = await house.call("anna", "POST", path, data={}, files={"file": ("a", png())})

    assert [200, 413, 413] == [one.status_code for one in (fits, large, body)]
    assert [400, 400, 415, 400] == [one.status_code for one in (two, many, plain, empty)]


async def test_the_root_says_what_this_is_to_who_reads_json(house: House) -> None:
    """People get the page, Ollama's clients its line, and others a list of doors."""
    card = await house.call("anna", "GET", "/", headers={"accept": "application/json"})
    page = await house.call("anna", "GET", "/", headers={"accept": "text/html,*/*"})
    line = await house.call("anna", "GET", "/", headers={"accept": "application/json, text/plain, */*"})

    assert ("drover", True) == (card.json()["name"], "/route" in card.json()["endpoints"])
    assert (True, "Ollama is running") == (page.headers["content-type"].startswith("text/html"), line.text)


async def test_all_of_it_is_described(house: House) -> None:
    """Each operation has a group, and says what it answers; the older name of jobs is not among them."""
    paths = (await house.call("anna", "GET", "/openapi.json")).json()["paths"]
    native = {path: verbs for path, verbs in paths.items() if path.startswith(("/api/v1/", "/route", "/models"))}
    del native["/api/v1/session"]
    bare = [
        (path, verb)
        for path, verbs in native.items()
        for verb, said in verbs.items()
        if not said.get("tags") or not any(status.startswith("4") for status in said["responses"])
    ]

    assert (True, False, []) == (len(native) >= 25, "/v1/jobs" in paths, bare)


async def test_a_durable_job_is_set_aside_once_and_only_if_it_lies_in_the_queue(
    house: House, fleet: ScriptedFleet
) -> None:
    """What is refused gives back its own, and so does a retry of one that is over; a retry before that finds what is there."""
    limit = Limit(unit=Unit.TOKENS, limit=10**6)
    key = await key_client.add(fleet.bus, SUBJECTS, AddKey(name="budgeted", tenant="acme", budgets=(limit,)))

    async def submit(job: str, **headers: str) -> httpx.Response:
        mine = {"authorization": f"Bearer {key.secret}", **headers}
        return await house.call("anna", "POST", "/api/v1/jobs", json={"prompt": "hi", "job": job}, headers=mine)

    async def reserved() -> int:
        listed = await key_client.listed(fleet.bus, SUBJECTS, ListKeys(which=key.grant.key))
        return listed.keys[0].budgets[0].reserved

    async def settled() -> bool:
        return await reserved() == 0

    refused = await submit("j-refused", **{"X-Drover-Provider-Key": "sk-1"})
    held = [await reserved()]
    first = await submit("j-over")
    held.append(await reserved())
    await fleet.bus.publish(SUBJECTS.record(JOB, "acme"), payload(record(50, tenant="acme", job=first.json()["id"])))
    await until(settled)
    over = await submit("j-over")
    held.append(await reserved())
    twice = [await submit("j-twice") for _ in range(2)]
    held.append(await reserved())

    assert (400, 202, [False, True, False, True]) == (
        refused.status_code,
        first.status_code,
        [one.json()["known"] for one in (first, over, *twice)],
    )
    assert (0, 0, held[1]) == (held[0], held[2], held[3])
    assert held[1] > 0
