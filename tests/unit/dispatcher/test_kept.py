"""Finished answers are kept for a while: bounded by age, number and size."""

from __future__ import annotations

from typing import Any

import pytest

from common.frames import End
from common.messages import ToolCall
from dispatcher.delivery.answer import Ended
from dispatcher.delivery.kept import ReplayCache


class Hand:
    """A clock that a test turns."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def ended(text: str = "x") -> Ended:
    return Ended(text=text, end=End(), route={})


def kept(clock: Hand, *, entries: int = 10, size_bytes: int = 1 << 20) -> ReplayCache:
    return ReplayCache(clock, ttl_s=60.0, entries=entries, size_bytes=size_bytes)


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
    one_bytes = weight(ended("x" * 300))
    answers = kept(clock, size_bytes=2 * one_bytes + 100)
    for name in ("a", "b"):
        answers.put(("t", name), "f", ended("x" * 300))
    answers.put(("t", "huge"), "f", ended("x" * one_bytes))
    two = (len(answers), answers.size_bytes)
    answers.put(("t", "c"), "f", ended("x" * 299))
    answers.put(("t", "d"), "f", ended("x" * 299))
    after = {name for name in "abcd" if answers.get(("t", name)) is not None}
    clock.now_s = 60.0
    answers.sweep()

    assert ((2, 2 * one_bytes), {"c", "d"}, 0, 0) == (two, after, len(answers), answers.size_bytes)


def weight(one: Ended) -> int:
    """Give what an answer counts for."""
    answers = kept(Hand())
    answers.put(("t", "j"), "f", one)
    return answers.size_bytes


def deep(levels: int) -> list[Any]:
    """Lists in one another."""
    whole: list[Any] = []
    for _ in range(levels):
        whole = [whole]
    return whole


@pytest.mark.parametrize(
    ("arguments", "least_bytes"),
    [({"x": "y" * 100_000}, 100_000), ({"x": list(range(1000, 11_000))}, 80_000), ({"x": deep(5000)}, 5000 * 56)],
    ids=["a long text", "many numbers", "deep"],
)
def test_tool_calls_and_the_account_count(arguments: dict[str, Any], least_bytes: int) -> None:
    """An answer may have no text and be large all the same."""
    plain = weight(ended())
    calls = weight(Ended(text="x", end=End(tool_calls=(ToolCall(name="f", arguments=arguments),)), route={}))
    account = weight(Ended(text="x", end=End(), route=arguments))

    assert (True, True) == (calls - plain >= least_bytes, account - plain >= least_bytes)


def test_no_room_keeps_nothing() -> None:
    """0 entries switches replays off."""
    answers = kept(Hand(), entries=0)
    answers.put(("t", "j"), "f", ended())

    assert 0 == len(answers)


@pytest.mark.parametrize(("most_s", "age_s", "found"), [(5.0, 4.9, True), (5.0, 5.0, False), (90.0, 60.0, False)])
def test_an_answer_may_be_kept_for_less(most_s: float, age_s: float, found: bool) -> None:
    """One that is older than it looks is kept for less than the others, and never for longer."""
    clock = Hand()
    answers = kept(clock)
    answers.put(("t", "j"), "f", ended(), most_s=most_s)
    clock.now_s = age_s

    assert found == (answers.get(("t", "j")) is not None)
