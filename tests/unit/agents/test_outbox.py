"""The frames of an attempt: gathered, numbered, in order, and nothing behind the end; over the memory bus and a held clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents.outbox import MAX_PIECES, MAX_TEXT, Outbox
from common import codec
from common.bus import Bus, Delivery
from common.bus.memory import MemoryBroker, connect_memory
from common.codec import Encoding
from common.errors import DeviceLost
from common.frames import End, Err, KeepAlive, Phase
from common.messages import ToolCall
from tests.listening import Listener, settled
from tests.unit.agents.hand_clock import HandClock

REPLY = "_INBOX_disp.d.1.1"
DECODING = KeepAlive(Phase.DECODE)


class Desk:
    """An outbox with its clock, and what came out of it."""

    def __init__(self, bus: Bus, heard: Listener) -> None:
        self.clock = HandClock()
        self._bus = bus
        self._heard = heard
        self.outbox = self.open(Encoding.JSON)

    def open(self, encoding: Encoding) -> Outbox:
        delivery = Delivery("llm.v1.dev.nano.job", codec.encode({"job": "j"}, encoding), REPLY)
        outbox = Outbox(self._bus, delivery, clock=self.clock)
        outbox.flush_s = 0.025
        return outbox

    async def payloads(self) -> list[bytes]:
        await settled(self._bus)
        return self._heard.data

    async def frames(self) -> list[dict[str, Any]]:
        return [codec.decode(data) if data else {} for data in await self.payloads()]

    async def texts(self) -> list[str]:
        return [frame["d"] for frame in await self.frames() if frame.get("t") == "tok"]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with connect_memory(MemoryBroker(max_payload=200_000)) as bus:
        heard = Listener()
        await bus.subscribe("_INBOX_disp.>", heard)
        yield Desk(bus, heard)


async def test_the_first_token_goes_out_at_once(desk: Desk) -> None:
    """Nothing was sent lately, so there is nothing to wait for."""
    await desk.outbox.text("Hello")

    assert await desk.texts() == ["Hello"]


async def test_tokens_are_gathered_until_the_flush_is_due(desk: Desk) -> None:
    """Two that come within 25 ms of the first share a message with the third, which comes after."""
    await desk.outbox.text("a")
    await desk.outbox.text("b")
    desk.clock.now_s += 0.02
    await desk.outbox.text("c")
    desk.clock.now_s += 0.01
    await desk.outbox.text("d")

    assert await desk.texts() == ["a", "bcd"]


async def test_a_full_message_does_not_wait(desk: Desk) -> None:
    """64 tokens go out, however fast they came."""
    for _ in range(1 + MAX_PIECES):
        await desk.outbox.text("x")

    assert await desk.texts() == ["x", "x" * MAX_PIECES]


async def test_the_ticker_sends_text_whose_time_has_come(desk: Desk) -> None:
    """A model that pauses doesn't hold back the text before the pause."""
    await desk.outbox.text("a")
    await desk.outbox.text("b")
    await desk.outbox.tick(DECODING)
    desk.clock.now_s += 0.03
    await desk.outbox.tick(DECODING)

    assert await desk.texts() == ["a", "b"]


async def test_a_second_of_silence_brings_a_keep_alive(desk: Desk) -> None:
    """Not before, and once a second from then on."""
    for _ in range(25):
        desk.clock.now_s += 0.1
        await desk.outbox.tick(KeepAlive(Phase.LOAD, 3.0, silent_s=2.0))

    assert await desk.frames() == [{"t": "ka", "phase": "load", "eta_ms": 3000, "silent_ms": 2000}] * 2


async def test_no_keep_alive_follows_the_end(desk: Desk) -> None:
    """A tick that was under way when the job ended sends nothing."""
    await desk.outbox.end(End())
    desk.clock.now_s += 5
    await desk.outbox.tick(DECODING)

    assert len(await desk.payloads()) == 2


async def test_the_end_counts_the_text_frames(desk: Desk) -> None:
    """What was still gathered goes out first; the empty payload is last."""
    await desk.outbox.text("a")
    await desk.outbox.text("b")
    await desk.outbox.end(End())

    frames = await desk.frames()
    assert [frame.get("t") for frame in frames] == ["tok", "tok", "end", None]
    assert frames[2]["s"] == 2


async def test_numbers_have_no_gaps(desk: Desk) -> None:
    """Whoever sends, the job or the ticker."""
    await desk.outbox.text("a")
    await desk.outbox.text("b")
    desk.clock.now_s += 0.03
    await desk.outbox.tick(DECODING)
    await desk.outbox.text("c")
    await desk.outbox.end(Err(DeviceLost("gone")))

    assert [frame["s"] for frame in await desk.frames() if frame.get("t") == "tok"] == [0, 1, 2]


async def test_a_long_text_is_cut_into_frames(desk: Desk) -> None:
    """Nothing is lost, and no frame is larger than the limit."""
    text = "ä" * (2 * MAX_TEXT + 1)

    await desk.outbox.text(text)

    texts = await desk.texts()
    assert [len(part) for part in texts] == [MAX_TEXT, MAX_TEXT, 1]
    assert "".join(texts) == text


async def test_an_end_that_the_bus_can_t_carry_becomes_an_error(desk: Desk) -> None:
    """Tool calls of 300 kB on a bus that carries 200 kB: the stream still ends, and says why."""
    await desk.outbox.end(End(tool_calls=(ToolCall(name="f", arguments={"a": "x" * 300_000}),)))

    frames = await desk.frames()
    assert (frames[0]["t"], frames[0]["code"], frames[1]) == ("err", "too_large", {})


async def test_people_see_the_acceptance_at_once(desk: Desk) -> None:
    """Whoever asks in JSON looks at it, frame by frame."""
    await desk.outbox.accept("b1")

    assert await desk.frames() == [{"t": "ack", "boot": "b1"}]


async def packed(desk: Desk) -> list[list[str]]:
    """The kinds of frames in each message of MessagePack."""
    return [[frame["t"] for frame in codec.decode_all(data)] for data in await desk.payloads()]


async def test_a_short_job_is_one_message_to_a_dispatcher(desk: Desk) -> None:
    """Acceptance, text and end leave together when nobody watches and they come within a moment; no empty payload follows."""
    outbox = desk.open(Encoding.MSGPACK)
    outbox.streams = False
    await outbox.accept("b1")
    await outbox.text("Hello")
    await outbox.end(End())

    assert await packed(desk) == [["ack", "tok", "end"]]


async def test_a_first_token_that_somebody_watches_waits_for_nothing(desk: Desk) -> None:
    """It takes the acceptance with it."""
    outbox = desk.open(Encoding.MSGPACK)
    await outbox.accept("b1")
    await outbox.text("Hello")

    assert await packed(desk) == [["ack", "tok"]]


@pytest.mark.parametrize(("waited_s", "expected"), [(0.01, []), (0.02, [["ack"]])])
async def test_an_acceptance_waits_a_moment_for_company(desk: Desk, waited_s: float, expected: list[list[str]]) -> None:
    """A dispatcher allows it half a second; it goes out alone after 20 ms."""
    outbox = desk.open(Encoding.MSGPACK)
    await outbox.accept("b1")
    desk.clock.now_s += waited_s
    await outbox.tick(DECODING)

    assert expected == await packed(desk)


async def test_frames_that_are_too_much_together_go_out_apart(desk: Desk) -> None:
    """What was held goes first, and the order stays."""
    outbox = desk.open(Encoding.MSGPACK)
    outbox.streams = False
    await outbox.accept("b1")
    await outbox.text("x" * 30_000)
    await outbox.end(End(tool_calls=(ToolCall(name="f", arguments={"a": "y" * 180_000}),)))

    assert await packed(desk) == [["ack", "tok"], ["end"]]


async def test_a_refusal_ends_with_the_empty_payload_in_any_encoding(desk: Desk) -> None:
    """Who sent it may be no dispatcher at all."""
    outbox = desk.open(Encoding.MSGPACK)
    await outbox.end(Err(DeviceLost("no")))

    assert [len(data) > 0 for data in await desk.payloads()] == [True, False]
