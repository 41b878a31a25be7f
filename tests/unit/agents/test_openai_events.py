"""The events of a stream, however its bytes are cut, and how much of one is kept."""

from __future__ import annotations

from typing import Any

import pytest

from agents.backends.openai_events import MOST_ANSWER_BYTES, MOST_EVENT_BYTES, Events
from common.errors import GarbledReply

STREAM = b'data: {"a":1}\n\n: a comment\nevent: x\r\ndata:{"b":\r\ndata: "\xc3\xa9"}\r\n\r\ndata: [DONE]\n\ndata: {"late":1}\n\n'


def fed(stream: bytes, size: int) -> list[dict[str, Any]]:
    events = Events("cloud")
    return [one for start in range(0, len(stream), size) for one in events.feed(stream[start : start + size])]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_however_the_bytes_are_cut(size: int) -> None:
    """Both ends of lines, an event of two lines, comments; nothing behind the end."""
    assert fed(STREAM, size) == [{"a": 1}, {"b": "é"}]


@pytest.mark.parametrize("data", [b"[1]", b"{broken", b"7", b'"x"'])
def test_an_event_that_is_no_object(data: bytes) -> None:
    """It is not guessed at."""
    with pytest.raises(GarbledReply, match="no JSON object"):
        fed(b"data: " + data + b"\n\n", 10)


@pytest.mark.parametrize("end", [b"", b"\ndata: "])
def test_an_event_that_never_ends(end: bytes) -> None:
    """One line of it, or many: no more than the limit is kept."""
    part = b"x" * 100_000 + end
    parts = [b"data: " + part, *[part] * 100]

    assert taken(parts) == (MOST_EVENT_BYTES // 100_000, "an event of more than 4 MiB")


def test_an_answer_that_never_ends() -> None:
    """Small events, without end."""
    part = (b'data: {"a":"' + b"x" * 1000 + b'"}\n\n') * 140

    assert taken([part] * 1000) == (MOST_ANSWER_BYTES // len(part), "more than 64 MiB for one answer")


def taken(parts: list[bytes]) -> tuple[int, str]:
    """Feed parts until they are too much; gives how many were taken, and what was said then."""
    events = Events("cloud")
    for count, part in enumerate(parts):
        try:
            list(events.feed(part))
        except GarbledReply as error:
            return count, error.message.removeprefix("cloud sent ")
    raise AssertionError("all of them were taken")
