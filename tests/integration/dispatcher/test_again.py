"""The same job sent again: it joins the running answer or gets the finished one, and no device hears of it twice."""

from __future__ import annotations

from typing import Any

import pytest

from common import codec, frames
from common.errors import BackendError
from common.frames import Ack, RouteNote, Token
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import House, Stream
from tests.integration.dispatcher.scripted import Hold, answer, fail, go_on, stall, until


async def leave(house: House, job: str, stream: Stream, **fields: Any) -> None:
    """Hang up for one party, as the client library does."""
    body = codec.encode({"tenant": "default", "reply": stream.inbox, **fields})
    await house.world.publish(house.subjects.control(job, "cancel"), body)


@pytest.mark.parametrize("hold", [False, True])
async def test_a_newcomer_gets_all_text_in_frames_of_its_own(a_house: OpenHouse, hold: bool) -> None:
    """Acknowledged, told where it runs, the text so far, then what comes; numbered from 0; both end alike."""
    async with a_house() as house:
        script = Hold("Once ", "upon ", then=go_on("a time"))
        nano = await house.device("nano", script)
        first = await house.stream(job="j1")
        await until(lambda: first.text == "Once upon ", "the first has seen text")
        second = await house.stream(job="j1", hold=hold)
        await second.seen(RouteNote)
        if not hold:
            await second.seen(Token)
        so_far = second.text
        script.released.set()
        ends = [await one.end() for one in (first, second)]

        assert ("" if hold else "Once upon ", "Once upon a time", "Once upon a time") == (
            so_far,
            first.text,
            second.text,
        )
        assert (1, ["Ack", "RouteNote", "Token", "End"], ends[0].route) == (
            len(nano.attempts),
            [kind for kind in second.kinds if kind != "KeepAlive"],
            ends[1].route,
        )


async def test_one_reply_joins_a_stream(a_house: OpenHouse) -> None:
    """Who asks for a single reply gets the whole answer when it is complete."""
    async with a_house() as house:
        script = Hold("Once ", then=go_on("upon"))
        nano = await house.device("nano", script)
        first = await house.stream(job="j1")
        await first.seen(Token)
        second = await house.ask(job="j1")
        await until(lambda: house.pipeline.sharing.audience and len(house.pipeline.sharing.audience) == 2, "both wait")
        script.released.set()
        await first.end()

        assert ("Once upon", 1) == ((await second.reply())["text"], len(nano.attempts))


async def test_a_stream_joins_what_nobody_has_seen(a_house: OpenHouse) -> None:
    """From its coming on, the text is visible: a device that then fails is followed by one that goes on, not over."""
    async with a_house() as house:
        script = Hold("Once ", then=fail(BackendError("broke")))
        nano = await house.device("nano", script)
        first = await house.stream(job="j1", hold=True)
        await script.reached.wait()
        await until(lambda: house.pipeline.running == 1, "it runs")
        second = await house.stream(job="j1")
        await second.seen(Token)
        orin = await house.device("orin", answer("upon"))
        script.released.set()
        await second.end()
        await first.end()

        assert ("Once upon", "Once upon", "Once ") == (
            first.text,
            second.text,
            orin.attempts[0].dispatch.messages[-1].content,
        )
        assert (1, 1) == (len(nano.attempts), len(orin.attempts))


async def test_a_finished_job_is_replayed(a_house: OpenHouse) -> None:
    """Same text, same route, marked; streamed, held or whole; no device hears of it, and it is recorded once."""
    async with a_house() as house:
        nano = await house.device("nano", answer("Once ", "upon"))
        first = await house.stream(job="j1")
        end = await first.end()
        await house.event("j1")
        again = [await house.stream(job="j1"), await house.stream(job="j1", hold=True)]
        ends = [await one.end() for one in again]
        body = await (await house.ask(job="j1")).reply()
        await house.settle()

        assert [{**(end.route or {}), "replayed": True}] * 3 == [ends[0].route, ends[1].route, body["route"]]
        assert (["Once upon"] * 3, 1) == ([again[0].text, again[1].text, body["text"]], len(nano.attempts))
        assert ["done", "replayed", "replayed", "replayed"] == [event["state"] for event in house.job_events]


async def test_a_failed_job_may_run_anew(a_house: OpenHouse) -> None:
    """A failure is no answer: the same id is tried again."""
    async with a_house() as house:
        hold = Hold("some", then=fail(BackendError("broke")))
        await house.device("nano", hold, answer("better"), continues=False)
        first = await house.stream(job="j1")
        hold.released.set()
        failed = await first.error()
        await until(lambda: house.pipeline.running == 0, "it is over")
        second = await house.stream(job="j1")
        await second.end()

        assert (True, "better") == (failed.error.retryable, second.text)


async def test_the_delivery_is_no_part_of_the_question(a_house: OpenHouse) -> None:
    """Prompt or messages, JSON or MessagePack, another deadline: it is the same request; another temperature is not."""
    async with a_house() as house:
        nano = await house.device("nano", answer("x"))
        await (await house.ask("hi", job="j1")).reply()
        same = codec.encode(
            {"messages": [{"role": "user", "content": "hi"}], "job": "j1", "timeout_s": 9.0, "keep_s": 1.0},
            codec.Encoding.MSGPACK,
        )
        replayed = await (await house.send(same, framed=False)).reply()
        other = await (await house.ask("hi", job="j1", options={"temperature": 0.1})).reply()

        assert ("x", "duplicate_job", 1) == (replayed["text"], other["error"]["code"], len(nano.attempts))


async def test_a_job_lives_as_long_as_somebody_waits(a_house: OpenHouse) -> None:
    """The first one hangs up, and the second has its answer."""
    async with a_house() as house:
        script = Hold("Once ", then=go_on("upon"))
        nano = await house.device("nano", script)
        first = await house.stream(job="j1")
        await first.seen(Token)
        second = await house.stream(job="j1")
        await second.seen(Token)
        house.streams.remove(first)
        await leave(house, "j1", first)
        await until(lambda: len(house.pipeline.sharing.audience) == 1, "one is left")
        script.released.set()
        await second.end()

        assert ("Once upon", [], False) == (second.text, nano.cancels, first.ended)


async def test_the_last_to_hang_up_cancels(a_house: OpenHouse) -> None:
    """When nobody is left, the device stops at once."""
    async with a_house() as house:
        nano = await house.device("nano", stall("Once "))
        both = [await house.stream(job="j1"), await house.stream(job="j1")]
        for one in both:
            await one.seen(Token)
        for one in both:
            house.streams.remove(one)
            await leave(house, "j1", one)
        await until(nano.attempts[0].cancelled.is_set, "the device hears of it")
        await until(lambda: len(house.job_events) >= 2, "both records")  # the device is heard out first

        assert ("cancelled", "attached") == tuple(
            sorted((event["state"] for event in house.job_events[:2]), key=lambda state: state != "cancelled")
        )


async def test_a_job_is_kept_for_one_who_comes_back(a_house: OpenHouse) -> None:
    """With `keep_s` the job runs on when its only listener is gone, and the one who comes again has all of it."""
    async with a_house() as house:
        script = Hold("Once ", then=go_on("upon"))
        nano = await house.device("nano", script)
        first = await house.stream(job="j1", keep_s=60.0)
        await first.seen(Token)
        house.streams.remove(first)
        await leave(house, "j1", first)
        await until(lambda: len(house.pipeline.sharing.audience) == 0, "nobody waits")
        second = await house.stream(job="j1", keep_s=60.0)
        await second.seen(Token)
        script.released.set()
        await second.end()

        assert ("Once upon", 1) == (second.text, len(nano.attempts))


async def test_a_job_that_nobody_comes_back_for_is_cancelled(a_house: OpenHouse) -> None:
    """The grace ends, and the device stops."""
    async with a_house() as house:
        nano = await house.device("nano", stall("Once "))
        first = await house.stream(job="j1", keep_s=0.2)
        await first.seen(Token)
        house.streams.remove(first)
        await leave(house, "j1", first)
        await until(nano.attempts[0].cancelled.is_set, "the device hears of it")

        assert "cancelled" == (await house.event("j1"))["state"]


async def test_a_cancel_ends_it_for_all(a_house: OpenHouse) -> None:
    """`ctl.<job>.cancel` without a reply subject means the job, not one who waits for it."""
    async with a_house() as house:
        await house.device("nano", stall("Once "))
        streams = [await house.stream(job="j1"), await house.stream(job="j1")]
        single = await house.ask(job="j1")
        for one in streams:
            await one.seen(Token)
        await until(lambda: len(house.pipeline.sharing.audience) == 3, "all three wait")
        await house.order("j1", "cancel")

        assert ["cancelled"] * 3 == [
            *[(await one.error()).error.code for one in streams],
            (await single.reply())["error"]["code"],
        ]


async def test_one_who_can_t_be_told_harms_nobody(a_house: OpenHouse) -> None:
    """A single reply that is too long for the bus is an error for its own party; the stream beside it has the text."""
    async with a_house() as house:
        script = Hold("x" * 700_000, then=go_on("x" * 700_000))
        await house.device("nano", script)
        single = await house.ask(job="j1")
        await script.reached.wait()
        stream = await house.stream(job="j1")
        await stream.seen(RouteNote)
        script.released.set()
        end = await stream.end()
        body = await single.reply()
        event = await house.event("j1")

        assert (1_400_000, "too_large") == (len(stream.text), body["error"]["code"])
        assert (True, True) == (end.tokens > 1, event["state"] in {"done", "attached"})


async def test_text_that_the_producer_has_is_gone_on_with(a_house: OpenHouse) -> None:
    """`resume` is the beginning of the answer: the device continues it, and the whole text comes as one."""
    async with a_house() as house:
        nano = await house.device("nano", answer("a time"))
        stream = await house.stream(job="j1", resume="Once upon ", resends=1)
        await stream.end()

        assert ("Once upon a time", "Once upon ", frames.END_OF_STREAM) == (
            stream.text,
            nano.attempts[0].dispatch.messages[-1].content,
            stream.arrived[-1].data,
        )


@pytest.mark.parametrize("fields", [{"tools": [{"type": "function"}]}, {"format": "json"}], ids=["tools", "format"])
async def test_what_can_t_be_gone_on_with_is_refused(a_house: OpenHouse, fields: dict[str, Any]) -> None:
    """A splice of calls, or of JSON, could be wrong: the producer hears how much it has."""
    async with a_house() as house:
        nano = await house.device("nano", answer("never"))
        last = await (await house.stream(job="j1", resume="Once", resends=1, **fields)).error()

        assert ("interrupted", 4, 0) == (last.error.code, last.error.details["delivered_chars"], len(nano.attempts))


@pytest.mark.parametrize("verb", ["cancel", "status"])
async def test_an_order_for_an_unknown_job_is_answered(a_house: OpenHouse, verb: str) -> None:
    """Who asks by hand hears that nobody knows the job, instead of waiting."""
    async with a_house() as house:
        body = await house.order("nobody", verb)

        assert ("unknown", False, "unknown_job") == (body["state"], body["cancelled"], body["error"]["code"])


async def test_a_newcomer_in_the_very_moment_of_the_first(a_house: OpenHouse) -> None:
    """Two of the same id, one behind the other on the wire: one runs, both are accepted once each."""
    async with a_house() as house:
        nano = await house.device("nano", answer("x", "y"))
        both = [await house.stream(job="j1") for _ in range(2)]
        for one in both:
            await one.end()

        assert (1, ["xy", "xy"], [1, 1]) == (
            len(nano.attempts),
            [one.text for one in both],
            [sum(isinstance(frame, Ack) for frame in one.frames) for one in both],
        )
