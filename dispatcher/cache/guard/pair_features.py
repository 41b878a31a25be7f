"""What two questions have in common, as numbers that a verifier weighs. The same whichever of the two was asked first.

Each word of one is laid beside the word of the other that it is most like: what finds no partner is what the questions differ in.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np

from dispatcher.cache.guard.opposites import opposed
from dispatcher.cache.guard.reading import Reading
from dispatcher.cache.guard.wording import Floats, Wording

PAIR = (
    "words_cosine",  # of the two sums of word vectors
    "unmatched_more", "unmatched_less",  # weight of what has no partner, as a share: of the question that has more of it, and less
    "worst_more", "worst_less",  # weight of the one word that lacks a partner most
    "worst_share_more", "worst_share_less",  # the same as a share
    "rest_more", "rest_less", "rest_cosine",  # what is left when equal words are taken out: its length, and how alike it is
    "equal_more", "equal_less",  # weight of equal words, as a share
    "least_more", "least_less",  # cosine of the worst match
    "content_shared", "content_more", "content_less",  # stems: share in common; how many stand in one alone
    "runs_shared",  # pairs of neighbouring words in common
    "in_order",  # partners of neighbouring words that follow each other as well
    "shorter", "longer", "length_ratio",
    "numbers", "negations", "names", "directions", "roles", "degrees", "modals", "kind", "tense", "opposed",  # differ
    "spread",  # how much of the difference of the vectors lies in a few dimensions
)  # fmt: skip


_MOST_OPPOSED = 8
"""Words that one of two questions has alone: with more they are no neighbours, and each is compared with each."""


def pair_features(one: Wording, other: Wording) -> list[float]:
    """Give the features of two questions, in the order of `PAIR`."""
    return [*_aligned(one, other), *_said(one.reading, other.reading), _spread(one, other)]


def _aligned(one: Wording, other: Wording) -> list[float]:
    alike = one.units @ other.units.T
    a, b = _side(one, alike.max(axis=1)), _side(other, alike.max(axis=0))
    pairs = [(max(x, y), min(x, y)) for x, y in zip(a[:-1], b[:-1], strict=True)]
    lost, worst, worst_share, rest, equal, least = pairs
    return [
        float(one.whole @ other.whole), *lost, *worst, *worst_share, *rest, _rest_cosine(one, other, alike), *equal, *least,
    ]  # fmt: skip


def _side(of: Wording, best: Floats) -> tuple[float, ...]:
    """Say what of one question finds a partner in the other."""
    total = float(of.weights.sum())
    missing = of.weights * (1.0 - best)
    equal = best > _EQUAL
    left = of.rows[~equal].sum(axis=0)
    length = float(np.sqrt((of.rows.sum(axis=0) ** 2).sum())) + 1e-6
    return (
        float(missing.sum()) / total,
        float(missing.max()),
        float(missing.max()) / total,
        float(np.sqrt(left @ left)) / length,
        float(of.weights[equal].sum()) / total,
        float(best.min()),
        total,
    )


_EQUAL = 0.999
"""Cosine above which two pieces are one: the table's rows are rounded."""


def _rest_cosine(one: Wording, other: Wording, alike: Floats) -> float:
    left = one.rows[alike.max(axis=1) <= _EQUAL].sum(axis=0)
    right = other.rows[alike.max(axis=0) <= _EQUAL].sum(axis=0)
    lengths = float(np.sqrt((left @ left) * (right @ right)))
    return float(left @ right) / lengths if lengths > 1e-6 else 1.0 if not (left.any() or right.any()) else 0.0


def _spread(one: Wording, other: Wording) -> float:
    apart = (one.whole - other.whole) ** 2
    return float(np.sqrt(np.sqrt((apart**2).sum())))


def _said(one: Reading, other: Reading) -> list[float]:
    mine, yours = set(one.content), set(other.content)
    alone = sorted((len(mine - yours), len(yours - mine)), reverse=True)
    shorter, longer = sorted((len(one.words), len(other.words)))
    return [
        _share(mine, yours), float(alone[0]), float(alone[1]),
        _runs(one.words, other.words), _in_order(one.content, other.content),
        float(min(shorter, 60)), float(min(longer, 60)), shorter / max(1, longer),
        _apart(one.numbers, other.numbers), _apart(one.negations, other.negations), _apart(one.names, other.names),
        _apart(one.directions, other.directions), _apart(one.roles, other.roles),
        _apart((*one.degrees, *one.quantifiers, *one.conditions), (*other.degrees, *other.quantifiers, *other.conditions)),
        _apart(one.modals, other.modals), float(one.kind != other.kind), float(one.tense != other.tense),
        float(_opposed(mine - yours, yours - mine)),
    ]  # fmt: skip


def _opposed(mine: Collection[str], yours: Collection[str]) -> bool:
    """Tell whether a word that one has alone turns round one that the other has alone."""
    if len(mine) > _MOST_OPPOSED or len(yours) > _MOST_OPPOSED:
        return False
    return any(opposed(left, right) for left in mine for right in yours)


def _share(mine: Collection[str], yours: Collection[str]) -> float:
    both = {*mine, *yours}
    return len({*mine} & {*yours}) / len(both) if both else 1.0


def _apart(mine: Sequence[str], yours: Sequence[str]) -> float:
    """Count what only one of the two has; 0 to 6."""
    return float(min(6, len({*mine} ^ {*yours})))


def _runs(mine: Sequence[str], yours: Sequence[str]) -> float:
    a, b = set(pairwise(mine)), set(pairwise(yours))
    return len(a & b) / max(1, min(len(a), len(b)))


def _in_order(mine: Sequence[str], yours: Sequence[str]) -> float:
    """Give the share of common stems whose order is the same, 1 where there is nothing to be ordered."""
    first = {stem: place for place, stem in reversed(list(enumerate(yours)))}
    places = [first[stem] for stem in dict.fromkeys(mine) if stem in first]
    steps = [later > earlier for earlier, later in pairwise(places)]
    return sum(steps) / len(steps) if steps else 1.0
