"""What waits for a slow reader: as text, in order, with nothing lost and no loss hidden."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import codec, frames
from common.bus import Delivery
from common.chat_inbox import MOST_WAITING, ChatInbox
from common.errors import GarbledReply, Interrupted

BEAT = frames.KeepAlive(frames.Phase.DECODE)


def put(inbox: ChatInbox, frame: frames.Frame) -> None:
    inbox.put(1, Delivery("_INBOX.x", codec.encode(frames.to_wire(frame))))


async def read(inbox: ChatInbox) -> list[frames.Frame]:
    return [frame async for frame in inbox.read(1.0)]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 120), st.text(max_size=3)), max_size=12))
async def test_all_text_arrives_in_order_however_it_is_put_together(parts: list[tuple[int, str]]) -> None:
    """With other frames between: the pieces are fewer, the text is the same, and the end still counts them all."""
    inbox, said, number = ChatInbox(), [], 0
    for pieces, text in parts:
        for _ in range(pieces):
            put(inbox, frames.Token(number, text))
            said.append(text)
            number += 1
        put(inbox, BEAT)
    put(inbox, frames.End(tokens=number))
    got = await read(inbox)

    assert "".join(said) == "".join(frame.text for frame in got if isinstance(frame, frames.Token))
    assert len(parts) == sum(isinstance(frame, frames.KeepAlive) for frame in got)
    assert isinstance(got[-1], frames.End)


async def test_a_reader_that_stands_still_costs_its_text() -> None:
    """Twenty thousand pieces wait in less than a hundredth of that many messages' room."""
    inbox = ChatInbox()
    tracemalloc.start()
    try:
        for number in range(20_000):
            put(inbox, frames.Token(number, "word "))
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    put(inbox, frames.End(tokens=20_000))
    got = await read(inbox)

    assert held_bytes < 1_000_000
    assert (len(got) <= MOST_WAITING + 2, "word " * 20_000) == (
        True,
        "".join(frame.text for frame in got if isinstance(frame, frames.Token)),
    )


async def test_a_piece_that_is_missing_is_still_missed() -> None:
    """Also where it was put together with others."""
    inbox = ChatInbox()
    for number in range(2 * MOST_WAITING):
        if number != 100:
            put(inbox, frames.Token(number, "x"))

    with pytest.raises(Interrupted, match="piece 100 of the answer did not arrive"):
        await read(inbox)


async def test_what_can_not_be_read_is_told_in_its_turn() -> None:
    """Behind the text that came before it."""
    inbox, got = ChatInbox(), list[frames.Frame]()
    for number in range(MOST_WAITING):
        put(inbox, frames.Token(number, "x"))
    inbox.put(1, Delivery("_INBOX.x", b'{"t":"odd"}'))
    for number in range(MOST_WAITING, 2 * MOST_WAITING):
        put(inbox, frames.Token(number, "x"))

    async def read_on() -> None:
        async for frame in inbox.read(1.0):
            got.append(frame)  # what came before the error is asked for

    with pytest.raises(GarbledReply):
        await read_on()

    assert "x" * MOST_WAITING == "".join(frame.text for frame in got if isinstance(frame, frames.Token))
