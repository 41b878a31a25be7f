"""Where an entry stands among the nearest of its scope, as numbers that a verifier weighs. It knows no words.

One near entry says little in a dense topic: whether those beside it mean what it means, or are rivals, says more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dispatcher.cache.guard.wording import Floats

NEIGHBOURS = 12
"""Entries of a scope that are looked at for one question."""

NEAR = (
    "similarity",  # cosine of the embedder
    "gap_first", "gap_third",  # to the best of the others, and the third of them
    "others_near", "others_all",  # their mean similarity: of the four best, and of all
    "twin", "twins", "cluster",  # how alike the entry is to the one among them most like it, to the four best, to its three likest
    "support", "support_weight",  # similarity of those that are like the entry, and how many they are
    "agreement",  # how alike those that are as near as the entry are to the entry
    "over_rival", "over_far_rival",  # lead over the best that is unlike the entry, by two measures of unlike
    "as_near", "nearly_as_near",  # how many are within 0.05 and 0.1
    "rank", "count",
    "apart_similarity", "apart_gap", "apart_rival", "apart_twin", "apart_cluster", "apart_support",  # without what all share
    "agreement_wide", "agreement_close",  # as agreement, by what is left then
    "apart_as_near",
)  # fmt: skip

_UNLIKE = ((0.5, 0.8), (0.3, 0.6))
"""Cosines at which another entry is a rival wholly, and not at all."""


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """The nearest entries of a scope, best first. `similarity` is theirs to the question, `alike` that of their wordings, each to
    each; `apart` and `apart_alike` are the same when what all of them share is taken away: in a dense topic that is most."""

    similarity: Floats
    alike: Floats
    apart: Floats
    apart_alike: Floats


def near_of(similarity: Floats, asked: Floats, kept: Floats) -> Near:
    """Compare the nearest entries with each other; `asked` and `kept` are the wordings' vectors, of norm 1."""
    middle = kept.mean(axis=0)
    rest, question = kept - middle, asked - middle
    rest = rest / (np.sqrt((rest * rest).sum(axis=1, keepdims=True)) + np.float32(1e-6))
    question = question / (np.sqrt(question @ question) + np.float32(1e-6))
    return Near(similarity, kept @ kept.T, rest @ question, rest @ rest.T)


def near_features(near: Near, rank: int) -> list[float]:
    """Give the features of the entry at `rank`, in the order of `NEAR`."""
    keep = np.arange(len(near.similarity)) != rank
    return [*_among(near, rank, keep), *_apart(near, rank, keep)]


def _among(near: Near, rank: int, keep: NDArray[np.bool_]) -> list[float]:
    mine = float(near.similarity[rank])
    others, like = near.similarity[keep].astype(np.float64), near.alike[rank][keep].astype(np.float64)
    if not len(others):
        return [mine, mine, mine, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, mine, mine, 0.0, 0.0, float(rank), 1.0]
    weight, as_near = np.exp(8.0 * (like - 1.0)), np.exp(10.0 * (others - mine))
    rivals = [
        mine - float((others * (1.0 - np.clip((like - low) / (high - low), 0.0, 1.0))).max()) for low, high in _UNLIKE
    ]
    return [
        mine,
        mine - float(others[0]), mine - (float(others[2]) if len(others) > 2 else 0.0),
        float(others[:4].mean()), float(others.mean()),
        float(like[:4].max()), float(like[:4].mean()), float(np.sort(like)[-3:].mean()),
        float(weight @ others / weight.sum()), float(weight.sum()),
        float(as_near @ like / as_near.sum()),
        *rivals,
        float((others > mine - 0.05).sum()), float((others > mine - 0.1).sum()),
        float(rank), float(len(near.similarity)),
    ]  # fmt: skip


def _apart(near: Near, rank: int, keep: NDArray[np.bool_]) -> list[float]:
    mine = float(near.apart[rank])
    others, like = near.apart[keep].astype(np.float64), near.apart_alike[rank][keep].astype(np.float64)
    if not len(others):
        return [mine, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    near_by = near.similarity.astype(np.float64)
    together = np.where(keep, np.clip(near.apart_alike[rank], 0.0, 1.0), 1.0)
    wide, close = (np.exp(sharp * (near_by - near_by.max())) for sharp in (10.0, 25.0))
    friends = np.clip(like, 0.0, 1.0)
    return [
        mine,
        mine - float(others.max()), mine - float((others * (like < _STRANGE)).max()),
        float(like.max()), float(np.sort(like)[-3:].mean()),
        float((friends * others).sum() / (friends.sum() + 1e-6)),
        float(wide @ together / wide.sum()), float(close @ together / close.sum()),
        float(((near.apart_alike[rank] > _FRIENDLY) & (near_by > near_by[rank] - 0.1)).sum()),
    ]  # fmt: skip


_STRANGE, _FRIENDLY = 0.2, 0.3
"""Cosines, without what all share, below which an entry is a rival and above which it is like another."""
