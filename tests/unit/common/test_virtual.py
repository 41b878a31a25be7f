"""Names that stand for a way to choose a model: what they ask for, and what a request's own words keep."""

from __future__ import annotations

import pytest

from common.messages import ChatRequest
from common.virtual import VIRTUAL, resolved, virtual


@pytest.mark.parametrize(
    ("name", "model", "strategy", "local"),
    [
        ("auto", "auto", None, False),
        ("auto:latest", "auto", None, False),
        ("auto:fast", "auto", "energy:fast", False),
        ("auto:eco@nano", "auto@nano", "energy:eco", False),
        ("auto:local:latest", "auto", None, True),
        ("@nano", "auto@nano", None, False),
    ],
)
def test_a_virtual_name_is_written_out(name: str, model: str, strategy: str | None, local: bool) -> None:
    """Model, strategy and house rules, also behind a pinned device and with the tag that Ollama's clients add."""
    asked = resolved(ChatRequest(prompt="hi", model=name))

    assert (model, strategy, local) == (asked.model, asked.strategy, asked.local)


def test_the_request_s_own_words_win() -> None:
    """Who names a strategy gets it, and nothing opens what the request has closed."""
    asked = resolved(ChatRequest(prompt="hi", model="auto:eco", strategy="hybrid", local=True))

    assert ("hybrid", True) == (asked.strategy, asked.local)


@pytest.mark.parametrize("name", ["llama3.2:3b", "auto:turbo", "automatic", "llama3.2:3b@nano"])
def test_a_model_s_own_name_is_left_alone(name: str) -> None:
    """It may be any name; only those of the table mean something."""
    request = ChatRequest(prompt="hi", model=name)

    assert (None, request) == (virtual(name.partition("@")[0]), resolved(request))


def test_each_name_says_what_it_does() -> None:
    """Lists of models show it."""
    assert all(one.what for one in VIRTUAL.values())
