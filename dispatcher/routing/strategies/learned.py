"""By the trained router: the strong models when its predicted gain over the weak ones is above the threshold (requirement D1), or
one of several models by its name (E5, E7).

Outside what it was trained on it does not guess: the rules of `heuristic` decide there, and a few such questions go the other way
to learn from; the record says which.
"""

from __future__ import annotations

import numpy as np

from dispatcher.routing.strategies.heuristic import heuristic
from dispatcher.routing.strategies.hybrid import hybrid
from dispatcher.routing.strategies.seam import Scene, Scores
from dispatcher.routing.strategies.several import several
from dispatcher.routing.strategies.tiers import STRONG, first, strong


def learned(scene: Scene) -> Scores:
    """Rank the tier that the router names before the other, within both by the hybrid score."""
    verdict, forecast = scene.ask.verdict, scene.ask.forecast
    if forecast is not None:
        return several(scene, forecast)
    if verdict is None:
        return heuristic(scene)
    inside, upper = hybrid(scene), strong(scene)
    details = {"gain": np.full(len(upper), verdict.gain)}
    if not upper.all() or scene.policy.strong_from is not None:  # else there is one tier, and no choice
        details[STRONG] = upper.astype(np.float64)
    values = first(upper if verdict.strong else ~upper, inside.values)
    rule = f"the {'strong' if verdict.strong else 'weak'} tier first, {verdict.reason}"
    return Scores(values, inside.weights, details, rule=rule)
