"""The weak models first; their answer is checked, and the strong ones are asked when it does not hold (requirement E7)."""

from __future__ import annotations

import numpy as np

from dispatcher.routing.strategies.hybrid import hybrid
from dispatcher.routing.strategies.seam import Scene, Scores
from dispatcher.routing.strategies.tiers import STRENGTH, STRONG, first, strong


def cascade(scene: Scene) -> Scores:
    """Rank the weak tier first, and after an answer that did not hold the strong one; within both by the hybrid score."""
    inside, upper = hybrid(scene), strong(scene)
    values = first(upper if scene.ask.escalated else ~upper, inside.values)
    rule = f"the {'strong' if scene.ask.escalated else 'weak'} tier first"
    return Scores(
        values, inside.weights, {STRONG: upper.astype(np.float64), STRENGTH: scene.options.strength}, rule=rule
    )
