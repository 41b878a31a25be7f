"""What one party sees: frames as they come, frames at the end, or one reply; always one end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from common import codec, frames
from common.bus import Delivery
from common.bus.memory import MemoryBroker, MemoryBus, connect_memory
from common.codec import Encoding
from common.errors import BadRequest, InternalError, Interrupted, PayloadTooLarge
from common.frames import End, KeepAlive, Phase
from common.messages import ToolCall, Usage
from dispatcher.delivery.answer import SharedAnswer
from dispatcher.delivery.audience import Audience
from dispatcher.delivery.listener import PIECE_CHARS, Listener, refuse, seat
from tests.unit.dispatcher.builders import candidate, job

ROUTE: dict[str, Any] = {"device": "nano", "model": "llama3.2:1b", "reason": "why not"}


class Wire:
    """A bus, and all that arrived at the producer's inbox."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.arrived: list[Delivery] = []

    def producer(self, **fields: Any) -> SharedAnswer:
        """An answer with one listener."""
        asked = job(**fields)
        answer = SharedAnswer(asked.id, lambda _: None)
        answer.add(Listener(self.bus, seat(asked), "", lambda: None))
        return answer

    async def seen(self) -> list[dict[str, Any] | None]:
        """What has arrived, decoded; None stands for the empty payload."""
        await asyncio.sleep(0)
        return [codec.decode(one.data) if one.data else None for one in self.arrived]

    async def kinds(self) -> list[str]:
        """The frames by their type."""
        return ["" if one is None else str(one.get("t", "reply")) for one in await self.seen()]


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with connect_memory(MemoryBroker()) as bus:
        one = Wire(bus)
        await bus.subscribe("_INBOX.test", one.arrived.append)
        yield one


async def everything(out: SharedAnswer) -> None:
    """A whole answer of three pieces, with all that may come before."""
    await out.ack()
    await out.route(candidate(), 1)
    await out.keep_alive(KeepAlive(Phase.LOAD))
    for piece in ("a", "b", "c"):
        await out.token(piece)
    await out.end(End(usage=Usage(prompt_tokens=1, completion_tokens=3)), ROUTE)


async def test_a_stream_shows_text_as_it_comes(wire: Wire) -> None:
    """A streaming producer sees each piece at once, numbered from 0, then one end, then the empty payload."""
    await everything(wire.producer(stream=True))
    seen = await wire.seen()

    assert ["ack", "route", "ka", "tok", "tok", "tok", "end", ""] == await wire.kinds()
    assert ([(0, "a"), (1, "b"), (2, "c")], 3, ROUTE) == (
        [(one["s"], one["d"]) for one in seen if one and one["t"] == "tok"],
        seen[-2] and seen[-2]["s"],
        seen[-2] and seen[-2]["route"],
    )


async def test_held_text_comes_when_it_is_complete(wire: Wire) -> None:
    """A producer that holds sees the steps, and the whole text at the end, in one piece."""
    await everything(wire.producer(stream=True, hold=True))
    seen = await wire.seen()

    assert (["ack", "route", "ka", "tok", "end", ""], "abc", 1) == (
        await wire.kinds(),
        seen[3] and seen[3]["d"],
        seen[4] and seen[4]["s"],
    )


async def test_one_reply_is_one_reply(wire: Wire) -> None:
    """A producer that does not stream gets a single message with everything in it."""
    out = wire.producer()
    await everything(out)

    assert [
        {
            "job": "job-1",
            "text": "abc",
            **ROUTE,
            "finish": "stop",
            "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
            "route": ROUTE,
        }
    ] == await wire.seen()


@pytest.mark.parametrize("way", [{}, {"stream": True}], ids=["one reply", "frames"])
async def test_whoever_did_not_hear_the_end_hears_of_the_bug(wire: Wire, way: dict[str, Any]) -> None:
    """An answer without an account can't be told to one that waits for one reply; the error can, and who has heard an end hears no
    second one."""
    out = wire.producer(**way)
    await out.ack()
    with ExitStack() as stack:
        if not way:
            stack.enter_context(pytest.raises(KeyError))
        await out.end(End(), {})
    await out.error(InternalError("a bug of ours"))

    assert (["reply", ""] if not way else ["ack", "end", ""]) == await wire.kinds()
    assert ("internal" in str((await wire.seen())[0])) is not bool(way)


async def test_tool_calls_stand_in_the_reply(wire: Wire) -> None:
    """The one reply carries the functions that the model wants called."""
    await wire.producer().end(End(tool_calls=(ToolCall(name="f", arguments={"x": 1}),)), ROUTE)
    (seen,) = await wire.seen()

    assert [{"name": "f", "arguments": {"x": 1}}] == (seen and seen["tool_calls"])


@pytest.mark.parametrize(
    ("fields", "visible", "streams"),
    [({"stream": True}, 3, True), ({"stream": True, "hold": True}, 0, False), ({}, 0, False)],
)
async def test_only_streamed_text_is_visible(wire: Wire, fields: dict[str, Any], visible: int, streams: bool) -> None:
    """Text counts as visible when the producer has it."""
    out = wire.producer(**fields)
    await out.token("abc")

    assert (visible, streams, "abc") == (out.visible_chars, out.streams, out.text)


async def test_a_restart_forgets_what_nobody_saw(wire: Wire) -> None:
    """The text of a failed attempt is gone, unless it is visible: then the next attempt goes on behind it."""
    held, streamed = wire.producer(stream=True, hold=True), wire.producer(stream=True)
    for out in (held, streamed):
        await out.token("first ")
        out.restart()
        await out.token("second")

    assert ("second", "first second") == (held.text, streamed.text)


async def test_a_failed_stream_ends_once(wire: Wire) -> None:
    """An error is the terminal frame of a stream, and the empty payload follows."""
    out = wire.producer(stream=True)
    await out.error(Interrupted("broke off", delivered_chars=5), ROUTE)
    seen = await wire.seen()

    assert (["err", ""], "interrupted", ROUTE) == (
        await wire.kinds(),
        seen[0] and seen[0]["code"],
        seen[0] and seen[0]["route"],
    )


@pytest.mark.parametrize("stream", [True, False])
async def test_after_the_end_nothing_more_is_written(wire: Wire, stream: bool) -> None:
    """Whatever fails after the terminal frame, the producer sees no second one."""
    out = wire.producer(stream=stream)
    await out.end(End(), ROUTE)
    before = await wire.seen()
    await out.error(Interrupted("too late"))

    assert before == await wire.seen()


class SlowBus(MemoryBus):
    """A bus that is congested until it is let go."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.reached = asyncio.Event()
        self.free = asyncio.Event()

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self.reached.set()
        await self.free.wait()
        await super().publish(subject, data, reply=reply, headers=headers)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("first", ["end", "error"])
async def test_two_writers_write_one_end(stream: bool, first: str) -> None:
    """While the first waits for a congested bus the second finds that the end is written already."""
    broker = MemoryBroker()
    bus = SlowBus(broker)
    async with connect_memory(broker) as world:
        wire = Wire(world)
        await world.subscribe("_INBOX.test", wire.arrived.append)
        listener = Listener(bus, seat(job(stream=stream)), "", lambda: None)
        ways = [listener.end("abc", End(), ROUTE), listener.error(Interrupted("too late"))]
        async with asyncio.TaskGroup() as tasks:
            for way in ways if first == "end" else reversed(ways):
                tasks.create_task(way)
            await bus.reached.wait()
            bus.free.set()
        kinds = await wire.kinds()

    assert 1 == len([kind for kind in kinds if kind])


async def test_a_listener_that_can_t_be_reminded_is_let_go(wire: Wire) -> None:
    """Whatever the error: the others hear on, and whoever ticks for all is not ended."""

    class Odd(Listener):
        async def tick(self, frame: frames.Frame) -> None:
            raise BadRequest(f"no subject for {frame}")

    asked = job(stream=True)
    out = wire.producer(stream=True)
    await out.ack()
    odd = Odd(wire.bus, seat(asked), "", lambda: None)
    out.add(odd)
    await out.tick(0.0)

    assert (True, 1) == (odd.finished, len(out.listeners))


async def test_a_bug_in_one_reminder_stops_no_other(wire: Wire) -> None:
    """The audience ticks for all answers; one that crashes is logged."""
    ticked: list[str] = []

    class Crashing(SharedAnswer):
        async def tick(self, now_s: float) -> None:
            raise RuntimeError(f"a bug at {now_s}")

    class Noting(SharedAnswer):
        async def tick(self, now_s: float) -> None:
            ticked.append(f"at {now_s:g}")

    hall = Audience(wire.bus)
    for answer in (Crashing("a", lambda _: None), Noting("b", lambda _: None)):
        hall.seated(seat(job(stream=True)), answer)
    await hall.tick(7.0)

    assert ["at 7"] == ticked


async def test_a_refusal_is_a_service_error(wire: Wire) -> None:
    """A failed request without a stream gets a readable body, and the code in the headers of a NATS service."""
    await wire.producer().error(BadRequest("say\nsomething é", param="prompt"))
    body = (await wire.seen())[0]

    assert (
        {
            "error": {
                "code": "bad_request",
                "message": "say\nsomething é",
                "retry": False,
                "details": {"param": "prompt"},
            },
            "job": "job-1",
        }
    ) == body
    assert {"Nats-Service-Error": "say?something ?", "Nats-Service-Error-Code": "bad_request"} == dict(
        wire.arrived[0].headers
    )


async def test_a_refusal_is_written_as_the_request_was(wire: Wire) -> None:
    """A MessagePack request is refused in MessagePack."""
    await refuse(wire.bus, "_INBOX.test", BadRequest("no"), Encoding.MSGPACK)
    await wire.seen()

    assert Encoding.MSGPACK is codec.sniff(wire.arrived[0].data)


async def test_nobody_to_refuse(wire: Wire) -> None:
    """A message without a reply subject is refused in silence."""
    await refuse(wire.bus, "", BadRequest("no"), Encoding.JSON)

    assert [] == await wire.seen()


@pytest.mark.parametrize("hold", [True, False])
async def test_long_text_is_cut_into_what_the_bus_carries(wire: Wire, hold: bool) -> None:
    """Text of a megabyte that JSON writes with six bytes a character arrives whole, in numbered pieces."""
    text = "\x01" * (3 * PIECE_CHARS + 7)
    out = wire.producer(stream=True, hold=hold)
    await out.token(text)
    await out.end(End(), ROUTE)
    tokens = [one for one in await wire.seen() if one and one["t"] == "tok"]

    assert (text, [0, 1, 2, 3]) == ("".join(one["d"] for one in tokens), [one["s"] for one in tokens])


async def test_a_reply_that_is_too_long_is_an_error(wire: Wire) -> None:
    """One reply can't be cut: the producer is told so, and whoever keeps the record too."""
    out = wire.producer()
    await out.token("x" * (wire.bus.max_payload + 1))
    with pytest.raises(PayloadTooLarge):
        await out.end(End(), ROUTE)

    assert "too_large" == ((await wire.seen())[0] or {})["error"]["code"]


async def test_an_empty_piece_is_no_frame(wire: Wire) -> None:
    """Nothing to show is not shown."""
    await wire.producer(stream=True).token("")

    assert [] == await wire.seen()


def test_a_frame_and_its_end_read_back() -> None:
    """What this writes, the client's reader understands."""
    end = End(tokens=2, route=ROUTE)

    assert end == frames.from_wire(codec.decode(codec.encode(frames.to_wire(end))))
