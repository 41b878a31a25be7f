"""The signals of prompts and answers: what they see, and that any text is read in time."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.routing.answer_signals import ANSWER_SIGNALS, answer_signals
from dispatcher.routing.prompt_signals import SIGNALS, prompt_signals

QUESTION = "Which of these is not 12 m long?\nA. a rope\nB. a bus of 12 m\nC. a train\nAnswer:"


def _seen(text: str) -> dict[str, float]:
    return dict(zip(SIGNALS, prompt_signals(text), strict=True))


def _answered(answer: str, prompt: str = "Tom has 3 bags of 4 apples and 5 more. How many?") -> dict[str, float]:
    return dict(zip(ANSWER_SIGNALS, answer_signals(prompt, answer), strict=True))


def test_a_question_with_options_is_seen_as_one() -> None:
    """Three options, one of them with a number, one negation, two numbers."""
    seen = _seen(QUESTION)

    assert {name: round(seen[name], 3) for name in ("options", "options_with_numbers", "negations", "numbers")} == {
        "options": round(math.log1p(3), 3),
        "options_with_numbers": 0.333,
        "negations": 1.0,
        "numbers": round(math.log1p(2), 3),
    }


@given(st.text(max_size=300))
def test_any_text_has_all_signals(text: str) -> None:
    """Each a finite number."""
    found = prompt_signals(text)

    assert (len(found), all(map(math.isfinite, found))) == (len(SIGNALS), True)


@given(st.text(max_size=200), st.text(max_size=300), st.lists(st.floats(), max_size=5))
def test_any_answer_has_all_signals(prompt: str, answer: str, logprobs: list[float]) -> None:
    """Also with log-probabilities that are none."""
    found = answer_signals(prompt, answer, logprobs)

    assert (len(found), all(map(math.isfinite, found))) == (len(ANSWER_SIGNALS), True)


@pytest.mark.parametrize(
    ("answer", "sums", "wrong"),
    [
        ("3 * 4 = 12, and 12 + 5 = 17. The answer is 17.", 2, 0.0),
        ("3 x 4 = <<3*4=12>>12, so 12 + 5 = 18", 2, 0.5),
        ("2 + 3 x 4 = 14", 1, 0.0),
        ("100 / 3 = 33.33", 1, 0.0),
        ("$1,200 - $200 = $1,000", 1, 0.0),
        ("4 / 0 = 0", 1, 1.0),
        ("no sums here", 0, 0.0),
    ],
)
def test_sums_are_worked_out_again(answer: str, sums: int, wrong: float) -> None:
    """Products before sums, cents rounded, thousands with commas."""
    found = _answered(answer)

    assert (round(math.expm1(found["sums"])), found["wrong_sums"]) == (sums, pytest.approx(wrong))


def test_numbers_that_the_answer_leaves_out_are_seen() -> None:
    """Of 3, 4 and 5 it uses two."""
    assert _answered("3 * 4 = 12")["given_numbers_used"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("answer", "signal"),
    [
        ("#### 17", "marked_result"),
        ("I'm sorry, I cannot say.", "refusals"),
        ("I think it might be 17, but I am not sure.", "hedges"),
        ("the same long line\nthe same long line\nthe same long line", "repeated_lines"),
        ("and so on and so on and so on and so on", "repeated_words"),
        ("So 15 cups (that is <<15+2", "open_brackets"),
        ('{"answer": 17, "unit', "json_broken"),
        ("He has -3 apples left: -3", "negative_result"),
    ],
)
def test_marks_of_a_bad_answer_are_seen(answer: str, signal: str) -> None:
    """Each raises its own signal, which a plain right answer leaves at 0."""
    plain = _answered("Three bags of four are twelve apples, and five more make seventeen.")

    assert (plain[signal], _answered(answer)[signal] > 0) == (0.0, True)


def test_log_probabilities_are_summed_up() -> None:
    """Mean, least, and the share of tokens below even odds; nothing where the backend gives none."""
    found = dict(zip(ANSWER_SIGNALS, answer_signals("q", "a", [-0.1, -0.1, -2.2]), strict=True))
    names = ("has_logprobs", "mean_logprob", "least_logprob", "unsure_tokens")

    assert [found[name] for name in names] == pytest.approx([1.0, -0.8, -2.2, 1 / 3])
    assert [_answered("a")[name] for name in names] == [0.0] * 4


@pytest.mark.parametrize(
    "text",
    ["1," * 4000, "1" * 8000, "1 + " * 2000, " " * 8000, "(" * 8000, "1" + " " * 7999, "answer" * 1300, "A." * 4000],
)
def test_no_text_is_slow_to_read(text: str) -> None:
    """Patterns are bounded: what would take seconds if they backtracked takes milliseconds."""
    started = time.process_time()
    prompt_signals(text)
    answer_signals(text, text)

    assert time.process_time() - started < 0.5


def test_only_sums_are_rechecked_and_each_once() -> None:
    """Two that are right, one that is wrong, an equation without a sum, an `=` too many; and a page of sums that nobody ends."""
    mixed = _answered("1+2=3 and 4 + 4 = 9, so 17,000 / 2 = $8,500. x = 5; 5+5 = = 10")
    endless = _answered("1+" * 3000 + "=")

    assert (math.log1p(3), 1 / 3) == pytest.approx((mixed["sums"], mixed["wrong_sums"]))
    assert 0.0 == endless["sums"]
