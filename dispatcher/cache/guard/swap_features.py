"""Whether one thing was exchanged between two questions that are worded alike, as numbers that a verifier weighs: which rules
object, and how much else differs.

Where many words differ, a rule's objection is wording. Where it is the only thing that differs, it is what was meant.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.cache.guard.pair_features import PAIR
from dispatcher.cache.guard.reading import Reading
from dispatcher.cache.guard.rules import RULES, objections

_COMPARED = (
    "words_cosine", "unmatched_more", "unmatched_less", "worst_share_more", "worst_share_less", "rest_more", "rest_less",
    "rest_cosine", "equal_more", "equal_less", "least_more", "least_less", "content_shared", "content_more", "content_less",
    "runs_shared", "in_order", "length_ratio", "numbers", "negations", "names", "directions", "roles", "degrees", "modals",
    "kind", "tense", "opposed",
)  # fmt: skip
"""What compares; how long or how rare a question is says nothing about what was exchanged."""

_PLACES = tuple(PAIR.index(name) for name in _COMPARED)

SWAP = (*_COMPARED, *(f"objects_{name}" for name in RULES), "objections", "one_objection", "two_objections")


def swap_features(one: Reading, other: Reading, pair: Sequence[float]) -> list[float]:
    """Give the features of two questions, in the order of `SWAP`; `pair` are those of `pair_features`."""
    objecting = objections(one, other)
    count = len(objecting)
    return [
        *(pair[place] for place in _PLACES),
        *(float(name in objecting) for name in RULES),
        float(count),
        float(count == 1),
        float(count == 2),
    ]
