"""Jobs that may use some models and devices only: nothing that a dispatcher does on the way leaves the list."""

from __future__ import annotations

from typing import Any

from common.errors import BackendError
from common.messages import ModelInfo, Speed
from dispatcher.settings import CacheSection, RoutingSection
from tests.integration.dispatcher.house import memory_wires, open_house
from tests.integration.dispatcher.scripted import MODEL, answer, fail, stall
from tests.integration.dispatcher.test_hedging import usually_quick

SMALL = ModelInfo(name="llama3.2:1b", size_bytes=10**9, parameters_b=1.2, loaded=True)
LARGE = ModelInfo(name="qwen2.5:32b", size_bytes=20 * 10**9, parameters_b=32.0, loaded=True)
FAST = {one.name: Speed(jobs=9, decode_tps=100.0, prefill_tps=1000.0) for one in (SMALL, LARGE)}
HOT = {"temperature_c": 89.0}


async def test_a_job_that_lost_its_device_goes_to_no_closed_one() -> None:
    """It fails with what happened; the other device is not named, and hears nothing."""
    async with open_house(memory_wires) as house:
        mine = await house.device("mine", fail(BackendError("out of memory")))
        other = await house.device("other", answer("no"), **HOT)
        error = (await (await house.stream(allow_devices=["mi*"])).error()).error

    assert ("no_device", 0) == (error.code, len(other.attempts))
    assert len(mine.attempts) > 0
    assert ("out of memory" in error.message, "other" in error.message) == (True, False)


async def test_nobody_hedges_on_a_closed_device() -> None:
    """A late first token is waited for, where the only other device is closed."""
    async with open_house(memory_wires, hedge_share=1.0) as house:
        await house.device("slow", stall())
        other = await house.device("other", answer("no"), **HOT)
        usually_quick(house, "slow")
        stream = await house.stream(allow_devices=["slow"], timeout_s=1.0)
        error = (await stream.error()).error

    assert ("deadline", 0) == (error.code, len(other.attempts))


async def test_a_closed_model_neither_judges_nor_answers() -> None:
    """No small model classifies for who may not use it, and its verdict that was kept for another key is not taken; no strong
    model gets the job of who may use the weak one alone."""
    async with open_house(memory_wires, routing=RoutingSection(strategy="llm")) as house:
        verdict = answer('{"difficulty": 0.9, "kind": "code"}')
        pi = await house.device("pi", verdict, answer("weak"), models=(SMALL,), speeds=FAST, slots=2)
        orin = await house.device("orin", answer("strong"), models=(LARGE,), speeds=FAST, slots=2)

        async def reply(**fields: Any) -> dict[str, Any]:
            return await (await house.ask("Why?", **fields)).reply()

        free, large = await reply(), await reply(allow_models=["qwen*"])
        judged = len(pi.attempts), len(orin.attempts)
        small = await reply(allow_models=["llama*"], strategy="cascade")

    assert ("pi", "orin") == (free["route"]["features"]["classified"]["device"], free["device"])
    assert (
        "classified" not in large["route"]["features"] or "orin" == large["route"]["features"]["classified"]["device"]
    )
    assert ("strong", 1) == (large["text"], judged[0])
    assert ("weak", "pi", judged[1]) == (small["text"], small["device"], len(orin.attempts))


async def test_no_kept_answer_of_a_closed_device_is_given() -> None:
    """Lists are part of an answer's name: who may use less has it made anew, and then again from the cache."""
    async with open_house(memory_wires, cache=CacheSection(mode="exact")) as house:
        other = await house.device("other", answer("of the other"))
        mine = await house.device("mine", answer("of mine"), **HOT)
        free = await (await house.ask()).reply()
        closed = [await (await house.ask(allow_devices=["mine"])).reply() for _ in range(2)]

    assert ("of the other", 1, 1) == (free["text"], len(other.attempts), len(mine.attempts))
    assert [("of mine", "mine"), ("of mine", "cache")] == [(one["text"], one["device"]) for one in closed]


async def test_a_known_id_opens_no_closed_answer() -> None:
    """The same job with another list is another request, also when the answer is there."""
    async with open_house(memory_wires) as house:
        await house.device("other", answer("secret"))
        first = await house.stream(job="j-1")
        await first.end()
        again = (await (await house.stream(job="j-1", allow_devices=["mine"])).error()).error

    assert ("secret", "duplicate_job") == (first.text, again.code)
    assert MODEL not in again.message
