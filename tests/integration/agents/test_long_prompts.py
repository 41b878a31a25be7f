"""Long prompts on a real agent: the simulator cuts and reloads as Ollama does, so nothing must be cut, and little reloaded."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.agents.rigs import MODEL, Rig, rig

pytestmark = pytest.mark.asyncio(loop_scope="module")

LLAMA = "llama3.2:3b"
ONE = {"max_tokens": 1}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orin() -> AsyncIterator[Rig]:
    async with rig(time_factor=1000, DROVER_HEARTBEAT_S="0.2", DROVER_POLL_S="0.3") as standing:
        yield standing


async def loaded_context(orin: Rig, model: str) -> int | None:
    """Ask the device itself what the model is loaded with."""
    _, listed = await orin.sim.call("GET", "/api/ps")
    return next((one["context_length"] for one in listed["models"] if one["model"] == model), None)


async def test_a_long_prompt_is_read_whole(orin: Rig) -> None:
    """20,000 words are 20,000 tokens to the simulator; by Ollama's default it would read 2,050 of them."""
    stream = await orin.device.send("word " * 20_000, model=LLAMA, options=ONE)
    await stream.whole()
    end = await stream.until("end")

    assert end["usage"]["prompt_tokens"] >= 20_000
    assert await loaded_context(orin, LLAMA) == 32_768


async def test_a_short_prompt_leaves_a_large_context_loaded(orin: Rig) -> None:
    """A smaller one would make Ollama load the model anew; also after the agent has looked at what is loaded."""
    await (await orin.device.send("word " * 5000, model=LLAMA, options=ONE)).whole()
    await orin.device.until(lambda beat: any(one.loaded_context_tokens for one in beat.models if one.name == LLAMA))
    before = await orin.sim.state()
    for words in (3, 4000, 10):
        await (await orin.device.send("word " * words, model=LLAMA, options=ONE)).whole()
    after = await orin.sim.state()

    assert after["loads"] == before["loads"]


async def test_a_prompt_grows_the_context_in_few_steps() -> None:
    """Thirty turns of a growing conversation load the model twice: at the default, and at the next power of two that is needed."""
    # Five minutes of the device are 0.3 s here: between two turns it would be let go on a busy machine.
    async with rig(time_factor=1000, DROVER_KEEP_ALIVE="24h") as own:
        for words in range(100, 3100, 100):
            await (await own.device.send("word " * words, model=LLAMA, options=ONE)).whole()
        state = await own.sim.state()

        assert (state["loads"], await loaded_context(own, LLAMA)) == (2, 8192)


async def test_a_prompt_that_the_model_can_not_hold_is_refused(orin: Rig) -> None:
    """By name, with the estimate and the way out, and the device is not troubled."""
    before = await orin.sim.state()
    stream = await orin.device.send("word " * 3000, model=MODEL)
    await stream.whole()
    error = await stream.until("err")
    after = await orin.sim.state()

    assert (error["code"], error["retry"]) == ("context_length_exceeded", False)
    assert (error["details"]["context_tokens"], error["details"]["estimated_tokens"] > 3000) == (2048, True)
    assert after["accepted"] == before["accepted"]


async def test_a_prompt_that_the_memory_can_not_hold_is_for_another_device(orin: Rig) -> None:
    """The model could, with 114,688 bytes for each token; the heartbeat says how much fits here."""
    beat = await orin.device.until(lambda beat: any(one.most_context_tokens for one in beat.models))
    most = next(one.most_context_tokens for one in beat.models if one.name == LLAMA)
    stream = await orin.device.send("word " * 60_000, model=LLAMA)
    await stream.whole()
    error = await stream.until("err")

    assert most is not None
    assert 20_000 < most < 65_536
    assert (error["code"], error["retry"], error["details"]["context_tokens"] <= most) == ("not_loadable", True, True)


async def test_the_default_is_left_to_ollama(orin: Rig) -> None:
    """An ordinary question asks for nothing, so that what the owner set in Ollama holds."""
    await (await orin.device.send("Why?", model=MODEL, options=ONE)).whole()

    assert await loaded_context(orin, MODEL) == 2048
