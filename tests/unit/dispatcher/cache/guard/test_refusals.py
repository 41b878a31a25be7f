"""What is never answered by likeness, and what must be although it looks the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.cache.guard import refusals
from dispatcher.cache.guard.personal import luhn
from dispatcher.cache.guard.reading import read
from dispatcher.cache.guard.refusals import unfit
from tests.unit.dispatcher.cache.guard.test_reading import HOSTILE, MOST_CHARS

REFUSED = {
    refusals.EMPTY: ["", "  \n", "?!", "..."],
    refusals.LONG: ["why is water wet " * 40],
    refusals.CODE: [
        "Why does this fail?\n```\nprint(1)\n```",
        "What does it print?\ndef f(x):\n    return x\nfrom os import path",
        "Traceback (most recent call last): ValueError",
    ],
    refusals.PERSONAL: [
        "Write a mail to jane.doe@example.org about the rent",
        "Is 4111 1111 1111 1111 a valid card?",
        "Which bank is DE89 3704 0044 0532 0130 00?",
        "Call +49 30 901820 and say what?",
        "Who calls from 555-123-4567?",
        "Where is order 10293847561?",
        "My SSN is 078-05-1120, is that safe?",
        "Is the password: hunter22 a strong one?",
        "My PIN is 4931, how do I change it?",
        "What does the key sk-abcdefghijklmnop1234 open?",
        "My name is Alice, write a greeting for the door",
        "How far is 221 Baker Street from the river?",
        "Is 84.12.33.9 my provider's address?",
        "I'm 45 years old, which vaccines do I need?",
        "What is my name?",
    ],
    refusals.LANGUAGE: [
        "Was ist die Hauptstadt von Frankreich?",
        "Quelle est la capitale de la France ?",
        "¿Cómo puedo abrir una cuenta?",
        "法国的首都是哪里",
        "Какая столица Франции?",
    ],
    refusals.LEANS: [
        "And the second one?",
        "Why is that?",
        "Explain more",
        "What about Berlin?",
        "How do I install it?",
        "Can you make it shorter?",
        "Give me an example",
        "Translate to French",
        "What does this mean?",
        "How old is she?",
        "What else?",
        "Explain this code",
        "What did you say before that?",
        "Which one is better?",
        "Are you sure?",
        "Say it again",
    ],
    refusals.SHORT: ["Photosynthesis", "Lost password", "What is?", "do the what"],
    refusals.TIME: [
        "What time is it?",
        "What's the weather in Ghent?",
        "Who is the current president of France?",
        "What happened yesterday in Ghent?",
        "What is the stock price of Philips?",
        "What is the latest version of Python?",
        "Which films are shown this week?",
        "How many days until Christmas?",
        "What is the date today?",
    ],
    refusals.PLACE: [
        "Where is a pharmacy near me?",
        "Which restaurants are nearby?",
        "Where is the nearest gas station?",
        "Where am I right here?",
    ],
    refusals.VARIETY: [
        "Tell me a joke",
        "Write a poem about the sea",
        "Pick a random number below ten",
        "Roll a die",
        "Flip a coin for heads",
        "Surprise me with a fact about owls",
        "Give me another fact about owls",
        "Brainstorm names for a bakery",
    ],
}
"""By reason."""

FIT = [
    "My card has not arrived",
    "What is the current account?",
    "How do I open a current account?",
    "What is the current in a series circuit?",
    "What is alternating current?",
    "How does a random forest work?",
    "What is a random variable?",
    "What is the difference between weather and climate?",
    "Who is the president of France?",
    "How do I change my PIN?",
    "My PIN is blocked, how do I unlock the card?",
    "My password is not accepted",
    "How do I reset a forgotten password?",
    "Is it possible to swim in Lake Baikal?",
    "How long does it take to boil an egg?",
    "If it rains, does the match go on?",
    "My transfer failed, why was it declined?",
    "How do I set the address 192.168.1.10 on a Pi?",
    "What is 1,000,000 times 3?",
    "Is 2024-05-01 a holiday in Germany?",
    "How do I transfer money to another account?",
    "Which star is nearest to the sun?",
    "What did people eat in the last century of Rome's republic?",
    "Who invented the joke book?",
    "What is a haiku?",
    "How do I print a random access file?",
    "Why does this transfer cost a fee?",
    "What does the `grep -v` flag do?",
    "How does git know that a file was renamed?",
    "What happens when they meet: matter and antimatter?",
    "What is an email address made of?",
    "How do I look up the street of a postal code?",
    "What is the gas price index based on in economics?",
    "Can you tell me more info about virtual cards?",
]


@pytest.mark.parametrize(
    ("reason", "question"), [(reason, text) for reason, texts in REFUSED.items() for text in texts]
)
def test_what_is_unfit_is_refused_for_its_reason(reason: str, question: str) -> None:
    """Each reason is given for what it is meant for."""
    assert reason == unfit(question)


def test_every_reason_is_tried() -> None:
    """No reason stands untested."""
    assert set(refusals.REASONS) == set(REFUSED)


@pytest.mark.parametrize("question", FIT)
def test_what_only_looks_unfit_is_not_refused(question: str) -> None:
    """The same words in a question that anybody may ask, any day, are no reason."""
    assert unfit(question) is None


@pytest.mark.parametrize("reason", refusals.REASONS)
def test_a_reason_is_fit_for_a_label(reason: str) -> None:
    """Short, and in lower case."""
    assert reason == reason.lower()
    assert len(reason) <= 40


def test_a_reading_that_is_there_is_taken() -> None:
    """With a reading of the question the reason is the same."""
    question = "What about Berlin?"
    assert unfit(question) == unfit(question, read(question))


@pytest.mark.parametrize(
    ("digits", "valid"), [("4111111111111111", True), ("4111111111111112", False), ("79927398713", True)]
)
def test_card_numbers_are_told_by_their_last_digit(digits: str, valid: bool) -> None:
    """The check digit decides."""
    assert valid is luhn(digits)


@given(st.text(max_size=700))
def test_any_text_gets_a_reason_or_none(question: str) -> None:
    """Refusing is total, deterministic, and says nothing but its own phrases."""
    reason = unfit(question)
    assert reason == unfit(question)
    assert reason is None or reason in refusals.REASONS


@pytest.mark.parametrize("part", HOSTILE)
@pytest.mark.timeout(60)
def test_a_long_hostile_text_is_refused(part: str) -> None:
    """Too long or empty: it is told before any pattern is tried."""
    assert unfit((part * MOST_CHARS)[:MOST_CHARS]) in (refusals.LONG, refusals.EMPTY)


@pytest.mark.parametrize("part", HOSTILE)
@pytest.mark.timeout(60)
def test_a_hostile_text_of_the_longest_length_ends(part: str) -> None:
    """All patterns are tried on it, and none runs away."""
    reason = unfit((part * refusals.MOST_CHARS)[: refusals.MOST_CHARS])
    assert reason != refusals.LONG
