"""Estimates of tokens: on the safe side, by arithmetic, and quick."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messages import Message, Options, Role, ToolCall
from common.prompts import (
    TOKENS_FOR_TOOLS,
    TOKENS_PER_IMAGE,
    TOKENS_PER_MESSAGE,
    TOKENS_PER_TEMPLATE,
    context_need,
    prompt_tokens,
    text_tokens,
)

PROSE = (
    "We hold these truths to be self-evident, that all men are created equal, that they are endowed by their Creator with "
    "certain unalienable Rights, that among these are Life, Liberty and the pursuit of Happiness."
)
"""35 words and 6 signs: 36 to 41 tokens in the vocabularies of GPT-4, Llama 3 and Qwen 2.5, about 45 in Llama 2's."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("hi", 1),  # 0.75 + 2/5 = 1.15
        ("a b c d", 4),  # 4 x 0.75 + 4/5 = 3.8
        ("internationalization", 11),  # one word of 20 letters is no prose: 20 / 1.8
        ("12345", 6),  # each digit, and 0.75
        ("x=1;", 4),  # 0.95 + three signs
        ("\u4eca\u5929", 4),  # two characters of three bytes: 3, and 0.75
        ("a    b", 3),  # 2 x 0.75 + 2/5 + half of the two spaces beyond one for each word
    ],
)
def test_the_arithmetic(text: str, expected: int) -> None:
    """Each rule of the estimate, one by one."""
    assert expected == text_tokens(text)


def test_prose_is_estimated_above_any_usual_vocabulary() -> None:
    """But not at twice as much: a context is memory."""
    assert 45 < text_tokens(PROSE) < 75


def test_noise_is_estimated_above_prose() -> None:
    """Base64 has some 1.5 letters to a token, where prose has 4."""
    noise = "QmFzZVNpeHR5Rm91ckVuY29kZWRUZXh0" * 20

    assert text_tokens(noise) > len(noise) / 1.9


def test_a_long_text_is_estimated_like_its_parts() -> None:
    """Above 100 kB words are no longer counted one by one, and the estimate is no lower for it."""
    assert text_tokens(PROSE * 1000) >= 1000 * text_tokens(PROSE) * 0.95


@given(st.text(max_size=400), st.text(max_size=400))
def test_more_text_needs_no_less(one: str, more: str) -> None:
    """Whatever is added, the estimate does not fall below half of it; and it is never negative."""
    assert text_tokens(one + more) >= text_tokens(one) // 2 >= 0


def test_all_parts_of_a_conversation_count() -> None:
    """Template, messages, images, calls and tools."""
    turn = Message(role=Role.USER, content="hi")
    plain = prompt_tokens([turn])
    seen = prompt_tokens([Message(role=Role.USER, content="hi", images=("aa", "bb"))])
    called = prompt_tokens([Message(role=Role.ASSISTANT, content="hi", tool_calls=(ToolCall(name="f"),))])
    offered = prompt_tokens([turn], [{"type": "function"}])

    assert plain == TOKENS_PER_TEMPLATE + TOKENS_PER_MESSAGE + 1
    assert seen - plain == 2 * TOKENS_PER_IMAGE
    assert called > plain
    assert offered - plain > TOKENS_FOR_TOOLS


@pytest.mark.parametrize(
    ("options", "least", "wished"),
    [
        (Options(), 33 + 256, 33 + 1024),
        (Options(max_tokens=10), 43, 43),
        (Options(max_tokens=5000), 5033, 5033),
        (Options(context_tokens=4096), 4096, 4096),
        (Options(context_tokens=4096, max_tokens=5000), 5033, 5033),
    ],
)
def test_a_context_holds_the_prompt_and_its_answer(options: Options, least: int, wished: int) -> None:
    """24 + 8 + 1 tokens of prompt, and the answer as long as it may get; what the request asks for is the least."""
    need = context_need([Message(role=Role.USER, content="hi")], (), options)

    assert (need.prompt, need.least, need.wished) == (33, least, wished)
