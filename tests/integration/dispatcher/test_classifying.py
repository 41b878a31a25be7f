"""The strategy `llm` through the whole dispatcher: a small model judges the question before it is routed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from common import codec
from common.errors import BackendError
from common.messages import ModelInfo, Speed
from dispatcher.settings import RoutingSection
from tests.integration.dispatcher.house import House, memory_wires, open_house
from tests.integration.dispatcher.scripted import Hold, Script, ScriptedDevice, answer, fail, stall, until

HARD = answer('{"difficulty": 0.9, "kind": "reasoning"}')
EASY = answer('{"difficulty": 0.1, "kind": "chat"}')
TEXT = answer("an answer")

SMALL = ModelInfo(name="llama3.2:1b", size_bytes=10**9, parameters_b=1.2, loaded=True)
LARGE = ModelInfo(name="qwen2.5:32b", size_bytes=20 * 10**9, parameters_b=32.0, loaded=True)
FAST = {one.name: Speed(jobs=9, decode_tps=100.0, prefill_tps=1000.0) for one in (SMALL, LARGE)}


@asynccontextmanager
async def judged_by(
    *small: Script, large: Script = TEXT, **routing: Any
) -> AsyncIterator[tuple[House, ScriptedDevice, ScriptedDevice]]:
    """A Pi with a small model and an Orin with a large one."""
    async with open_house(memory_wires, routing=RoutingSection(strategy="llm", **routing)) as house:
        pi = await house.device("pi", *small, models=(SMALL,), speeds=FAST, slots=2)
        orin = await house.device("orin", large, models=(LARGE,), speeds=FAST, slots=2)
        yield house, pi, orin


async def reply(house: House, prompt: str = "Why?", **fields: Any) -> dict[str, Any]:
    """The answer to a question, whole."""
    return await (await house.ask(prompt, **fields)).reply()


@pytest.mark.parametrize(("verdict", "device"), [(HARD, "orin"), (EASY, "pi")])
async def test_the_verdict_decides_who_answers(verdict: Script, device: str) -> None:
    """A hard question goes to the strong model, an easy one to the weak; the route tells who judged, and how."""
    async with judged_by(verdict, TEXT) as (house, pi, _):
        body = await reply(house)
        asked = (await pi.attempt()).dispatch

    told = body["route"]["features"]["classified"]
    assert (device, "an answer") == (body["device"], body["text"])
    assert ("pi", SMALL.name, False) == (told["device"], told["model"], told["kept"])
    assert (["system", "user"], 48) == ([str(one.role) for one in asked.messages], asked.options.max_tokens)
    assert isinstance(asked.format, dict)
    assert "Why?" == asked.messages[1].content


async def test_a_question_is_classified_once() -> None:
    """The verdict is kept: the second time nobody is asked, and the route says so."""
    async with judged_by(HARD, TEXT) as (house, pi, _):
        await reply(house)
        body = await reply(house)
        other = await reply(house, "Why not?", device="orin")

    told = body["route"]["features"]["classified"]
    assert (True, 0.0, 2) == (told["kept"], told["s"], len(pi.attempts))
    assert "an answer" == other["text"]


@pytest.mark.parametrize(
    ("verdict", "why"),
    [
        (answer("no idea"), "no verdict"),
        (answer('{"difficulty": 7, "kind": "chat"}'), "no verdict"),
        (answer('{"kind": "chat"}'), "no verdict"),
        (fail(BackendError("out of memory")), "pi: tried already: backend: out of memory"),
    ],
)
async def test_without_a_verdict_the_rules_decide(verdict: Script, why: str) -> None:
    """The job is answered all the same, and the route says what it lacked."""
    async with judged_by(verdict, TEXT) as (house, _, _):
        body = await reply(house)

    features = body["route"]["features"]
    assert ("an answer", False) == (body["text"], "classified" in features)
    assert "a classification" in features["lacks"]
    assert why in features["lacks"]


async def test_a_classifier_that_is_late_is_not_waited_for() -> None:
    """It is recalled after its own short deadline, and its slot is free again."""
    async with judged_by(stall('{"diff'), TEXT, classifier_s=0.2) as (house, pi, _):
        body = await reply(house)
        await until(lambda: bool(pi.cancels), "the classifier is told to stop")

    assert "a classification" in body["route"]["features"]["lacks"]


async def test_the_producer_is_acknowledged_before_the_verdict() -> None:
    """Clients that wait for a sign of life have it while the small model thinks."""
    held = Hold('{"difficulty": 0.9, "kind": "code"}')
    async with judged_by(held, TEXT, classifier_s=30.0) as (house, _, _):
        stream = await house.stream("Why?")
        await held.reached.wait()
        await until(lambda: "Ack" in stream.kinds, "the acknowledgement")
        held.released.set()
        end = await stream.end()

    assert end.route is not None
    assert "orin" == end.route["device"]


async def test_a_job_that_is_cancelled_while_it_is_classified_ends() -> None:
    """The classifying model is recalled as well."""
    held = Hold()
    async with judged_by(held, TEXT, classifier_s=30.0) as (house, pi, orin):
        stream = await house.stream("Why?", job="j-1")
        await held.reached.wait()
        await house.order("j-1", "cancel")
        error = await stream.error()
        await until(lambda: bool(pi.cancels), "the device is told")
        held.released.set()

    assert ("cancelled", []) == (error.error.code, orin.attempts)


async def test_a_request_that_names_its_model_needs_no_verdict() -> None:
    """There is nothing to choose by it."""
    async with judged_by(TEXT) as (house, pi, _):
        body = await reply(house, model=SMALL.name)

    assert (1, "an answer", False) == (len(pi.attempts), body["text"], "classified" in body["route"]["features"])


async def test_a_fleet_without_a_model_in_memory_is_not_made_to_load_one() -> None:
    """A load takes longer than any verdict is worth."""
    async with open_house(memory_wires, routing=RoutingSection(strategy="llm")) as house:
        cold = ModelInfo(name=SMALL.name, size_bytes=10**9, parameters_b=1.2, loaded=False)
        pi = await house.device("pi", TEXT, models=(cold,), speeds=FAST)
        body = await reply(house)

    assert (1, "an answer") == (len(pi.attempts), body["text"])
    assert "no small model is in memory" in body["route"]["features"]["lacks"]


async def test_a_model_that_runs_elsewhere_does_not_classify() -> None:
    """It would cost money, and the question may be meant to stay in the house."""
    async with open_house(memory_wires, routing=RoutingSection(strategy="llm")) as house:
        cloud = await house.device("cloud", HARD, models=(SMALL,), speeds=FAST, slots=2, remote=True)
        orin = await house.device("orin", EASY, TEXT, models=(LARGE,), speeds=FAST, slots=2)
        body = await reply(house)

    assert (0, 2, "an answer") == (len(cloud.attempts), len(orin.attempts), body["text"])
    assert "orin" == body["route"]["features"]["classified"]["device"]


async def test_a_verdict_is_its_tenants_alone() -> None:
    """Another tenant's explain tells neither that the question was asked nor who judged it; its job has a verdict of its own."""
    async with judged_by(HARD, HARD) as (house, pi, _):
        await reply(house)
        one = len(pi.attempts)
        asked = codec.encode({"prompt": "Why?"})
        told = codec.decode((await house.world.request(house.subjects.work("route", "bob"), asked, timeout_s=20)).data)
        body = await (await house.send(asked, framed=False, tenant="bob")).reply()

    assert "not classified yet" in told["features"]["lacks"]
    assert "classified" not in told["features"]
    assert (1, 2) == (one, len(pi.attempts))
    assert body["route"]["features"]["classified"]["kept"] is False


async def test_explaining_classifies_nothing() -> None:
    """It uses a verdict that is kept, and says when there is none; no device hears of it."""
    async with judged_by(HARD, TEXT) as (house, pi, _):
        asked = codec.encode({"prompt": "Why?"})
        before = codec.decode(
            (await house.world.request(house.subjects.work("route", "default"), asked, timeout_s=20)).data
        )
        attempts = len(pi.attempts)
        await reply(house)
        after = codec.decode(
            (await house.world.request(house.subjects.work("route", "default"), asked, timeout_s=20)).data
        )

    assert (0, "orin") == (attempts, after["chosen"]["device"])
    assert "not classified yet" in before["features"]["lacks"]
    assert 0.9 == after["features"]["classified"]["difficulty"]
