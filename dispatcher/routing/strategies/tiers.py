"""What several strategies share: which of the models at hand are the strong ones, and how well a strength suits a demand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dispatcher.routing.strategies.seam import Scene
from dispatcher.routing.table import Numbers

WASTE = 0.35
"""What strength beyond the demand costs, beside what is missing: a model that is too weak fails, one too strong is only dear."""


def strong(scene: Scene) -> NDArray[np.bool_]:
    """Tell which rows are strong: those from `policy.strong_from` on, else the upper half of the range of strengths at hand. All
    are when they are equal."""
    strength = scene.options.strength
    if not len(strength):
        return np.zeros(0, dtype=np.bool_)
    bound = scene.policy.strong_from
    middle = float(strength.max() + strength.min()) / 2 if bound is None else bound
    found: NDArray[np.bool_] = strength >= middle
    return found


def suits(strength: Numbers, demand: float) -> Numbers:
    """Give how well strengths suit a demand, in [0, 1]: `1 - missing - WASTE x surplus`."""
    missing, surplus = np.maximum(0.0, demand - strength), np.maximum(0.0, strength - demand)
    found: Numbers = np.maximum(0.0, 1.0 - missing - WASTE * surplus)
    return found


def spread(values: Numbers) -> Numbers:
    """Stretch values to [0, 1]; equals are all 0.5."""
    if not len(values):
        return values
    low, high = float(values.min()), float(values.max())
    return np.full_like(values, 0.5) if high <= low else (values - low) / (high - low)


def first(chosen: NDArray[np.bool_], inside: Numbers) -> Numbers:
    """Rank the chosen rows before all others, and within both by `inside` in [0, 1]."""
    ranked: Numbers = chosen / 2 + inside / 2
    return ranked
