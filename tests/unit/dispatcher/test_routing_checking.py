"""The rules that judge weak answers: what breaks one, what does not, and that no text whatsoever upsets them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.frames import Finish
from common.messages import ChatRequest, Options
from dispatcher.routing.checking import Check, WeakAnswer, check, hopeless, signals_of

PLAIN = ChatRequest(prompt="q")
AS_JSON = ChatRequest(prompt="q", format="json")
SCHEMA = ChatRequest(prompt="q", format={"type": "object", "required": ["a"], "properties": {"a": {}}})
LIST = ChatRequest(prompt="q", format={"type": "array"})


def judged(text: str, request: ChatRequest = PLAIN, *, question: str = "q", **fields: object) -> Check:
    """What the rules say of an answer."""
    answer = WeakAnswer(question=question, text=text, **fields)  # type: ignore[arg-type]  # as a test says
    return check(answer, request, signals_of(answer))


@pytest.mark.parametrize(
    ("text", "request_", "fault"),
    [
        ("", PLAIN, "empty"),
        ("  \n", PLAIN, "empty"),
        ("12 + 7 = 21 apples.", PLAIN, "wrong sum"),
        ("I'm sorry, I cannot help with that.", PLAIN, "refuses"),
        ("the same thing again " * 20 + ".", PLAIN, "repeats itself"),
        ("It is", AS_JSON, "not the JSON asked for"),
        ('{"a": 1', AS_JSON, "not the JSON asked for"),
        ("[1]", AS_JSON, "not the JSON asked for"),
        ('{"b": 1}', SCHEMA, "not the JSON asked for"),
        ('1, "b": 2', LIST, "not the JSON asked for"),
        ('{"a": 1}, "b": 2', AS_JSON, "not the JSON asked for"),
        ('{"a": 1}, "b": 2', SCHEMA, "not the JSON asked for"),
    ],
)
def test_a_grave_fault_sends_the_question_up(text: str, request_: ChatRequest, fault: str) -> None:
    """Each of these is enough by itself, and is named."""
    found = judged(text, request_)

    assert (True, True) == (found.escalate, fault in found.faults)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("Paris", PLAIN),
        ("42", PLAIN),
        ("The sky is blue because air scatters short waves more.", PLAIN),
        ("12 + 7 = 19, so there are 19 apples.", PLAIN),
        ("I think it is Paris.", PLAIN),
        ('{"a": [1, 2]}', AS_JSON),
        (' {"a": null} ', SCHEMA),
        ("[1, 2]", LIST),
    ],
)
def test_a_sound_answer_is_kept(text: str, request_: ChatRequest) -> None:
    """A single word needs no full stop, and one hedge is no reason."""
    assert judged(text, request_).escalate is False


def test_slight_doubts_add_up_as_chances_do() -> None:
    """No ending (0.35) and one hedge (0.2) leave 0.65 x 0.8 = 0.52 of trust, so the doubt is 0.48."""
    found = judged("It might be that the sky is blue because")

    assert (0.48, {"no ending": 0.35, "hedges": pytest.approx(0.2)}) == (pytest.approx(found.score), found.faults)


def test_a_cut_is_held_against_the_model_only_where_the_request_set_no_limit() -> None:
    """A strong model would be cut by the same limit."""
    limited = ChatRequest(prompt="q", options=Options(max_tokens=5))
    cut = WeakAnswer(question="q", text="The sky is blue because", finish=Finish.LENGTH)
    signals = signals_of(cut)

    assert (True, False) == (check(cut, PLAIN, signals).escalate, check(cut, limited, signals).escalate)


def test_the_beginning_of_an_answer_is_not_blamed_for_having_no_end() -> None:
    """Neither for JSON that is not closed yet, nor for a sentence in its middle."""
    begun = [
        judged(text, request, whole=False)
        for text, request in (('{"a": 1', AS_JSON), ("The sky is blue because", PLAIN))
    ]

    assert [{}, {}] == [one.faults for one in begun]


def test_unsure_tokens_are_a_fault_where_the_backend_tells() -> None:
    """A mean of -1.2 says that the model gave its own tokens 30 % each."""
    sure, unsure = (judged("Paris", logprobs=(one,) * 8) for one in (-0.05, -1.2))

    assert ({}, {"unsure tokens": 0.6}) == (sure.faults, unsure.faults)


def test_a_function_that_was_not_offered_is_no_answer() -> None:
    """Whatever a trained judge may say."""
    tools = ChatRequest(prompt="q", tools=({"type": "function", "function": {"name": "now"}},))
    offered, other = (WeakAnswer(question="q", text="", calls=(name,)) for name in ("now", "later"))

    assert (False, True) == (hopeless(offered, tools), hopeless(other, tools))


@given(
    text=st.text(max_size=400),
    question=st.text(max_size=200),
    whole=st.booleans(),
    finish=st.sampled_from(Finish),
    request_=st.sampled_from([PLAIN, AS_JSON, SCHEMA, LIST]),
    logprobs=st.lists(st.floats(), max_size=8),
)
def test_whatever_an_answer_says_the_doubt_is_a_chance(
    *, text: str, question: str, whole: bool, finish: Finish, request_: ChatRequest, logprobs: list[float]
) -> None:
    """It lies in [0, 1], and so does every part of it; an answer goes up exactly when it reaches the threshold."""
    answer = WeakAnswer(question=question, text=text, whole=whole, finish=finish, logprobs=tuple(logprobs))
    found = check(answer, request_, signals_of(answer))

    assert all(0.0 < doubt <= 1.0 for doubt in found.faults.values())
    assert 0.0 <= found.score <= 1.0
    assert found.escalate == (found.score >= found.threshold)


@given(text=st.text(max_size=300), more=st.sampled_from(["I'm sorry, I cannot.", "12 + 7 = 21."]))
def test_a_fault_more_is_never_less_doubt(text: str, more: str) -> None:
    """Other rules can only fall silent for reasons of their own: these two count whatever stands before them."""
    assert judged(f"{text} {more}").score >= 0.7
