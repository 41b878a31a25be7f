"""The weak models first; their answer is checked, and the strong ones are asked when it does not hold (requirement E7)."""

from __future__ import annotations

import numpy as np

from dispatcher.routing.strategies.hybrid import hybrid
from dispatcher.routing.strategies.seam import Scene, Scores
from dispatcher.routing.strategies.tiers import first, strong

STRONG = "strong"
"""The detail that tells the tier of a candidate: 1 for the strong ones, 0 for the weak."""

STRENGTH = "strength"
"""The detail that tells how strong its model is, in [0, 1]."""


def cascade(scene: Scene) -> Scores:
    """Rank the weak tier first, and after an answer that did not hold the strong one; within both by the hybrid score."""
    inside, upper = hybrid(scene), strong(scene)
    values = first(upper if scene.ask.escalated else ~upper, inside.values)
    return Scores(values, inside.weights, {STRONG: upper.astype(np.float64), STRENGTH: scene.options.strength})
