"""The strategy `cascade` through the whole dispatcher: a weak answer that is checked unseen, and a strong one where it fails."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.errors import BackendError
from common.frames import RouteNote, Token
from common.messages import ModelInfo, Speed, ToolCall
from dispatcher.embed import Tier
from dispatcher.lab.embedding import Choice
from dispatcher.lab.router.fit import Recipe
from dispatcher.lab.router.verbs import Source, train_verb
from dispatcher.settings import RoutingSection
from tests.integration.dispatcher.house import House, memory_wires, open_house
from tests.integration.dispatcher.scripted import (
    Attempt,
    Hold,
    Script,
    ScriptedDevice,
    answer,
    fail,
    go_on,
    ignore,
    stall,
    until,
)

GOOD = "The sky is blue because air scatters short waves more."
WRONG = "There are 12 + 7 = 21 apples."
RIGHT = "There are 12 + 7 = 19 apples."

WEAK = ModelInfo(name="llama3.2:1b", size_bytes=10**9, parameters_b=1.2, loaded=True)
STRONG = ModelInfo(name="qwen2.5:14b", size_bytes=9 * 10**9, parameters_b=14.8, loaded=True)

FAST = {one.name: Speed(jobs=9, decode_tps=100.0, prefill_tps=1000.0) for one in (WEAK, STRONG)}


@asynccontextmanager
async def tiers(
    weak: Script, *strong: Script, **routing: Any
) -> AsyncIterator[tuple[House, ScriptedDevice, ScriptedDevice | None]]:
    """A Pi with a small model, and an Orin with a large one if it has a script."""
    section = RoutingSection(strategy="cascade", **routing)
    async with open_house(memory_wires, routing=section) as house:
        pi = await house.device("pi", weak, models=(WEAK,), speeds=FAST)
        orin = await house.device("orin", *strong, models=(STRONG,), speeds=FAST) if strong else None
        yield house, pi, orin


def texts(arrived: list[Any]) -> list[str]:
    return [frame.text for frame in arrived if isinstance(frame, Token)]


async def test_a_good_weak_answer_is_given_and_nobody_else_asked() -> None:
    """It comes as frames at once, with the account of the check."""
    async with tiers(answer("The sky is blue because air ", "scatters short waves more."), ignore) as (house, _, orin):
        stream = await house.stream("Why is the sky blue?")
        end = await stream.end()

    assert orin is not None
    assert end.route is not None
    told = end.route["cascade"]
    assert (GOOD, 1, []) == (stream.text, len(texts(stream.frames)), orin.attempts)
    assert ("weak", False, "pi", {}) == (told["given"], told["escalated"], told["weak"]["device"], told["faults"])
    assert ("pi", "ok") == (end.route["device"], end.route["attempts"][0]["outcome"])


async def test_a_wrong_sum_is_never_seen_and_the_strong_model_asked() -> None:
    """The stream shows the strong answer alone; attempts are counted on, and tokens of both tiers are charged."""
    async with tiers(answer(WRONG), answer(*RIGHT.split(" "))) as (house, _, _):
        stream = await house.stream("I have 12 apples and get 7. How many?")
        end = await stream.end()
        event = await house.event(str(end.route["job"] if end.route else ""))

    assert end.route is not None
    notes = [(note.device, note.attempt) for note in stream.frames if isinstance(note, RouteNote)]
    told = end.route["cascade"]
    assert ("".join(RIGHT.split(" ")), [("pi", 1), ("orin", 2)]) == (stream.text, notes)
    assert ("strong", True, "pi", "orin") == (
        told["given"],
        told["escalated"],
        told["weak"]["device"],
        told["strong"]["device"],
    )
    assert told["faults"] == {"wrong sum": 0.8}
    assert [("pi", "ok"), ("orin", "ok")] == [(one["device"], one["outcome"]) for one in end.route["attempts"]]
    assert (14, 1 + len(RIGHT.split(" "))) == (end.usage.prompt_tokens, end.usage.completion_tokens)
    assert (7, 1) == (told["weak"]["usage"]["prompt_tokens"], told["weak"]["usage"]["completion_tokens"])
    assert ("orin", 2) == (event["device"], event["attempts"])


async def test_a_weak_model_for_money_behind_the_strong_ones_hides_no_tier() -> None:
    """Remote models come behind all local ones, weak ones too; the local tiers are a cascade as without them."""
    async with tiers(answer(WRONG), answer(RIGHT)) as (house, _, _):
        cloud = await house.device("cloud", ignore, models=(WEAK,), speeds=FAST, remote=True)
        body = await (await house.ask("12 apples and 7 more?")).reply()

    assert (RIGHT, "orin", []) == (body["text"], body["device"], cloud.attempts)


async def test_a_plain_reply_is_the_strong_answer_alone() -> None:
    """One reply, one text, one record."""
    async with tiers(answer(WRONG), answer(RIGHT)) as (house, _, _):
        body = await (await house.ask("12 apples and 7 more?", job="j-1")).reply()
        event = await house.event("j-1")
        why = await house.order("j-1", "why")

    assert (RIGHT, "orin", True) == (body["text"], body["device"], body["route"]["cascade"]["escalated"])
    assert (True, body["route"]["cascade"]) == (event["escalated"], why["cascade"])


async def test_a_held_stream_is_the_strong_answer_alone() -> None:
    """`hold` hears frames and no text before all of it is there."""
    async with tiers(answer(WRONG), answer("There are 12 + 7 = ", "19 apples.")) as (house, _, _):
        stream = await house.stream("12 apples and 7 more?", hold=True)
        await stream.end()

    assert [RIGHT] == texts(stream.frames)


async def test_a_strong_tier_that_fails_leaves_the_weak_answer() -> None:
    """What it had said is forgotten; the route says why the weak answer was given though it was doubted."""
    strong = fail(BackendError("out of memory"))
    async with tiers(answer(WRONG), strong) as (house, _, _):
        stream = await house.stream("12 apples and 7 more?")
        end = await stream.end()

    assert end.route is not None
    told = end.route["cascade"]
    assert (WRONG, "weak", True) == (stream.text, told["given"], told["escalated"])
    assert "out of memory" in told["instead"]
    assert ("pi", "pi") == (end.route["device"], [n for n in stream.frames if isinstance(n, RouteNote)][-1].device)
    assert [("pi", "ok"), ("orin", "backend")] == [(one["device"], one["outcome"]) for one in end.route["attempts"]]


async def test_partial_strong_text_that_nobody_saw_is_not_joined_to_the_weak_answer() -> None:
    """A plain reply after a strong model that broke off holds the weak answer, and nothing else."""
    async with tiers(answer(WRONG), fail(BackendError("out of memory"), "There are nine")) as (house, _, _):
        body = await (await house.ask("12 apples and 7 more?")).reply()

    assert (WRONG, "weak") == (body["text"], body["route"]["cascade"]["given"])


async def test_an_impatient_cascade_gives_the_weak_answer() -> None:
    """A strong model that says nothing within the patience is recalled, and its slot is free again."""
    async with tiers(answer(WRONG), stall(), cascade_patience_s=0.2) as (house, _, orin):
        stream = await house.stream("12 apples and 7 more?")
        end = await stream.end()
        assert orin is not None
        await until(lambda: bool(orin.cancels), "the strong device is told to stop")

    assert end.route is not None
    assert (WRONG, "weak") == (stream.text, end.route["cascade"]["given"])
    assert "said nothing after 0.2 s" in end.route["cascade"]["instead"]


async def test_patience_ends_with_the_first_text_that_is_seen() -> None:
    """From then on the strong answer is told to its end, however long it takes."""
    held = Hold("There are ", then=go_on("12 + 7 = 19 apples."))
    async with tiers(answer(WRONG), held, cascade_patience_s=3.0) as (house, _, _):
        stream = await house.stream("12 apples and 7 more?")
        await stream.seen(Token)
        clock = house.pipeline.clock
        past_s = clock.monotonic() + 3.2
        await until(lambda: clock.monotonic() > past_s, "the patience is over")
        held.released.set()
        await stream.end()

    assert RIGHT == stream.text


async def test_a_deadline_that_only_the_weak_tier_meets_gives_its_answer() -> None:
    """The strong round ends a little before the job's deadline, so that there is time for the other answer."""
    async with tiers(answer(WRONG), stall()) as (house, _, _):
        stream = await house.stream("12 apples and 7 more?", timeout_s=3.0)
        end = await stream.end()

    assert end.route is not None
    assert (WRONG, "weak") == (stream.text, end.route["cascade"]["given"])


async def test_a_strong_model_that_is_too_slow_is_not_asked() -> None:
    """Its predicted time is beyond what is left: the weak answer comes without a wait."""
    slow = STRONG.__class__(name=STRONG.name, size_bytes=10**12, parameters_b=70.0, loaded=False)
    async with tiers(answer(WRONG)) as (house, _, _):
        orin = await house.device("orin", ignore, models=(slow,))
        stream = await house.stream("12 apples and 7 more?", timeout_s=30.0)
        end = await stream.end()

    assert end.route is not None
    assert (WRONG, []) == (stream.text, orin.attempts)
    assert "too late" in end.route["cascade"]["instead"]


async def test_a_fleet_of_one_tier_has_nothing_to_check() -> None:
    """Its text comes as it is made, piece by piece, and the route tells that there was no check, and why."""
    held = Hold("There are ", then=go_on("12 + 7 = 21 apples."))
    async with tiers(held) as (house, _, _):
        stream = await house.stream("12 apples and 7 more?")
        await stream.seen(Token)
        held.released.set()
        end = await stream.end()

    assert end.route is not None
    assert (2, False) == (len(texts(stream.frames)), "cascade" in end.route)
    assert "the answer was not checked" in end.route["features"]["lacks"]


async def test_a_weak_tier_that_fails_hands_over_and_the_strong_text_is_live() -> None:
    """Who answers in its place is strong, and needs no check."""
    held = Hold("Air ", then=go_on("scatters."))
    async with tiers(fail(BackendError("no")), held) as (house, _, _):
        stream = await house.stream("Why?")
        await stream.seen(Token)
        held.released.set()
        end = await stream.end()

    assert end.route is not None
    assert (["Air ", "scatters."], False) == (texts(stream.frames), "cascade" in end.route)


@pytest.mark.parametrize("phase", ["weak", "strong"])
async def test_a_cancel_ends_both_rounds(phase: str) -> None:
    """Whichever round runs is recalled, no answer is given, and the job has one record: cancelled."""
    held = Hold()
    scripts = (held, ignore) if phase == "weak" else (answer(WRONG), held)
    async with tiers(*scripts) as (house, pi, orin):
        stream = await house.stream("12 apples and 7 more?", job="j-1")
        await held.reached.wait()
        await house.order("j-1", "cancel")
        error = await stream.error()
        device = pi if phase == "weak" else orin
        assert device is not None
        await until(lambda: bool(device.cancels), "the device is told")
        held.released.set()
        event = await house.event("j-1")

    assert ("cancelled", "", "cancelled") == (error.error.code, stream.text, event["state"])


async def test_a_prefix_that_holds_lets_the_rest_stream() -> None:
    """With a bounded prefix the first text is told when so much is there, and more as it comes."""
    held = Hold("The sky is blue because air ", then=go_on("scatters short waves more."))
    async with tiers(held, ignore, cascade_prefix_chars=20) as (house, _, _):
        stream = await house.stream("Why is the sky blue?")
        await stream.seen(Token)
        held.released.set()
        end = await stream.end()

    assert end.route is not None
    assert (GOOD, 2, "weak") == (stream.text, len(texts(stream.frames)), end.route["cascade"]["given"])


async def test_a_prefix_that_does_not_hold_is_given_up() -> None:
    """The weak device is recalled in the middle, and only the strong answer is ever seen."""
    held = Hold(WRONG)
    async with tiers(held, answer(RIGHT), cascade_prefix_chars=20) as (house, pi, _):
        stream = await house.stream("12 apples and 7 more?")
        end = await stream.end()
        held.released.set()

    assert end.route is not None
    assert (RIGHT, 1) == (stream.text, len(pi.cancels))
    weak = end.route["cascade"]["weak"]["usage"]
    assert weak["prompt_tokens"] > 0
    assert (len(WRONG) // 4, weak["prompt_tokens"] + 7) == (weak["completion_tokens"], end.usage.prompt_tokens)
    assert [("pi", "escalated"), ("orin", "ok")] == [(one["device"], one["outcome"]) for one in end.route["attempts"]]


async def test_a_prefix_given_up_for_a_strong_tier_that_fails_is_made_again() -> None:
    """The weak model answers once more, whole, and is given."""
    async with tiers(answer(WRONG), fail(BackendError("no")), cascade_prefix_chars=20) as (house, pi, _):
        stream = await house.stream("12 apples and 7 more?")
        end = await stream.end()

    assert end.route is not None
    assert (WRONG, 2, "weak") == (stream.text, len(pi.attempts), end.route["cascade"]["given"])
    assert end.usage.prompt_tokens > 7  # what the first try read, too


async def test_money_of_a_beginning_that_was_given_up_is_booked() -> None:
    """The weak model is a provider's: what it read and said is paid for, though its end never came."""
    paid = replace(WEAK, input_usd_per_mtok=1000.0, output_usd_per_mtok=2000.0)
    section = RoutingSection(strategy="cascade", cascade_prefix_chars=20, cloud="preferred")
    async with open_house(memory_wires, routing=section) as house:
        held = Hold(WRONG)
        await house.device("cloud", held, models=(paid,), speeds=FAST, remote=True)
        large = replace(STRONG, input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)
        await house.device("big", answer(RIGHT), models=(large,), speeds=FAST, remote=True)
        stream = await house.stream("12 apples and 7 more?")
        end = await stream.end()
        held.released.set()

    assert end.route is not None
    weak = end.route["cascade"]["weak"]["usage"]
    spent_usd = (1000.0 * weak["prompt_tokens"] + 2000.0 * weak["completion_tokens"]) / 1e6
    assert (RIGHT, "big") == (stream.text, end.route["device"])
    assert spent_usd == pytest.approx(end.cost_usd)


async def test_a_weak_answer_that_fails_when_it_is_made_again_is_not_given() -> None:
    """Neither tier has answered: the account says so."""
    async with open_house(memory_wires, routing=RoutingSection(strategy="cascade", cascade_prefix_chars=20)) as house:
        no = fail(BackendError("no"))
        await house.device("pi", answer(WRONG), no, no, models=(WEAK,), speeds=FAST)
        await house.device("orin", no, no, no, models=(STRONG,), speeds=FAST)
        stream = await house.stream("12 apples and 7 more?")
        error = await stream.error()

    assert error.route is not None
    assert "none" == error.route["cascade"]["given"]


async def test_broken_json_goes_up_and_a_function_call_does_not() -> None:
    """Where a format was asked for the answer must be of it; a call of an offered function is an answer."""
    tool = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}
    async with tiers(answer('{"a": 1'), answer('{"a": 1}')) as (house, _, _):
        body = await (await house.ask("Give JSON", format="json")).reply()
    async with tiers(answer(tool_calls=(ToolCall(name="now"),)), ignore) as (house, _, _):
        called = await (await house.ask("What time is it?", tools=[tool])).reply()

    assert ('{"a": 1}', "orin") == (body["text"], body["device"])
    assert ("pi", "now") == (called["device"], called["tool_calls"][0]["name"])


async def test_a_model_that_was_unsure_of_its_own_words_is_not_trusted() -> None:
    """The weak tier is asked for log-probabilities, where its backend gives them; the strong one, which nobody checks, is not."""

    async def unsure(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.tokens("Paris, of course.")
        await attempt.end(logprobs=(-1.6, -2.2, -1.4))

    async with tiers(unsure, answer("Canberra.")) as (house, pi, orin):
        body = await (await house.ask("What is the capital of Australia?")).reply()
        assert orin is not None
        asked = [(await device.attempt()).dispatch.logprobs for device in (pi, orin)]

    assert ("Canberra.", {"unsure tokens": 0.6}) == (body["text"], body["route"]["cascade"]["faults"])
    assert [True, False] == asked


async def test_log_probabilities_stay_in_the_house() -> None:
    """Whoever asked for a text gets no list of numbers with it."""

    async def sure(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.tokens("Canberra.")
        await attempt.end(logprobs=(-0.1, -0.2))

    async with tiers(sure, ignore) as (house, _, _):
        stream = await house.stream("What is the capital of Australia?")
        end = await stream.end()

    assert ("Canberra.", ()) == (stream.text, end.logprobs)


async def test_a_trained_judge_decides_where_there_is_one(tmp_path: Path) -> None:
    """It was trained on answers of which those that end in a question mark were bad, which no rule minds; the route names it."""
    labels, weights = tmp_path / "labels.csv", tmp_path / "judge.npz"
    with labels.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["prompt", "weak", "strong", "weak_response"])
        for number in range(200):
            good = number % 2
            said = "It is blue, and that is so.\nIt is certain." if good else "Is it blue, as they say, or is it not?"
            rows.writerow([f"What is the colour of thing {number}?", good, 1, said])
    source = Source(labels=labels, embedder=Choice(tier=Tier.NONE))
    train_verb(source, weights, Recipe(), None)
    judge = str(tmp_path / "judge.cascade.npz")
    bad = answer("Is it blue, as they say, or is it not?")
    async with tiers(bad, answer("It is blue."), cascade_file=judge, cascade_share=0.5) as (house, _, _):
        body = await (await house.ask("What is the colour of thing 7?")).reply()

    told = body["route"]["cascade"]
    assert ("It is blue.", "predicted gain", {}) == (body["text"], told["by"], told["faults"])
