"""The load door of a real agent: a simulated Ollama loads what it is asked for, ahead of any job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from common import codec
from tests.integration.agents.rigs import MODEL, Rig, rig

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orin() -> AsyncIterator[Rig]:
    async with rig(num_parallel=2, DROVER_HEARTBEAT_S="0.2") as standing:
        yield standing


async def load(orin: Rig, **asked: Any) -> dict[str, Any]:
    return await orin.device.ask("load", codec.encode(asked))


def in_memory(beat: Any) -> dict[str, Any]:
    return {model.name: model for model in beat.models if model.loaded}


async def test_a_model_is_in_memory_before_anybody_asks_it_something(orin: Rig) -> None:
    """The heartbeat tells it, for how long too; a job then loads nothing."""
    before = await orin.sim.state()
    answer = await load(orin, model=MODEL, keep_s=3600)
    beat = await orin.device.until(lambda beat: MODEL in in_memory(beat) and not beat.in_flight)
    loaded = await orin.sim.state()
    await (await orin.device.send(options={"max_tokens": 1})).whole()
    after = await orin.sim.state()

    assert (MODEL, "loaded", True) == (answer["model"], answer["state"], answer["seconds"] > 0)
    assert [before["loads"] + 1] * 2 == [loaded["loads"], after["loads"]]
    assert after["completed"] - before["completed"] >= 1
    assert in_memory(beat)[MODEL].expires_unix_s is not None


async def test_a_model_that_is_in_memory_is_not_loaded_anew(orin: Rig) -> None:
    """Whatever context a job has loaded it with."""
    await (await orin.device.send(options={"max_tokens": 1, "context_tokens": 8192})).whole()
    await orin.device.until_idle()
    before = await orin.sim.state()
    answer = await load(orin, model=MODEL)

    assert ("loaded", before["loads"]) == (answer["state"], (await orin.sim.state())["loads"])


async def test_a_model_that_only_embeds_can_be_loaded(orin: Rig) -> None:
    """Ollama refuses to generate with one."""
    embeds = next(model.name for model in orin.device.heartbeats[-1].models if model.capabilities == ("embedding",))
    answer = await load(orin, model=embeds)

    assert (embeds, "loaded") == (answer["model"], answer["state"])


async def test_what_is_not_there_or_does_not_fit_is_refused(orin: Rig) -> None:
    """Each with a typed error, and the device takes jobs as before."""
    unknown = await load(orin, model="nothing:7b")
    fits = {model.name for model in orin.device.heartbeats[-1].models}
    probe = await orin.device.ask("probe")

    assert ("unknown_model", True) == (unknown["error"]["code"], "nothing:7b" not in fits)
    assert ("ready", 0) == (probe["state"], probe["in_flight"])


async def test_what_nobody_waits_for_loads_nothing(orin: Rig) -> None:
    """A message without an inbox to answer to, as a stream may send it."""
    before = await orin.sim.state()
    await orin.bus.publish("llm.v1.dev.orin.load", codec.encode({"model": "llama3.2:3b"}))
    await orin.bus.flush()
    await orin.device.ask("probe")

    assert before["loads"] == (await orin.sim.state())["loads"]
