"""What names a request: the names are kept by servers and other processes, so they stay as they are."""

from __future__ import annotations

from typing import Any

import pytest

from common import codec
from common.fingerprint import fingerprint
from common.messages import ChatRequest

ASKED = {"messages": [{"role": "user", "content": "hi"}]}


def name_of(**fields: Any) -> str:
    return fingerprint(codec.build(ChatRequest, fields))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (ASKED, "aa875ca4885df146062391a60eda311b"),
        ({"inputs": ["a", "b"], "dimensions": 3}, "e0f480fe2820586d05fb3a072e64d2a1"),
        (
            {**ASKED, "tools": [{"type": "function"}], "options": {"max_tokens": 3}, "allow_models": ["b", "a", "a"]},
            "89042f22c745eeb45b23538fa35c99f6",
        ),
    ],
    ids=["a chat", "texts to embed", "tools and a list"],
)
def test_a_name_is_what_it_has_always_been(fields: dict[str, Any], name: str) -> None:
    """An answer that was stored before an update is found after it."""
    assert name == name_of(**fields)


def test_a_prompt_is_a_message() -> None:
    """`prompt` is short for one user message."""
    assert name_of(**ASKED) == name_of(prompt="hi")


@pytest.mark.parametrize(
    "delivery",
    [
        {"stream": True, "hold": True},
        {"job": "one", "resends": 2, "resume": "he"},
        {"timeout_s": 3.0, "deadline_ms": 5, "keep_s": 1.0},
        {"priority": "batch", "strategy": "hybrid", "local": True},
        {"max_cost_usd": 0.1, "provider_key": "k" * 20, "cache": "off"},
    ],
)
def test_how_it_is_delivered_is_no_part_of_the_name(delivery: dict[str, Any]) -> None:
    """Whoever comes again may want it in another way, and gets the same answer."""
    assert name_of(**ASKED) == name_of(**ASKED, **delivery)
