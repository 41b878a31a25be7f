"""Several models: which one, how sure, and step by step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.routing.multi import Hierarchy, Level, choose

gains = st.dictionaries(st.sampled_from("abcd"), st.floats(-1, 1), min_size=1)


@given(gains)
def test_probabilities_are_some(found: dict[str, float]) -> None:
    """They add up to 1, and the chosen model's is the greatest."""
    choice = choose(found, {})

    assert sum(choice.probabilities.values()) == pytest.approx(1.0)
    assert choice.confidence == max(choice.probabilities.values())


def test_a_clear_difference_is_a_sure_choice() -> None:
    """0.3 more answers right is three temperatures: 1 / (1 + e^-3) = 0.95."""
    choice = choose({"small": 0.0, "large": 0.3}, {})

    assert (choice.model, round(choice.confidence, 2)) == ("large", 0.95)


def test_a_model_must_be_worth_its_cost() -> None:
    """0.3 more right at a cost of 0.4 is not."""
    assert choose({"small": 0.0, "large": 0.3}, {"large": 0.4}).model == "small"


def test_among_equals_the_cheaper_is_chosen() -> None:
    """And by name among those."""
    assert choose({"a": 0.5, "b": 0.2, "c": 0.2}, {"a": 0.3}).model == "b"


def test_nothing_allowed_is_an_error() -> None:
    """There is no model to name."""
    with pytest.raises(ValueError, match="no model is allowed"):
        choose({}, {})


CODE = (Level(least_complexity=0.0, model="coder-1b"), Level(least_complexity=0.5, model="coder-7b"))
ANY = (Level(least_complexity=0.0, model="chat-1b"), Level(least_complexity=0.7, model="cloud"))
TREE = Hierarchy(domains={"code": CODE}, otherwise=ANY)


@pytest.mark.parametrize(
    ("topics", "complexity", "model"),
    [
        ({"code": 0.8}, 0.1, "coder-1b"),
        ({"code": 0.8}, 0.5, "coder-7b"),
        ({"code": 0.2}, 0.5, "chat-1b"),
        ({"history": 0.9}, 0.9, "cloud"),
        ({}, 0.0, "chat-1b"),
    ],
)
def test_domain_then_complexity_then_model(topics: dict[str, float], complexity: float, model: str) -> None:
    """A domain counts when it is near enough; a level from its complexity on."""
    assert TREE.choose(topics, complexity)[0] == model


def test_the_reason_names_all_three() -> None:
    """In one line."""
    assert TREE.choose({"code": 0.8}, 0.6)[1] == "code, complexity 0.60: coder-7b"
