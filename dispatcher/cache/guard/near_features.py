"""Where an entry stands among the nearest of its scope, as numbers that a verifier weighs. It knows no words.

One near entry says little in a dense topic: whether those beside it mean what it means, or are rivals, says more.
"""

from __future__ import annotations

import numpy as np

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
)  # fmt: skip

_UNLIKE = ((0.5, 0.8), (0.3, 0.6))
"""Cosines at which another entry is a rival wholly, and not at all."""


def near_features(similarities: Floats, alike: Floats, rank: int) -> list[float]:
    """Give the features of the entry at `rank`, in the order of `NEAR`. `similarities` are those of the question to the nearest
    entries, best first; `alike` are the cosines of the entries' wordings, each to each."""
    mine = float(similarities[rank])
    keep = np.arange(len(similarities)) != rank
    others, like = similarities[keep].astype(np.float64), alike[rank][keep].astype(np.float64)
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
        float(rank), float(len(similarities)),
    ]  # fmt: skip
