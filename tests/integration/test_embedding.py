"""Texts embedded from end to end: client library, NATS, dispatcher, agents, and devices that answer as Ollama does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import ollama
import pytest
import pytest_asyncio

from common import codec, vectors
from common.bus import Bus, Delivery
from common.bus.nats import NatsOptions, connect_nats
from common.client import Drover
from common.embedding import Embeddings
from common.errors import (
    BadRequest,
    ContextTooLong,
    DeadlineExceeded,
    FleetError,
    JobCancelled,
    UnknownModel,
    UnsupportedByModel,
)
from common.ledger import JobsQuery
from common.records import JOB
from common.subjects import Subjects
from dispatcher.app import dispatcher
from dispatcher.ledger import queries, schema
from dispatcher.ledger.database import Place, opened
from dispatcher.ledger.store import Store
from dispatcher.pipeline import Pipeline
from tests.agent_process import AgentProcess, agent_process
from tests.integration.dispatcher.house import settings
from tests.integration.dispatcher.scripted import until
from tests.integration.ledger.builders import came_raw
from tests.nats_server import nats_server
from tests.simulated import SimulatedDevice, simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL, TALKER = "nomic-embed-text", "llama3.2:3b"
DEVICES = ("orin", "pi5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All that stands. `told` is what the ledger would hear of jobs."""

    drover: Drover
    bus: Bus
    pipeline: Pipeline
    sims: dict[str, SimulatedDevice]
    agents: dict[str, AgentProcess]
    told: list[Delivery]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet() -> AsyncIterator[Fleet]:
    """Two devices, each with an embedding model that the other has too."""
    async with AsyncExitStack() as held:
        nats = await held.enter_async_context(nats_server(jetstream=True))
        sims = {name: await held.enter_async_context(simulator(name)) for name in DEVICES}
        bus = await held.enter_async_context(connect_nats(NatsOptions(urls=(nats.url,), name="world")))
        told: list[Delivery] = []
        await bus.subscribe(Subjects().record(JOB, "*"), told.append)
        own = await held.enter_async_context(connect_nats(NatsOptions(urls=(nats.url,), name="dispatcher")))
        pipeline = await held.enter_async_context(dispatcher(settings(ledger=True), own))
        agents = {
            name: await held.enter_async_context(
                agent_process(nats.url, name, OLLAMA_HOST=sim.url, DROVER_SENSORS_URL=f"{sim.url}/sim/sensors")
            )
            for name, sim in sims.items()
        }
        drover = await held.enter_async_context(Drover.over(bus))
        known = pipeline.roster.fleet
        await until(lambda: all(name in known.devices and known.devices[name].models for name in DEVICES), "the fleet")
        yield Fleet(drover=drover, bus=bus, pipeline=pipeline, sims=sims, agents=agents, told=told)


async def direct(sim: SimulatedDevice, texts: list[str]) -> list[list[float]]:
    """Ask a device itself, with the package that people use."""
    async with ollama.AsyncClient(host=sim.url, timeout=30) as client:
        return [list(one) for one in (await client.embed(MODEL, texts)).embeddings]


async def test_many_texts_come_back_in_order_and_exact(fleet: Fleet) -> None:
    """40 texts are three jobs, perhaps on two devices; each number is the one that the device itself gives."""
    texts = [f"text number {number}" for number in range(40)]
    whole = await fleet.drover.embed(texts, model=MODEL)
    alone = await direct(fleet.sims["orin"], texts)

    assert alone == whole.vectors
    assert (3, f"{MODEL}:latest") == (len(whole.routes), whole.model)


async def test_tokens_and_joules_are_told(fleet: Fleet) -> None:
    """Those of reading alone: nothing is written. The device's own times are in the account."""
    whole = await fleet.drover.embed("the quick brown fox " * 50, model=MODEL, device="orin")
    route = whole.routes[0]

    assert whole.usage.prompt_tokens >= 200
    assert (0, 0) == (whole.usage.completion_tokens, route["timings"].get("decode_tps", 0))
    assert whole.energy is not None
    assert whole.energy.source != "prediction"
    assert route["timings"]["prefill_s"] > 0


async def test_an_embedding_can_be_shorter(fleet: Fleet) -> None:
    """The device shortens it, as it would for whoever asks it directly."""
    whole = await fleet.drover.embed("hi", model=MODEL, dimensions=64)

    assert [64] == [len(one) for one in whole.vectors]


async def test_a_long_text_is_cut_or_refused_as_asked(fleet: Fleet) -> None:
    """all-minilm reads 256 tokens: what is longer is cut, or too long."""
    text = "word " * 400
    cut = await fleet.drover.embed(text, model="all-minilm")
    with pytest.raises(ContextTooLong, match="let it be cut"):
        await fleet.drover.embed(text, model="all-minilm", truncate=False)

    assert 256 == cut.usage.prompt_tokens


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (TALKER, UnsupportedByModel, f"{TALKER} makes no embeddings: there is all-minilm:latest, {MODEL}:latest"),
        ("none:1b", UnknownModel, "none:1b"),
        ("auto", BadRequest, "name the model"),
    ],
)
async def test_a_model_that_will_not_do_is_refused(
    fleet: Fleet, model: str, error: type[Exception], words: str
) -> None:
    """In words that tell what would."""
    with pytest.raises(error, match=words):
        await fleet.drover.embed("hi", model=model)


async def test_when_one_job_fails_the_whole_fails(fleet: Fleet) -> None:
    """40 texts of which one is too long: its error is raised, and nothing of the others is given."""
    texts = ["hi"] * 39 + ["word " * 400]
    with pytest.raises(ContextTooLong):
        await fleet.drover.embed(texts, model="all-minilm", truncate=False)
    await until(lambda: not fleet.pipeline.running, "nothing is left running")


async def test_an_operator_needs_no_library(fleet: Fleet) -> None:
    """`nats req llm.v1.embed.default` with JSON is answered with JSON, in numbers that are exact."""
    body = codec.encode({"model": MODEL, "inputs": ["hi"]})
    reply = codec.decode((await fleet.bus.request("llm.v1.embed.default", body, timeout_s=30.0)).data)
    alone = (await fleet.drover.embed("hi", model=MODEL)).packed

    assert [768] == [len(one) for one in reply["embeddings"]]
    assert alone == tuple(vectors.pack(one) for one in reply["embeddings"])
    assert 1 <= reply["usage"]["prompt_tokens"] == reply["usage"]["total_tokens"]


async def test_the_ledger_has_a_row_of_its_kind(fleet: Fleet, tmp_path: Path) -> None:
    """As of every job: whose it was, who did it, what it read."""
    whole = await fleet.drover.embed("hi", model=MODEL, job="of-its-kind")

    def record() -> list[Delivery]:  # those of jobs before it come when they like
        return [one for one in fleet.told if b'"of-its-kind"' in one.data]

    await until(lambda: bool(record()), "the record")
    async with opened(Place(file=tmp_path / "ledger.db")) as database:
        await schema.upgrade(database)
        await Store(database).write([came_raw(one.subject, one.data, seq) for seq, one in enumerate(record(), 1)])
        [row] = await queries.find_jobs(database, JobsQuery())

    assert ("embed", "done", f"{MODEL}:latest", whole.usage.prompt_tokens) == (
        row.kind, row.state, row.model, row.usage.prompt_tokens,
    )  # fmt: skip


async def test_who_goes_takes_the_job_along(fleet: Fleet) -> None:
    """A cancel is heard by its sender at once; the device's slot is free when its engine has let go."""
    orin = fleet.sims["orin"]
    await orin.fault("hang", times=1)
    async with asyncio.TaskGroup() as tasks:
        job = tasks.create_task(ended(fleet.drover.embed("hi", model=MODEL, device="orin", job="mine")))
        await orin.until({"in_flight": 1})
        assert await fleet.drover.cancel("mine", timeout_s=30.0)
    await orin.call("DELETE", "/sim/faults")
    await orin.until({"in_flight": 0})

    assert isinstance(job.result(), JobCancelled)


async def test_no_text_takes_longer_than_was_allowed(fleet: Fleet) -> None:
    """The time is that of all jobs together."""
    orin = fleet.sims["orin"]
    await orin.fault("hang", times=1)
    with pytest.raises(DeadlineExceeded):
        await fleet.drover.embed(["hi"] * 17, model=MODEL, device="orin", timeout_s=1.0)
    await orin.call("DELETE", "/sim/faults")
    await orin.until({"in_flight": 0})


async def ended(embedding: Awaitable[Embeddings]) -> BaseException | None:
    """Wait, and give what was raised."""
    try:
        await embedding
    except FleetError as error:
        return error
    return None


async def test_another_device_embeds_when_one_is_killed(fleet: Fleet) -> None:
    """The agent that has the job dies under it: the other one answers, and nothing is missing. It is the last test here."""
    for sim in fleet.sims.values():
        await sim.fault("hang", times=1)
    async with asyncio.TaskGroup() as tasks:
        job = tasks.create_task(fleet.drover.embed(["a", "bcd"], model=MODEL))
        own = fleet.pipeline.roster.fleet
        await until(lambda: any(own.devices[name].own for name in DEVICES), "a device has the job")
        [first] = [name for name in DEVICES if own.devices[name].own]
        [other] = set(DEVICES) - {first}
        await fleet.sims[first].until({"in_flight": 1})
        await fleet.sims[other].call("POST", "/sim/faults", {"kind": "none"})
        fleet.agents[first].signal(signal.SIGKILL)
    whole = job.result()

    assert other == whole.routes[0]["device"]
    assert await direct(fleet.sims[other], ["a", "bcd"]) == whole.vectors
