"""By the trained router (requirement D1): the strong models when its predicted gain over the weak ones is above the threshold.

Outside what it was trained on it does not guess: the rules of `heuristic` decide there, and a few such questions are sent up to
learn from.
"""

from __future__ import annotations

import numpy as np

from dispatcher.routing.strategies.heuristic import heuristic
from dispatcher.routing.strategies.hybrid import hybrid
from dispatcher.routing.strategies.seam import Scene, Scores
from dispatcher.routing.strategies.tiers import STRONG, first, strong


def learned(scene: Scene) -> Scores:
    """Rank the tier that the router names before the other, within both by the hybrid score."""
    verdict = scene.ask.verdict
    if verdict is None:
        return heuristic(scene)
    inside, upper = hybrid(scene), strong(scene)
    details = {"gain": np.full(len(upper), verdict.gain)}
    if not upper.all() or scene.policy.strong_from is not None:  # else there is one tier, and no choice
        details[STRONG] = upper.astype(np.float64)
    return Scores(first(upper if verdict.strong else ~upper, inside.values), inside.weights, details)
