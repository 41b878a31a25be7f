"""A job that goes well: what the producer, the device and the operator see."""

from __future__ import annotations

import pytest

from common import codec
from common.codec import Encoding
from common.frames import Ack, End, KeepAlive, Phase, RouteNote
from common.messages import ToolCall
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.scripted import MODEL, Attempt, Hold, answer, go_on, until

BOTH = pytest.mark.parametrize("encoding", list(Encoding))


async def test_a_stream_runs_through(a_house: OpenHouse) -> None:
    """A streaming producer sees ack, route, text and end, and the account says who answered."""
    async with a_house() as house:
        await house.device("nano", answer("Hello", ", ", "world"))
        stream = await house.stream(job="j1")
        end = await stream.end()
        note = await stream.seen(RouteNote)

        assert ("Hello, world", ["Ack", "RouteNote", "Token", "End"]) == (stream.text, stream.kinds)
        assert Ack("j1") == stream.frames[0]
        assert isinstance(note, RouteNote)
        assert ("j1", "nano", MODEL, 1) == (note.job, note.device, note.model, note.attempt)
        assert end.route is not None
        assert ("nano", MODEL, "ok", 3) == (
            end.route["device"],
            end.route["model"],
            end.route["attempts"][0]["outcome"],
            end.usage.completion_tokens,
        )


async def test_text_comes_as_it_is_made(a_house: OpenHouse) -> None:
    """The producer has the first words while the device still thinks."""
    async with a_house() as house:
        hold = Hold("first", then=go_on("second"))
        await house.device("nano", hold)
        stream = await house.stream()
        await until(lambda: stream.text == "first", "the first words")
        before = stream.ended
        hold.released.set()
        await stream.end()

        assert (False, "firstsecond") == (before, stream.text)


async def test_one_reply_has_it_all(a_house: OpenHouse) -> None:
    """A request that does not stream gets one message with text, device, model, reason and usage."""
    async with a_house() as house:
        await house.device("nano", answer("Hello", " world"))
        body = await (await house.ask(job="j1")).reply()

        assert ("j1", "Hello world", "nano", MODEL, "stop", 9) == (
            body["job"],
            body["text"],
            body["device"],
            body["model"],
            body["finish"],
            body["usage"]["total_tokens"],  # 7 + 2
        )


async def test_held_text_comes_at_the_end(a_house: OpenHouse) -> None:
    """A producer that holds sees steps while the device speaks, and the text when it is complete."""
    async with a_house() as house:
        hold = Hold("some", then=go_on(" text"))
        nano = await house.device("nano", hold)
        stream = await house.stream(hold=True)
        await hold.reached.wait()
        await nano.attempts[0].send(KeepAlive(Phase.DECODE))
        await stream.seen(KeepAlive)
        before = stream.text
        hold.released.set()
        await stream.end()

        assert ("", "some text", False) == (before, stream.text, nano.attempts[0].dispatch.stream)


@BOTH
async def test_streams_are_answered_in_kind(a_house: OpenHouse, encoding: Encoding) -> None:
    """Each frame is written as the request was."""
    async with a_house() as house:
        await house.device("nano", answer("hi"))
        stream = await house.stream(encoding=encoding)
        await stream.end()

        assert {encoding} == {codec.sniff(one.data) for one in stream.arrived if one.data}


@BOTH
async def test_replies_are_answered_in_kind(a_house: OpenHouse, encoding: Encoding) -> None:
    """The one reply, and a refusal, are written as the request was."""
    async with a_house() as house:
        await house.device("nano", answer("hi"))
        good, bad = await house.ask(encoding=encoding), await house.ask("", encoding=encoding)
        await good.reply()
        await bad.reply()

        assert (encoding, encoding) == (codec.sniff(good.arrived[0].data), codec.sniff(bad.arrived[0].data))


async def test_a_device_hears_the_whole_request(a_house: OpenHouse) -> None:
    """The dispatch carries messages, options, tools, format, deadline, attempt, and who sent it."""
    async with a_house() as house:
        nano = await house.device("nano", answer("{}"))
        tools = [{"type": "function", "function": {"name": "f"}}]
        stream = await house.stream(
            "what", model=MODEL, options={"temperature": 0.5, "stop": ["x"]}, tools=tools, format="json", job="j1"
        )
        await stream.end()
        dispatch = nano.attempts[0].dispatch

        assert (
            "j1",
            1,
            MODEL,
            ["what"],
            True,
            0.5,
            ("x",),
            tools,
            "json",
            True,
            house.pipeline.courier.dispatcher,
        ) == (
            dispatch.job,
            dispatch.attempt,
            dispatch.model,
            [message.content for message in dispatch.messages],
            dispatch.stream,
            dispatch.options.temperature,
            dispatch.options.stop,
            list(dispatch.tools),
            dispatch.format,
            dispatch.deadline_ms is not None,
            dispatch.dispatcher,
        )


async def test_tool_calls_come_through(a_house: OpenHouse) -> None:
    """The functions that a model wants called reach the producer."""
    async with a_house() as house:
        calls = (ToolCall(name="f", arguments={"x": [1, 2]}),)
        await house.device("nano", answer(tool_calls=calls))
        stream = await house.stream(tools=[{"type": "function"}])

        assert calls == (await stream.end()).tool_calls


async def test_keep_alives_come_through(a_house: OpenHouse) -> None:
    """While a device loads, the producer hears so, with the time that it may take."""
    async with a_house() as house:
        hold = Hold(then=go_on("x"))
        nano = await house.device("nano", hold)
        stream = await house.stream()
        await hold.reached.wait()
        await nano.attempts[0].send(KeepAlive(Phase.LOAD, eta_s=1.5))
        frame = await stream.seen(KeepAlive)
        hold.released.set()
        await stream.end()

        assert KeepAlive(Phase.LOAD, 1.5) == frame


async def test_the_event_tells_operators(a_house: OpenHouse) -> None:
    """`evt.job.done.<job>` summarises the job, without its text."""
    async with a_house() as house:
        await house.device("nano", answer("a", "b"))
        await (await house.stream("secret", job="j1")).end()
        event = await house.event("j1")

        assert ("done", "default", "nano", 2, 1) == (
            event["state"],
            event["tenant"],
            event["device"],
            event["completion_tokens"],
            event["attempts"],
        )
        assert (["llm.v1.evt.job.done.j1"], False) == (house.job_subjects, "secret" in str(event))


async def test_many_jobs_at_once_stay_apart(a_house: OpenHouse) -> None:
    """Fifty streams over three devices each get their own answer, and no device more than its slots."""

    async def echo(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.tokens(*attempt.dispatch.messages[0].content.split("-"))
        await attempt.end()

    async with a_house() as house:
        devices = [await house.device(name, echo, slots=2) for name in ("nano", "orin", "pi5")]
        streams = [await house.stream(f"{number}-x-{number}") for number in range(50)]
        ends = [await stream.end() for stream in streams]

        assert [f"{number}x{number}" for number in range(50)] == [stream.text for stream in streams]
        assert 50 == sum(isinstance(end, End) for end in ends)
        assert [] == [one.name for one in devices if one.most_at_once > 2]


async def test_a_long_answer_is_too_large_for_one_reply(a_house: OpenHouse) -> None:
    """An answer that the bus does not carry in one message is a typed error, and comes through as a stream."""
    async with a_house() as house:
        await house.device("nano", answer(*["x" * 200_000] * 6))
        body = await (await house.ask()).reply()
        stream = await house.stream()
        await stream.end()

        assert ("too_large", 1_200_000) == (body["error"]["code"], len(stream.text))
