"""Several models: which one, how sure, and by which way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import WeightsMismatch
from dispatcher.routing.multi import Hierarchy, advantage, choose
from tests.unit.dispatcher.router.parts import COUNT, flat_multi

gains = st.dictionaries(st.sampled_from("abcd"), st.floats(-1, 1), min_size=1)


@given(gains)
def test_probabilities_are_some(found: dict[str, float]) -> None:
    """They add up to 1, the chosen model's is the greatest, and a choice is at least as sure as that."""
    choice = choose(found, base="a")

    assert sum(choice.probabilities.values()) == pytest.approx(1.0)
    assert choice.probabilities[choice.model] == max(choice.probabilities.values()) <= choice.confidence + 1e-9
    assert choice.confidence >= 0.5


def test_a_clear_difference_is_a_sure_choice() -> None:
    """0.3 more answers right is three temperatures: 1 / (1 + e^-3) = 0.95."""
    choice = choose({"small": 0.0, "large": 0.3}, base="small")

    assert (choice.model, round(choice.confidence, 2)) == ("large", 0.95)


def test_two_that_are_far_better_are_no_doubt() -> None:
    """Which of them is the best is open, and that either beats the base is not."""
    choice = choose({"small": 0.0, "middle": 0.5, "large": 0.5}, base="small")

    assert (round(choice.probabilities["large"], 2), round(choice.confidence, 2)) == (0.5, 0.99)


def test_equals_go_by_name() -> None:
    """The same choice for the same figures."""
    assert choose({"b": 0.2, "c": 0.2, "a": 0.1}, base="a").model == "b"


def test_nothing_at_hand_is_an_error() -> None:
    """There is no model to name."""
    with pytest.raises(ValueError, match="no model is at hand"):
        choose({}, base="a")


@pytest.mark.parametrize(
    ("found", "ahead"),
    [({"a": 0.0, "b": 0.2, "x": 0.5, "y": 0.4}, 0.3), ({"a": 0.0, "b": 0.2}, None), ({"x": 0.2}, None)],
)
def test_what_a_strong_model_is_worth(found: dict[str, float], ahead: float | None) -> None:
    """The best strong one over the best of the others; nothing where one kind is missing."""
    assert ahead == (pytest.approx(told) if (told := advantage(found, {"x", "y"})) is not None else None)


CELLS = np.arange(9, dtype=np.float64).reshape(3, 3, 1)
BY_WORDS = Hierarchy(
    domains=("chat", "code"), centre=None, centroids=None, least_similarity=0.15, edges=(0.2, 0.5), gains=CELLS
)
BY_VECTOR = Hierarchy(
    domains=("law", "food"),
    centre=np.zeros(2, dtype=np.float32),
    centroids=np.eye(2, dtype=np.float32),
    least_similarity=0.9,
    edges=(0.2, 0.5),
    gains=CELLS,
)


@pytest.mark.parametrize(
    ("topics", "complexity", "way"),
    [
        ({"chat": 0.8}, 0.1, ("chat", "easy", 0.0)),
        ({"chat": 0.8}, 0.2, ("chat", "easy", 0.0)),
        ({"code": 0.8, "chat": 0.3}, 0.3, ("code", "middling", 4.0)),
        ({"code": 0.8}, 0.9, ("code", "hard", 5.0)),
        ({"code": 0.1}, 0.9, ("", "hard", 8.0)),
        ({}, 0.0, ("", "easy", 6.0)),
    ],
)
def test_domain_then_complexity_then_model(
    topics: dict[str, float], complexity: float, way: tuple[str, str, float]
) -> None:
    """A domain counts when it is near enough; else the last row, which is of all domains, tells."""
    place = BY_WORDS.place(None, topics, complexity)

    assert way == (place.domain, place.level, place.gains[0])


@pytest.mark.parametrize(("vector", "domain"), [((0.0, 3.0), "food"), ((1.0, 0.1), "law"), ((1.0, 1.0), "")])
def test_domains_lie_where_their_prompts_lay(vector: tuple[float, float], domain: str) -> None:
    """The nearest centroid by the cosine, whatever words say."""
    assert domain == BY_VECTOR.place(np.array(vector, dtype=np.float32), {"law": 1.0}, 0.0).domain


@pytest.mark.parametrize("vector", [None, np.zeros(3, dtype=np.float32)])
def test_a_vector_of_another_embedder_is_refused(vector: np.ndarray | None) -> None:
    """With the way out."""
    with pytest.raises(WeightsMismatch, match="use the embedder of its card"):
        BY_VECTOR.place(vector, {}, 0.0)


def test_two_opinions_are_mixed() -> None:
    """A quarter of what the table says, three quarters of what the router says: 0.75 x 0.4 + 0.25 x 0.8 = 0.5."""
    multi = flat_multi({"middle": 0.4}, table=0.8, share=0.25)
    predicted = multi.predict([0.0] * COUNT, None, topics={"chat": 1.0}, complexity=0.1)

    assert {"base": 0.0, "middle": pytest.approx(0.5)} == predicted.gains
    assert ("chat", "easy", True) == (predicted.place.domain, predicted.place.level, predicted.in_domain)
