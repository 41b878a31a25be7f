"""Finished answers are kept for a while: bounded by age, number and size."""

from __future__ import annotations

import pytest

from common.frames import End
from dispatcher.delivery.answer import Ended
from dispatcher.delivery.kept import OVERHEAD_BYTES, Kept


class Hand:
    """A clock that a test turns."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def ended(text: str = "x") -> Ended:
    return Ended(text=text, end=End(), route={})


def kept(clock: Hand, *, entries: int = 10, size_bytes: int = 1 << 20) -> Kept:
    return Kept(clock, ttl_s=60.0, entries=entries, size_bytes=size_bytes)


@pytest.mark.parametrize(("age_s", "found"), [(0.0, True), (59.9, True), (60.0, False)])
def test_an_answer_ages(age_s: float, found: bool) -> None:
    """After its time it is as if it had never been."""
    clock = Hand()
    answers = kept(clock)
    answers.put(("t", "j"), "f", ended())
    clock.now_s = age_s

    assert found == (answers.get(("t", "j")) is not None)


def test_the_least_recently_used_makes_room() -> None:
    """Of three in a room for two, the one that was asked for last stays."""
    answers = kept(Hand(), entries=2)
    for name in ("a", "b"):
        answers.put(("t", name), "f", ended())
    answers.get(("t", "a"))
    answers.put(("t", "c"), "f", ended())

    assert [True, False, True] == [answers.get(("t", name)) is not None for name in ("a", "b", "c")]


def test_the_size_is_bounded_and_counted_back() -> None:
    """Long texts push out others, one that is larger than all the room is not taken, and sweeping leaves nothing."""
    clock = Hand()
    answers = kept(clock, size_bytes=3 * OVERHEAD_BYTES)
    for name in ("a", "b"):
        answers.put(("t", name), "f", ended("x" * 300))  # 1200 bytes and the overhead: two fit
    answers.put(("t", "huge"), "f", ended("x" * OVERHEAD_BYTES))
    two = (len(answers), answers.size_bytes)
    answers.put(("t", "c"), "f", ended())
    answers.put(("t", "d"), "f", ended())
    after = {name for name in "abcd" if answers.get(("t", name)) is not None}
    clock.now_s = 60.0
    answers.sweep()

    assert ((2, 2 * (1200 + OVERHEAD_BYTES)), {"c", "d"}, 0, 0) == (two, after, len(answers), answers.size_bytes)


def test_no_room_keeps_nothing() -> None:
    """0 entries switches replays off."""
    answers = kept(Hand(), entries=0)
    answers.put(("t", "j"), "f", ended())

    assert 0 == len(answers)
