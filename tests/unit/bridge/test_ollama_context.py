"""The context of `/api/generate`: a conversation that its client keeps."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import BadRequest
from dispatcher.bridge.ollama.context import MOST_BYTES, MOST_NUMBER, MOST_NUMBERS, recall, remember

WORDS = st.text(st.characters(codec="utf-8"), max_size=60)
EXCHANGES = st.lists(st.tuples(WORDS, WORDS), max_size=6)


def turns(exchanges: list[tuple[str, str]], system: str = "") -> list[dict[str, str]]:
    said = [{"role": role, "content": one[n]} for one in exchanges for n, role in enumerate(("user", "assistant"))]
    return [{"role": "system", "content": system}, *said] if system else said


@settings(max_examples=60)
@given(EXCHANGES, WORDS)
def test_what_is_written_is_read_again(exchanges: list[tuple[str, str]], system: str) -> None:
    """Any conversation, word for word; as numbers that any language has."""
    told = turns(exchanges, system)
    numbers = remember(told)

    assert told == recall(numbers)
    assert all(0 <= one <= MOST_NUMBER for one in numbers)


@settings(max_examples=100)
@given(st.data())
def test_what_was_changed_is_refused(data: st.DataObject) -> None:
    """One number that differs, or is missing, is no other conversation."""
    numbers = remember(turns([("What is the capital of Ghana?", "Accra.")]))
    place = data.draw(st.integers(0, len(numbers) - 1))
    other = data.draw(st.integers(0, MOST_NUMBER).filter(lambda one: one != numbers[place]))
    changed = [*numbers[:place], *data.draw(st.sampled_from([[], [other]])), *numbers[place + 1 :]]

    with pytest.raises(BadRequest) as caught:
        recall(changed)
    assert "context" == caught.value.details["param"]


def test_what_fills_it_up_is_checked_too() -> None:
    """Of an odd number of bytes the last number is half a filling, which no checksum sees."""
    written = [remember(turns([("x" * n, "yes")])) for n in range(20)]
    odd = next(numbers for numbers in written if numbers[1] == 1)

    with pytest.raises(BadRequest):
        recall([*odd[:-1], odd[-1] + 1])


@settings(max_examples=100)
@given(st.lists(st.integers(0, MOST_NUMBER), min_size=1, max_size=40))
def test_what_others_wrote_is_refused(numbers: list[int]) -> None:
    """An Ollama server's tokens are not a conversation here, and nothing worse than a refusal."""
    with pytest.raises(BadRequest):
        recall(numbers)


def test_a_long_conversation_loses_its_beginning() -> None:
    """The system text stays, and the latest turns, from a question on; it comes back whole."""
    many = turns([(f"question {n} " + "x" * 400, "answer " + "y" * 400) for n in range(1000)], "be brief")
    numbers = remember(many)
    kept = recall(numbers)

    assert (many[0], many[-1], "user") == (kept[0], kept[-1], kept[1]["role"])
    assert 200 < len(kept) < 400
    assert len(numbers) <= MOST_NUMBERS


def test_what_is_too_long_by_itself_is_forgotten() -> None:
    """The list is not empty for that: clients take an empty one for missing."""
    numbers = remember(turns([("x" * MOST_BYTES, "yes")]))

    assert [] == recall(numbers)
    assert numbers


def test_a_bomb_is_not_unpacked() -> None:
    """What says more than was ever written here is refused before it is all there."""
    packed = zlib.compress(b'{"turns":[' + b" " * 5_000_000 + b"]}", 9)
    data = struct.pack(">I", zlib.crc32(packed)) + packed
    odd = len(data) % 2
    numbers = [remember([])[0], odd, *struct.unpack(f">{(len(data) + odd) // 2}H", data + b"\0" * odd)]

    with pytest.raises(BadRequest):
        recall(numbers)


def test_images_and_tools_stay_behind() -> None:
    """It is text that is remembered."""
    asked: dict[str, Any] = {"role": "user", "content": "what is this?", "images": ("abc",)}
    told = [asked, {"role": "assistant", "content": "a cat"}]

    assert turns([("what is this?", "a cat")]) == recall(remember(told))
