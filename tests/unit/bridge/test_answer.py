"""Answers while nothing is heard of their jobs, and answers whose source breaks: in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from itertools import pairwise
from typing import Any

import pytest

from common import frames
from common.clock import LoopClock
from common.errors import QueueFull
from common.messages import ChatRequest, Usage
from dispatcher.bridge.answer import KEEP_ALIVE_S, ROUTELESS_S, ChatAnswer, Manner, Means
from dispatcher.bridge.native.chat import NativeDialect
from dispatcher.bridge.openai.chat import ChatDialect
from dispatcher.bridge.speech import Dialect
from dispatcher.bridge.sse import STALLED_READER_S, Curfew
from tests.simulation.loop import run

ASKED = ChatRequest(prompt="hi", job="j1")
ROUTE = frames.RouteNote("j1", "nano", "llama3.2:1b", "hybrid", 1)
DIALECTS: dict[str, Callable[[], Dialect]] = {
    "openai": lambda: ChatDialect(job="j1", created=1),
    "native": lambda: NativeDialect(job="j1"),
}


class Reader:
    """A client that notes when it got what; its buffers take no more than `most` pieces, and then nothing for ever."""

    def __init__(self, most: float = float("inf")) -> None:
        self.got: list[tuple[float, Any]] = []
        self._most = most

    async def send(self, message: Any) -> None:
        if len(self.got) >= self._most:
            await asyncio.Event().wait()
        self.got.append((asyncio.get_running_loop().time(), message))

    async def receive(self) -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError("it never hangs up")

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for _, message in self.got)

    def times(self) -> list[float]:
        """When there was something to read, each time once."""
        return sorted({at for at, message in self.got if message.get("body") or "status" in message})


def answer_of(source: AsyncGenerator[frames.Frame, None], *, api: str = "openai", **manner: Any) -> ChatAnswer:
    means = Means(clock=LoopClock(), curfew=Curfew())
    return ChatAnswer(ASKED, source, DIALECTS[api](), Manner(stream=True, **manner), means)


async def sent(answer: Callable[[], ChatAnswer], reader: Reader) -> str:
    """Give an answer to a reader, and its outcome."""
    made = answer()
    await made({"type": "http"}, reader.receive, reader.send)
    return made.outcome


async def silent(before_s: float, after_s: float) -> AsyncGenerator[frames.Frame, None]:
    """Nothing, while files are read, say; then a route, and nothing again while a model is loaded by a device that says nothing."""
    await asyncio.sleep(before_s)
    yield frames.Ack("j1")
    yield ROUTE
    await asyncio.sleep(after_s)
    yield frames.Token(0, "hello")
    yield frames.End(tokens=1, usage=Usage(completion_tokens=1))


@pytest.mark.parametrize("api", DIALECTS)
def test_a_stream_is_never_silent_though_no_frame_comes(api: str) -> None:
    """Its headers come when they are due, and something at least each time that clients would give up, in whatever API."""
    reader = Reader()
    run(sent(lambda: answer_of(silent(70.0, 45.0), api=api), reader))
    times = reader.times()
    gaps = [after - before for before, after in pairwise(times)]

    assert (times[0], times[-1], max(gaps) <= KEEP_ALIVE_S + 1.0, b"hello" in reader.body) == (
        ROUTELESS_S,
        115.0,
        True,
        True,
    )


def test_the_owner_s_hold_holds_without_frames_too() -> None:
    """Headers that are to wait for the first text for 20 s do so, and not longer, and name the device then."""
    reader = Reader()
    run(sent(lambda: answer_of(silent(1.0, 45.0), hold_s=20.0), reader))
    (began_s, start), *_ = reader.got

    assert (began_s, (b"x-drover-device", b"nano") in start["headers"]) == (20.0, True)


def test_a_short_answer_has_nothing_more_in_it() -> None:
    """One that is quicker than any of these times is its own frames, and ends once."""
    reader = Reader()
    run(sent(lambda: answer_of(silent(0.1, 0.1)), reader))
    ends = [message for _, message in reader.got if message.get("more_body") is False]

    assert (reader.body.count(b"data: "), len(ends), reader.got[-1][1] is ends[0]) == (4, 1, True)


def test_a_reader_that_takes_nothing_is_given_up_though_no_frame_comes() -> None:
    """The job ends with it, long before its next frame."""
    reader, closed = Reader(most=2), list[float]()

    async def source() -> AsyncGenerator[frames.Frame, None]:
        try:
            await asyncio.Event().wait()  # its next frame never comes
            yield ROUTE
        finally:
            closed.append(asyncio.get_running_loop().time())

    outcome = run(sent(lambda: answer_of(source()), reader))

    assert (closed[0] <= ROUTELESS_S + KEEP_ALIVE_S + STALLED_READER_S + 1.0, outcome) == (True, "reader_stalled")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("last", [frames.End(), frames.Err(QueueFull("full"))], ids=["end", "error"])
def test_an_answer_that_was_ended_as_it_ended_has_one_end(last: frames.End | frames.Err, *, stream: bool) -> None:
    """The bridge stops in the very turn of its last word: that has been said, and is neither said again nor made another one."""
    reader, curfew = Reader(), Curfew()

    async def source() -> AsyncGenerator[frames.Frame, None]:
        try:
            yield frames.Token(0, "hello")
            curfew.fall()
            yield last
        finally:
            await asyncio.sleep(1.0)  # what is still to be done after it

    def answer() -> ChatAnswer:
        means = Means(clock=LoopClock(), curfew=curfew)
        return ChatAnswer(ASKED, source(), DIALECTS["openai"](), Manner(stream=stream), means)

    outcome = run(sent(answer, reader))
    ends = [message for _, message in reader.got if "body" in message and not message.get("more_body")]
    said = {b"hello": isinstance(last, frames.End) or stream, b"full": isinstance(last, frames.Err)}

    assert ("ok" if isinstance(last, frames.End) else "queue_full", 1) == (outcome, len(ends))
    assert said == {word: word in reader.body for word in said}


@pytest.mark.parametrize("error", [TimeoutError(), RuntimeError("a bug")])
def test_what_breaks_a_source_is_told_as_what_it_is(error: Exception) -> None:
    """Neither that the client hung up, nor that the bridge stops: it goes on to the border that logs it, and answers 500."""

    async def source() -> AsyncGenerator[frames.Frame, None]:
        yield ROUTE
        raise error

    made = list[ChatAnswer]()

    def answer() -> ChatAnswer:
        made.append(answer_of(source()))
        return made[0]

    with pytest.raises(ExceptionGroup) as failed:
        run(sent(answer, Reader()))

    assert (failed.value.exceptions, made[0].outcome) == ((error,), "internal")
