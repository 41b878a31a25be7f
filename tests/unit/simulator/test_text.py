"""The simulated answers: text, tokens, tool calls, structured output, embeddings."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.simulator import embedding, structured, text, tokens, toolcalls
from agents.simulator.requests import Message


def writer(
    question: str = "Why is the sky blue at sunset?",
    *,
    device: str = "nano",
    model: str = "tinyllama:1.1b",
    seed: int = 0,
) -> text.Writer:
    return text.Writer(device=device, model=model, question=question, history=f"user: {question}", seed=seed)


@given(st.text())
def test_tokens_join_back_to_the_text(any_text: str) -> None:
    """No character is lost or invented by cutting."""
    assert "".join(tokens.pieces(any_text)) == any_text


@given(st.text())
def test_counting_agrees_with_cutting(any_text: str) -> None:
    """A count is the number of pieces."""
    assert tokens.count(any_text) == len(tokens.pieces(any_text))


def test_english_has_about_one_and_a_third_tokens_a_word() -> None:
    """The piece size is that of a usual vocabulary."""
    sample = "The quick brown fox jumps over the lazy dog, and everybody in the neighbourhood applauds its performance."

    assert 1.1 < tokens.count(sample) / len(sample.split()) < 1.6


def test_an_answer_begins_with_its_label() -> None:
    """Nobody takes simulated text for a model's, not even its first token."""
    assert writer().answer()[0] == "[simulated nano/tinyllama:1.1b] "


def test_an_answer_speaks_of_the_question() -> None:
    """The filler names a word of the prompt."""
    assert "sunset" in "".join(writer().answer())


def test_the_same_question_gets_the_same_answer() -> None:
    """Seed, model and prompt determine the text."""
    assert writer().answer() == writer().answer()


@pytest.mark.parametrize(
    "other", [writer(seed=1), writer("Why is the grass green in spring?"), writer(model="qwen2.5:0.5b")]
)
def test_seed_prompt_and_model_each_change_the_answer(other: text.Writer) -> None:
    """Whatever the text depends on, changes it."""
    assert other.answer()[1:] != writer().answer()[1:]


def test_a_prompt_that_asks_for_many_words_gets_them() -> None:
    """The one way to a long answer: 300 words are about 390 tokens."""
    assert 390 <= len(writer("Tell me of bridges in 300 words").answer()) < 430


@pytest.mark.parametrize("seed", range(20))
def test_lengths_stay_within_bounds(seed: int) -> None:
    """No answer keeps a slow board busy for ever; one sentence may exceed the drawn length."""
    assert 16 <= len(writer(seed=seed).answer()) <= 240 + 60


@given(st.integers(min_value=0, max_value=400))
def test_its_own_text_is_continued_exactly(cut: int) -> None:
    """Text so far and continuation are the whole answer, wherever it was cut after the label."""
    whole = "".join(writer().answer())
    so_far = whole[: min(max(cut, len(writer().label)), len(whole) - 1)]

    assert so_far + "".join(writer().continuation(so_far)) == whole


def test_the_text_of_another_device_is_continued_without_a_second_label() -> None:
    """After a move to another device the reader sees one label and no repetition of the start."""
    theirs = "".join(writer(device="orin", model="llama3.2:3b").answer()[:12])
    rest = "".join(writer().continuation(theirs))

    assert ("[simulated" in rest, rest == "", rest[:1].isspace() or theirs[-1:].isspace()) == (False, False, True)


def test_a_text_longer_than_ours_is_brought_to_an_end() -> None:
    """When nothing is left to say, the answer still ends with a sentence."""
    longer = ("word " * 2000).strip()

    assert "".join(writer().continuation(longer)) == " That is all."


@pytest.mark.parametrize(
    ("stops", "kept"),
    [
        ((), "one two three"),
        (("two",), "one "),
        (("e t",), "on"),  # spans two pieces
        (("three", "two"), "one "),
        (("",), "one two three"),
        (("one",), ""),
    ],
)
def test_a_stop_sequence_ends_the_text_before_it(stops: tuple[str, ...], kept: str) -> None:
    """The first of all stop sequences counts, even across tokens."""
    assert "".join(text.cut_at_stop(["one", " two", " three"], stops)) == kept


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer"},
            },
        },
    },
}


def calls(question: str, *more: Message) -> tuple[dict[str, Any], ...]:
    return toolcalls.wanted([Message(role="user", content=question), *more], [WEATHER], 0)


def test_a_tool_is_called_with_arguments_from_the_prompt() -> None:
    """The arguments are an object that fits the tool's parameters."""
    (call,) = calls("What is the weather in Zurich for the next 3 days, in fahrenheit?")

    assert call["function"] == {
        "index": 0,
        "name": "get_current_weather",
        "arguments": {"city": "Zurich", "unit": "fahrenheit", "days": 3},
    }


def test_no_tool_is_called_for_another_subject() -> None:
    """Tools that are offered need not be used."""
    assert calls("Write a poem about the sea") == ()


def test_after_a_tool_has_answered_the_model_speaks() -> None:
    """The last message decides: a tool's answer is not answered by another call."""
    assert calls("What is the weather in Zurich?", Message(role="tool", content="22 degrees")) == ()


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, {"a": 1}),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"enum": ["x", "y"]}, "x"),
        ({"const": 7}, 7),
        ({"anyOf": [{"type": "null"}, {"type": "number", "minimum": 5}]}, 5.0),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer", "maximum": 0}}}, 0),
        ({"type": ["string", "null"], "maxLength": 3}, "[x]"),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}, {"a": 1, "b": 2}),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
    ],
)
def test_structured_output_fits_its_schema(schema: dict[str, Any], value: object) -> None:
    """The filled-in JSON is valid for what clients send."""
    assert json.loads(structured.fill(schema, label="[x] ", topic="sea")) == value


def test_a_recursive_schema_ends() -> None:
    """A schema that refers to itself gives finite JSON."""
    filled = structured.fill({"properties": {"next": {"$ref": "#"}}}, label="", topic="")

    assert filled.count("next") < 10


def test_a_schema_that_is_none_is_refused() -> None:
    """Nonsense in a schema is named instead of crashing."""
    with pytest.raises(ValueError, match="schema"):
        structured.fill({"type": "object", "properties": 5}, label="", topic="")


def length(vector: list[float]) -> float:
    return math.sqrt(sum(value * value for value in vector))


def test_embeddings_are_unit_vectors_of_the_asked_dimension() -> None:
    """The length is one, in float32."""
    vector = embedding.embed("the quick brown fox", 384)

    assert [len(vector), length(vector)] == pytest.approx([384, 1.0], abs=1e-6)


def test_texts_with_words_in_common_are_closer() -> None:
    """A cache that compares vectors finds a rewording before another subject."""
    first, near, far = (
        embedding.embed(sentence, 384)
        for sentence in ("how do I reset my password", "reset my password please how", "recipe for apple pie")
    )

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert cosine(first, near) > cosine(first, far) + 0.3


def test_a_shortened_embedding_is_again_a_unit_vector() -> None:
    """`dimensions` cuts and normalises."""
    vector = embedding.shortened(embedding.embed("hello", 384), 64)

    assert [len(vector), length(vector)] == pytest.approx([64, 1.0], abs=1e-6)
