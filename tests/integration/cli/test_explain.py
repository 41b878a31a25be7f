"""Why, at the command line and over HTTP: a real dispatcher and bridge, a scripted device, and what is said at a wrong start."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from common import codec
from common.bus.nats import NatsOptions, connect_nats
from common.messages import ModelInfo
from dispatcher.app import dispatcher
from dispatcher.settings import RoutingSection
from tests.bridge_process import bridge_process
from tests.commands import drover
from tests.integration.dispatcher.house import House, settings
from tests.integration.dispatcher.scripted import answer
from tests.nats_server import NatsServer, nats_server

HANG_S = 30.0
ASKED = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
LONG_NAME = ModelInfo(name="qwen2.5-coder:7b-instruct-q4_K_M", size_bytes=10**9, loaded=True)


@dataclass(frozen=True, slots=True)
class Place:
    """A server, a dispatcher, and a device on it."""

    url: str
    house: House


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with (
        nats_server() as server,
        connect_nats(NatsOptions(urls=(server.url,), name="dispatcher")) as bus,
        connect_nats(NatsOptions(urls=(server.url,), name="world")) as world,
        asyncio.TaskGroup() as tasks,
    ):
        async with dispatcher(settings(routing=RoutingSection()), bus) as pipeline:
            house = House(pipeline, bus, world, tasks)
            await house.listen()
            await house.device("jetson-orin-nano-1", answer("hi"), models=(LONG_NAME,))
            await house.device("pi3", answer("hi"), temperature_c=89.0, topics=("chat",))
            yield Place(server.url, house)
        for device in house.devices:
            await device.die()


@pytest.mark.parametrize("columns", ["80", "120"])
async def test_the_table_fits_the_terminal(place: Place, tmp_path: Path, columns: str) -> None:
    """Every device, model and figure is there, whole; nothing is run."""
    end = await drover("explain", "hi", cwd=tmp_path, NATS_URL=place.url, COLUMNS=columns)

    assert (0, "") == (end.status, end.err)
    assert all(word in end.out for word in ("jetson-orin-nano-1", LONG_NAME.name, "pi3", "by strategy"))
    assert "…" not in end.out
    assert [] == place.house.job_events


async def test_json_is_what_the_door_tells(place: Place, tmp_path: Path) -> None:
    """`--json` gives the record as programs read it; the strategy that is asked for is the one that is told."""
    end = await drover("explain", "--json", "--strategy", "energy:eco", "hi", cwd=tmp_path, NATS_URL=place.url)
    told = json.loads(end.out)

    assert (0, "energy:eco", {"jetson-orin-nano-1", "pi3"}) == (
        end.status,
        told["strategy"],
        {one["device"] for one in told["options"]},
    )


async def test_a_job_is_explained_afterwards(place: Place, tmp_path: Path) -> None:
    """`--job` shows why it went where it went; for an unknown one the command fails and says so."""
    stream = await place.house.ask(job="job-7", strategy="perf")
    await stream.reply()
    known = await drover("explain", "--job", "job-7", cwd=tmp_path, NATS_URL=place.url)
    strange = await drover("explain", "--job", "job-8", cwd=tmp_path, NATS_URL=place.url)

    assert (0, "perf: jetson-orin-nano-1") == (known.status, known.out[:24])
    assert (1, True) == (strange.status, "job-8" in strange.err)


async def test_a_tenant_may_be_named(place: Place, tmp_path: Path) -> None:
    """`--tenant` explains as that tenant's rules have it, and finds that tenant's jobs."""
    stream = await place.house.send(codec.encode({"prompt": "hi", "job": "job-11"}), framed=False, tenant="acme")
    await stream.reply()
    own = await drover("explain", "--job", "job-11", "--tenant", "acme", cwd=tmp_path, NATS_URL=place.url)
    foreign = await drover("explain", "--job", "job-11", cwd=tmp_path, NATS_URL=place.url)
    asked = await drover("explain", "hi", "--tenant", "acme", cwd=tmp_path, NATS_URL=place.url)
    wrong = await drover("explain", "hi", "--tenant", "a.b", cwd=tmp_path, NATS_URL=place.url)

    assert (0, 1, 0, 1) == (own.status, foreign.status, asked.status, wrong.status), wrong.err
    assert "tenant" in wrong.err


async def test_an_answer_is_rated(place: Place, tmp_path: Path) -> None:
    """`drover feedback` takes a thumb or a score, and another one in its place; what is nobody's or makes no sense is said."""
    for job in ("job-12", "job-13"):
        await (await place.house.ask(job=job)).reply()
        await place.house.event(job)
    ends = [
        await drover("feedback", *words, cwd=tmp_path, NATS_URL=place.url)
        for words in (
            ("job-12", "down", "--reason", "too slow"),
            ("job-13", "0.25"),
            ("job-12", "up"),
            ("job-14", "up"),
            ("job-12", "meh"),
        )
    ]

    assert [0, 0, 0, 1, 1] == [end.status for end in ends], [end.err for end in ends]
    assert ["job-12 rated down\n", "job-13 rated 0.25\n", "job-12 rated up\n"] == [end.out for end in ends[:3]]
    assert all(word in end.err for word, end in zip(("job-14", "up, down, or a score"), ends[3:], strict=True))
    assert all("the ledger does not keep it: none answers" in end.err for end in ends[:3])


async def test_nobody_is_a_failure(place: Place, tmp_path: Path) -> None:
    """A question that nobody could answer is explained all the same, and the status says that nobody can."""
    end = await drover("explain", "--model", "nope:1b", "hi", cwd=tmp_path, NATS_URL=place.url)

    assert (1, True, True) == (end.status, "nobody: no device has the model 'nope:1b'" in end.out, "pi3" in end.out)


async def test_a_wrong_strategy_is_an_error(place: Place, tmp_path: Path) -> None:
    """The error names those there are."""
    end = await drover("explain", "--strategy", "best", "hi", cwd=tmp_path, NATS_URL=place.url)

    assert (1, "", True) == (end.status, end.out, "there is no strategy 'best': use one of" in end.err)


async def test_http_tells_the_same(place: Place) -> None:
    """POST /v1/route/explain, GET /v1/route/{job} and the header X-Drover-Strategy; errors have their usual shape."""
    async with (
        bridge_process(place.url) as bridge,
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http,
    ):
        for device in place.house.devices:
            await place.house.beat(device)
        told = await http.post("/v1/route/explain", json=ASKED, headers={"X-Drover-Strategy": "perf"})
        done = await http.post(
            "/v1/chat/completions", json=ASKED, headers={"X-Drover-Strategy": "energy:eco", "X-Drover-Job": "job-9"}
        )
        why = await http.get("/v1/route/job-9")
        wrong = await http.post("/v1/route/explain", json=ASKED, headers={"X-Drover-Strategy": "best"})
        long = await http.post("/v1/route/explain", json=ASKED, headers={"X-Drover-Strategy": "x" * 65})
        dear = await http.post("/v1/route/explain", json=ASKED, headers={"X-Drover-Max-Cost-USD": "much"})
        keyed = await http.post("/v1/route/explain", json=ASKED, headers={"X-Drover-Provider-Key": "sk-two words"})
        strange = await http.get("/v1/route/job-10")
        garbled = await http.post("/v1/route/explain", content=b"{", headers={"content-type": "application/json"})
        place.house.sent += 1

    assert ("perf", "jetson-orin-nano-1") == (told.json()["strategy"], told.json()["chosen"]["device"])
    assert (200, "energy:eco", "job-9") == (done.status_code, why.json()["strategy"], why.json()["job"])
    assert [400, 400, 400, 400, 404, 400] == [one.status_code for one in (wrong, long, dear, keyed, strange, garbled)]
    assert "sk-two" not in keyed.text
    assert all("message" in one.json()["error"] for one in (wrong, long, strange, garbled))


# -- a wrong start ------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[NatsServer]:
    async with nats_server() as running:
        yield running


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"DROVER_STRATEGY": "best"}, "DROVER_STRATEGY='best': there is no strategy 'best'"),
        ({"DROVER_STRATEGY": "energy:warm"}, "there is no energy mode 'warm'"),
        ({"DROVER_ROUTING_FILE": "nowhere.toml"}, "nowhere.toml can't be read"),
        ({"DROVER_EMBEDDER_PATH": "nowhere.bin"}, "nowhere.bin"),
        ({"DROVER_EMBEDDER": "huge"}, "DROVER_EMBEDDER"),
    ],
)
async def test_a_wrong_start_says_so(
    server: NatsServer, tmp_path: Path, environment: dict[str, str], words: str
) -> None:
    """A dispatcher whose strategy, routing file or embedder is wrong ends at once, with one line that names it."""
    end = await drover("dispatcher", cwd=tmp_path, NATS_URL=server.url, **environment)

    assert (True, True, False) == (end.status != 0, words in end.err, "Traceback" in end.err), end.err
