"""A device fails after text is visible: another one goes on with it, or the producer is told how much there is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common import errors
from common.frames import KeepAlive, Phase, Token
from common.messages import ModelInfo, Role
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.scripted import (
    MODEL,
    Attempt,
    Hold,
    Script,
    answer,
    fail,
    go_on,
    ignore,
    refuse,
    stall,
    until,
)

HOT = {"temperature_c": 89.0}
QUICK = 2.0
"""A clock that strikes for one device, and not by chance for the other: longer than a busy machine's pauses."""


async def give_up(attempt: Attempt) -> None:
    await attempt.fail(errors.BackendError("out of memory"))


async def skip(attempt: Attempt) -> None:
    """Leave a gap, as when the bus dropped a message."""
    await attempt.send(Token(7, "gap"))
    await attempt.cancelled.wait()


async def hang(attempt: Attempt) -> None:
    await attempt.cancelled.wait()


@pytest.mark.parametrize(
    ("then", "clocks", "outcome"),
    [(give_up, {}, "backend"), (skip, {}, "garbled"), (hang, {"stall_s": QUICK}, "silent")],
)
async def test_another_device_goes_on(a_house: OpenHouse, then: Script, clocks: dict[str, float], outcome: str) -> None:
    """The next device gets the text so far as the assistant's own words; nothing is shown twice, and nothing is missing."""
    async with a_house(**clocks) as house:
        hold = Hold("Once ", "upon ", then=then)
        await house.device("bad", hold)
        good = await house.device("good", answer("a time"), **HOT)
        stream = await house.stream("tell")
        await until(lambda: stream.text == "Once upon ", "the text is visible")
        hold.released.set()
        end = await stream.end()
        assert end.route is not None

        assert [(Role.USER, "tell"), (Role.ASSISTANT, "Once upon ")] == [
            (one.role, one.content) for one in good.attempts[0].dispatch.messages
        ]
        assert ("Once upon a time", [outcome, "ok"]) == (stream.text, [one["outcome"] for one in end.route["attempts"]])


async def test_a_device_that_dies_mid_stream_is_replaced(a_house: OpenHouse) -> None:
    """An agent that vanishes in the middle of its text is found by the stall clock."""
    async with a_house(stall_s=QUICK) as house:
        bad = await house.device("bad", stall("Once "))
        await house.device("good", answer("upon"), **HOT)
        stream = await house.stream()
        await until(lambda: stream.text == "Once ", "the text is visible")
        await bad.die()
        await stream.end()

        assert "Once upon" == stream.text


async def test_a_text_can_move_twice(a_house: OpenHouse) -> None:
    """A continuation that breaks off is continued in its turn."""
    async with a_house() as house:
        first, second = Hold("one ", then=give_up), Hold("two ", then=give_up)
        await house.device("a", first)
        await house.device("b", second, temperature_c=80.0)
        third = await house.device("c", answer("three"), **HOT)
        stream = await house.stream()
        for hold, text in ((first, "one "), (second, "one two ")):
            await until(lambda text=text: stream.text == text, text)  # type: ignore[misc]  # bound per round
            hold.released.set()
        await stream.end()

        assert ("one two three", "one two ") == (stream.text, third.attempts[0].dispatch.messages[-1].content)


async def test_what_remains_of_the_limit(a_house: OpenHouse) -> None:
    """The next device may say only what is left of the limit, by four characters a token."""
    async with a_house() as house:
        hold = Hold("x" * 40, then=give_up)
        await house.device("bad", hold)
        good = await house.device("good", answer("y"), **HOT)
        stream = await house.stream(options={"max_tokens": 50})
        await until(lambda: len(stream.text) == 40, "the text is visible")
        hold.released.set()
        await stream.end()

        assert 40 == good.attempts[0].dispatch.options.max_tokens  # 50 - 40 / 4


async def test_the_model_that_began_goes_on(a_house: OpenHouse) -> None:
    """Of the devices that can continue, those with the same model come first, though another scores higher."""
    async with a_house() as house:
        hold = Hold("Once ", then=give_up)
        await house.device("a", hold)
        other = (ModelInfo(name="other:70b", size_bytes=10**9, loaded=True, parameters_b=70.0),)
        better = await house.device("better", answer("other words"), models=other, temperature_c=75.0)
        await house.device("same", answer("upon"), **HOT)
        stream = await house.stream()
        await until(lambda: stream.text == "Once ", "the text is visible")
        hold.released.set()
        end = await stream.end()
        assert end.route is not None

        assert ("Once upon", MODEL, 0) == (stream.text, end.route["model"], len(better.attempts))


@pytest.mark.parametrize("fields", [{"tools": [{"type": "function", "function": {"name": "f"}}]}, {"format": "json"}])
async def test_what_has_a_form_is_interrupted(a_house: OpenHouse, fields: dict[str, Any]) -> None:
    """Half a tool call or half a JSON document can't be continued: the producer is told how much was delivered."""
    async with a_house() as house:
        hold = Hold('{"x": ', then=give_up)
        await house.device("bad", hold)
        good = await house.device("good", answer("1}"), **HOT)
        stream = await house.stream(job="j1", **fields)
        await until(lambda: stream.text == '{"x": ', "the text is visible")
        hold.released.set()
        last = await stream.error()

        assert ("interrupted", {"delivered_chars": 6}, 0) == (last.error.code, last.error.details, len(good.attempts))
        assert "interrupted" == (await house.event("j1"))["error"]


@pytest.mark.parametrize("others", [{}, {"continues": False}])
async def test_where_nobody_can_go_on(a_house: OpenHouse, others: dict[str, Any]) -> None:
    """When no other device is there, or none that continues a text, the answer is interrupted, not lost without a word."""
    async with a_house() as house:
        hold = Hold("Once ", then=give_up)
        await house.device("bad", hold)
        if others:
            await house.device("good", answer("never"), **HOT, **others)
        stream = await house.stream()
        await until(lambda: stream.text == "Once ", "the text is visible")
        hold.released.set()
        last = await stream.error()

        assert ("interrupted", {"delivered_chars": 5}, "Once ") == (last.error.code, last.error.details, stream.text)


async def test_a_continuation_that_the_backend_rejects(a_house: OpenHouse) -> None:
    """When a device finds fault with the continued conversation, the answer is interrupted: the request was none of that."""
    async with a_house() as house:
        hold = Hold("Once ", then=give_up)
        await house.device("bad", hold)
        await house.device("good", fail(errors.BadRequest("the last message must be the user's")), **HOT)
        stream = await house.stream()
        await until(lambda: stream.text == "Once ", "the text is visible")
        hold.released.set()

        assert "interrupted" == (await stream.error()).error.code


async def test_a_refused_continuation_waits(a_house: OpenHouse) -> None:
    """A full device is no reason to break off: the text goes on when it has a slot."""
    async with a_house() as house:
        hold = Hold("Once ", then=give_up)
        await house.device("bad", hold)
        good = await house.device("good", refuse, answer("upon"), **HOT)
        stream = await house.stream()
        await until(lambda: stream.text == "Once ", "the text is visible")
        hold.released.set()
        await good.attempt(1)
        await house.waiting(1)
        await house.beat(good)
        await stream.end()

        assert ("Once upon", 2) == (stream.text, len(good.attempts))


async def test_a_slow_device_is_not_a_dead_one(a_house: OpenHouse) -> None:
    """Keep-alives hold off the stall clock, however long the pause between two words."""
    stall_s = 2.0  # longer than a busy machine stops the loop, since here the clock must not strike
    async with a_house(stall_s=stall_s) as house:
        hold = Hold("Once ", then=go_on("upon"))
        slow = await house.device("slow", hold)
        other = await house.device("other", ignore, **HOT)
        stream = await house.stream()
        await until(lambda: stream.text == "Once ", "the text is visible")
        await keep_alive_for(slow.attempts[0], 1.3 * stall_s)
        hold.released.set()
        await stream.end()

        assert ("Once upon", 0) == (stream.text, len(other.attempts))


async def keep_alive_for(attempt: Attempt, wait_s: float) -> None:
    """Send keep-alives for so long, each when the one before has arrived."""
    until_s = asyncio.get_running_loop().time() + wait_s
    while asyncio.get_running_loop().time() < until_s:
        await attempt.send(KeepAlive(Phase.DECODE))
        await attempt.device.bus.flush()
