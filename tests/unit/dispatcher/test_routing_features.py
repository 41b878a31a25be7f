"""What routing reads off a request: sizes by arithmetic, complexity and topics by direction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messages import ChatRequest, Message, Options, Role
from dispatcher.routing import Features, features


def read(*contents: str, **fields: object) -> Features:
    """The features of a conversation in which the user speaks every turn."""
    return features(ChatRequest(**fields), [Message(role=Role.USER, content=content) for content in contents])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (["hi"], 1),  # round(2 / 4) = 0, and never less than one
        (["x" * 400], 100),  # 400 / 4
        (["x" * 400, "y" * 200], 150),  # all turns count: 600 / 4
    ],
)
def test_prompt_tokens_follow_from_all_characters(contents: list[str], expected: int) -> None:
    """Four characters make about a token, over the whole conversation."""
    assert expected == read(*contents).prompt_tokens


def test_an_image_counts_like_a_long_text() -> None:
    """Each image adds 600 tokens, and marks the request."""
    message = Message(role=Role.USER, content="x" * 40, images=("aGk=", "aGk="))
    read_off = features(ChatRequest(), [message])

    assert (1210, True) == (read_off.prompt_tokens, read_off.images)  # 10 + 2 x 600


@pytest.mark.parametrize(
    ("max_tokens", "expected"),
    [(None, 200), (50, 50), (800, 800), (100_000, 800)],  # the expectation, the limit, and never more than 4 x 200
)
def test_output_tokens_follow_the_limit(max_tokens: int | None, expected: int) -> None:
    """The expected length of an answer is the request's limit, within reason."""
    assert expected == read("hi", options=Options(max_tokens=max_tokens)).output_tokens


def test_a_context_is_asked_for_on_the_safe_side() -> None:
    """Prompt and answer together, by the careful estimate; the likely one is for predictions."""
    read_off = read("word " * 1000, options=Options(max_tokens=500))

    assert read_off.prompt_tokens == 1250  # 5,000 characters / 4
    assert read_off.context_tokens == 24 + 8 + 1550 + 500  # 1,000 x 0.75 + 4,000 / 5


def test_tools_are_part_of_the_prompt() -> None:
    """A model reads them before the question: who offers many has a long prompt, however short the question is."""
    tool = {"type": "function", "function": {"name": "n" * 400}}

    assert 111 == read("hi", tools=(tool,)).prompt_tokens  # (442 characters of JSON + 2) / 4
    assert 222 == read("hi", tools=(tool, tool)).prompt_tokens


def test_tools_are_seen() -> None:
    """A request with tools is marked."""
    assert (False, True) == (read("hi").tools, read("hi", tools=({"type": "function"},)).tools)


@pytest.mark.parametrize(
    ("easy", "hard"),
    [
        ("hi there", "derive the complexity of this algorithm"),
        ("what is a list", "what is wrong here?\n```\ndef f(x):\n    return x\n```"),
        ("what is two and two", "what is 2 + 2 = x"),
        ("tell me more", "tell me more " * 90),
    ],
)
def test_complexity_grows_with_its_signs(easy: str, hard: str) -> None:
    """Words of hard tasks, code, formulae and length each make a question look harder."""
    assert read(easy).complexity < read(hard).complexity


def test_all_signs_together_are_the_most() -> None:
    """The weights add up to 1: a question with every sign in full has that complexity."""
    text = "prove derive refactor ``` x = 1 " + "word " * 300

    assert pytest.approx(1.0) == read(text).complexity  # 0.45 + 0.2 + 0.15 + 0.2


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("debug this python function, the compile error is in the loop", "code"),
        ("write a poem and a short story about a character", "writing"),
        ("hi, thanks, good morning, tell me a joke", "chat"),
        ("calculate the probability and prove the theorem", "reasoning"),
        ("explain the history of the ancient capital and its war", "knowledge"),
    ],
)
def test_the_nearest_topic_is_the_obvious_one(text: str, topic: str) -> None:
    """A text full of a topic's words is nearest to that topic."""
    similarities = read(text).topics

    assert topic == max(similarities, key=lambda name: similarities[name])


def test_topic_and_complexity_are_those_of_the_last_question() -> None:
    """Earlier turns don't colour what is asked now."""
    before, last = "debug this python function ``` def f(): ```", "hi"
    both, alone = read(before, last), read(last)

    assert (alone.topics, alone.complexity) == (both.topics, both.complexity)


def test_the_assistant_has_no_say_in_the_topic() -> None:
    """The last question is the user's, though the assistant spoke after it."""
    turns = [Message(role=Role.USER, content="hi"), Message(role=Role.ASSISTANT, content="debug this python function")]

    assert read("hi").topics == features(ChatRequest(), turns).topics


def test_a_conversation_without_a_user_has_no_topic() -> None:
    """Where nobody asks, all similarities are 0 and nothing is demanding."""
    read_off = features(ChatRequest(), [Message(role=Role.SYSTEM, content="prove it in python")])

    assert ({0.0}, 0.0) == (set(read_off.topics.values()), read_off.complexity)


@given(st.lists(st.text(max_size=300), min_size=1, max_size=4))
def test_features_keep_their_ranges(contents: list[str]) -> None:
    """Whatever is asked, similarities and complexity stay in [0, 1], and there is at least one token."""
    read_off = read(*contents)

    assert 0.0 <= read_off.complexity <= 1.0
    assert all(0.0 <= similarity <= 1.0 for similarity in read_off.topics.values())
    assert read_off.prompt_tokens >= 1
