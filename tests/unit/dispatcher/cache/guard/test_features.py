"""What the verifier weighs, on vectors small enough to be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dispatcher.cache.guard.near_features import NEAR, Near, near_features, near_of
from dispatcher.cache.guard.pair_features import PAIR, pair_features
from dispatcher.cache.guard.rules import RULES
from dispatcher.cache.guard.swap_features import SWAP, swap_features
from dispatcher.cache.guard.wording import MOST_PIECES, wording

AXES = {"cat": (2.0, 0.0, 0.0), "dog": (0.0, 2.0, 0.0), "the": (0.0, 0.0, 1.0), "kitten": (1.2, 0.0, 1.6)}
"""A cat has nothing of a dog; a kitten's vector has length 2, and a cosine of 0.6 with a cat's."""


def vectors(text: str) -> NDArray[np.float32]:
    """One row a word; those that are not known have none."""
    return np.array([AXES[word] for word in text.split() if word in AXES], dtype=np.float32).reshape(-1, 3)


def pair(one: str, other: str) -> dict[str, float]:
    """The features of two texts by name."""
    return dict(zip(PAIR, pair_features(wording(one, vectors), wording(other, vectors)), strict=True))


def test_a_question_beside_itself_lacks_nothing() -> None:
    """All of it is matched, and nothing is left over."""
    found = pair("the cat", "the cat")

    assert (found["unmatched_more"], found["equal_less"], found["rest_more"]) == pytest.approx(
        (0.0, 1.0, 0.0), abs=1e-5
    )


def test_what_has_no_partner_counts_by_its_weight() -> None:
    """`the` weighs 1 and is there twice; of cat and dog, 2 each, nothing is matched: two of three."""
    found = pair("the cat", "the dog")

    assert (found["unmatched_more"], found["worst_more"]) == pytest.approx((2 / 3, 2.0), abs=1e-5)


def test_a_word_that_is_like_another_is_matched_in_part() -> None:
    """A cat has 0.6 of a kitten: 0.4 of its weight of 2 is missing."""
    found = pair("cat", "kitten")

    assert (found["unmatched_more"], found["least_less"]) == pytest.approx((0.4, 0.6), abs=1e-5)


def test_what_is_left_is_compared_apart() -> None:
    """Without `the`, a cat stands against a dog: of the first, 2 of a length of root 5 is left, at a right angle to the other."""
    found = pair("the cat", "the dog")

    assert (found["rest_more"], found["rest_cosine"]) == pytest.approx((2 / math.sqrt(5), 0.0), abs=1e-5)


def test_numbers_negations_and_order_are_counted() -> None:
    """By the guard's reading: a number more, a negation more, and two names in another order."""
    found = pair("does Rome owe Carthage 5 ships", "doesn't Carthage owe Rome ships")

    assert (found["numbers"], found["negations"], found["in_order"] < 1.0) == (1.0, 1.0, True)


TEXTS = st.text(alphabet="catdoghekin 5.?'", max_size=40)


@given(one=TEXTS, other=TEXTS)
def test_the_order_of_two_questions_says_nothing(one: str, other: str) -> None:
    """Neither of pairs nor of exchanges; and each feature is a number, whatever the texts are."""
    first, second = wording(one, vectors), wording(other, vectors)
    there, back = pair_features(first, second), pair_features(second, first)

    assert there == pytest.approx(back, abs=1e-4)
    assert np.isfinite(there).all()


def test_a_text_beyond_what_is_compared_says_so() -> None:
    """Its end would be overlooked."""
    assert (wording("cat " * MOST_PIECES, vectors).too_long, wording("cat " * (MOST_PIECES + 1), vectors).too_long) == (
        False,
        True,
    )


def near(similarities: list[float], alike: list[list[float]], rank: int) -> dict[str, float]:
    """The features of an entry among others by name; nothing is shared by all."""
    similar, each = np.array(similarities, dtype=np.float32), np.array(alike, dtype=np.float32)
    return dict(zip(NEAR, near_features(Near(similar, each, similar, each), rank), strict=True))


def test_an_entry_that_stands_alone_leads_by_all_it_has() -> None:
    """There is no other to be compared with."""
    found = near([0.8], [[1.0]], 0)

    assert (found["gap_first"], found["over_rival"], found["count"]) == pytest.approx((0.8, 0.8, 1.0))


def test_a_rival_is_near_the_question_and_not_like_the_entry() -> None:
    """The second is as near and unlike (0.2): the lead is 0.1. The third would be nearer a rival, but means the same (0.9)."""
    found = near([0.9, 0.8, 0.85], [[1.0, 0.2, 0.9], [0.2, 1.0, 0.2], [0.9, 0.2, 1.0]], 0)

    assert found["over_rival"] == pytest.approx(0.1, abs=1e-5)


def test_those_that_are_like_an_entry_support_it() -> None:
    """With weights e^(8(cosine - 1)): the twin's similarity counts, the stranger's hardly."""
    found = near([0.9, 0.7, 0.1], [[1.0, 0.95, 0.0], [0.95, 1.0, 0.0], [0.0, 0.0, 1.0]], 0)

    assert found["support"] == pytest.approx(
        (0.7 * math.exp(-0.4) + 0.1 * math.exp(-8)) / (math.exp(-0.4) + math.exp(-8)), abs=1e-4
    )


def test_an_exchange_names_the_rules_that_object() -> None:
    """One number is another: the rule over numbers objects, and not the one over negations."""
    one, other = wording("is 5 more than 3", vectors), wording("is 7 more than 3", vectors)
    found = dict(zip(SWAP, swap_features(one.reading, other.reading, pair_features(one, other)), strict=True))

    assert (found["objects_numbers"], found["objects_negations"]) == (1.0, 0.0)
    assert found["objections"] == sum(found[f"objects_{name}"] for name in RULES)


def test_what_all_entries_share_is_taken_away() -> None:
    """Two entries and a question, all mostly along one axis: without it, the question points the way of the first alone."""
    kept = np.array([(0.9, 0.3), (0.9, -0.3)], dtype=np.float32)
    found = near_of(np.array([0.9, 0.7], dtype=np.float32), np.array([0.9, 0.2], dtype=np.float32), kept)

    assert found.apart.tolist() == pytest.approx([1.0, -1.0], abs=1e-4)
