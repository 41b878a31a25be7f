"""The sixteen signals: each by its definition, all bounded, for any text."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messages import ChatRequest, Message, Role
from dispatcher.routing import features
from dispatcher.routing.signals import HEAD_CHARS, SIGNALS, signals


def signal(name: str, text: str) -> float:
    """One of the signals of a text."""
    return signals(text)[SIGNALS.index(name)]


def damped(count: int, full: int) -> float:
    """The scale of counts: 0 for none, 1 for `full`."""
    return log(1 + count) / log(1 + full)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("length", "x" * 99, damped(99, 8000)),
        ("length", "x" * 9000, 1.0),
        ("words", "one two three", damped(3, 1500)),
        ("words", "über 12 naïve", damped(2, 1500)),  # numbers are no words, other letters are letters
        ("word_length", "abcd ab", 3 / 12),
        ("word_length", "a" * 50, 1.0),
        ("distinct", "The the cat sat", 3 / 4),  # in lower case
        ("sentences", "One. Two? Three! Four", damped(4, 60)),
        ("sentences", "3.5", 0.0),  # no words, no sentence
        ("lines", "a\nb\nc", damped(2, 100)),
        ("numbers", "12 and 3.5", damped(3, 50)),  # 12, 3, 5
        ("largest", "7 123 45", 3 / 9),
        ("largest", "9" * 12, 1.0),
        ("parts", "half of each, twice", damped(3, 12)),
        ("math", "x = 2 + 3", damped(2, 40)),
        ("code", "def f():\n    return 1", 2 / 12),  # "def " and "return "
        ("options", "Which?\nA. one\nB. two\nC. three", 3 / 6),
        ("options", "Which?\n(a) one\n(b) two", 2 / 6),
        ("options", "A dog. A cat", 0.0),  # an article is no option
        ("capitals", "ABcd efgh", 4 * 2 / 8),
        ("capitals", "ABC", 1.0),
        ("punctuation", "a, b. c d ", 4 * 2 / 10),
        ("punctuation", "日本語", 0.0),  # letters of another script
        ("asks", "Why is this not true?", damped(3, 12)),  # why, not, true
        ("hard", "Prove it, prove it and explain", 2 / 5),  # each kind once
    ],
)
def test_a_signal_is_what_its_definition_says(name: str, text: str, expected: float) -> None:
    """The comment beside each name, by example."""
    assert expected == pytest.approx(signal(name, text))


@given(st.text())
def test_all_signals_of_any_text_are_bounded(text: str) -> None:
    """Sixteen numbers in [0, 1], whatever was sent: control characters, half characters, nothing."""
    found = signals(text)

    assert (len(SIGNALS), True) == (len(found), all(0.0 <= value <= 1.0 for value in found))


@pytest.mark.parametrize("text", ["", "\x00\x00", "\ud800", "?" * 100_000, "9" * 100_000, "a " * 100_000])
def test_odd_texts_are_bounded_too(text: str) -> None:
    """What generated texts rarely are: empty, NUL, half a character, huge."""
    assert all(0.0 <= value <= 1.0 for value in signals(text))


def test_of_a_long_text_only_the_length_is_more_than_its_head() -> None:
    """Two texts with one head differ in `length` alone."""
    head = "Why is x = 3? " * (HEAD_CHARS // 14 + 1)
    short, long = signals(head[:HEAD_CHARS]), signals(head[:HEAD_CHARS] + "999999 PROVE; " * 200)

    assert ["length"] == [name for name, a, b in zip(SIGNALS, short, long, strict=True) if a != b]


def test_signals_have_names_of_their_own() -> None:
    """Sixteen different names."""
    assert 16 == len(set(SIGNALS))


def test_features_hold_the_signals_of_the_last_user_turn() -> None:
    """What the assistant said, and what was asked before, is not what is asked now."""
    turns = [
        Message(role=Role.USER, content="Prove it"),
        Message(role=Role.USER, content="What is 2 + 2?"),
        Message(role=Role.ASSISTANT, content="4"),
    ]

    assert signals("What is 2 + 2?") == features(ChatRequest(), turns).signals
