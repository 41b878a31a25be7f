"""What several strategies share: which of the models at hand are the strong ones, and how well a strength suits a demand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dispatcher.outcomes import Candidate
from dispatcher.routing.ask import RoutingPolicy
from dispatcher.routing.figures import CAN, STRENGTHS, Numbers
from dispatcher.routing.filters import Ability
from dispatcher.routing.strategies.seam import Scene
from dispatcher.routing.table import View

WASTE = 0.35
"""What strength beyond the demand costs, beside what is missing: a model that is too weak fails, one too strong is only dear."""


STRONG = "strong"
"""The detail that tells the tier of a candidate: 1 for the strong ones, 0 for the weak."""

STRENGTH = "strength"
"""The detail that tells how strong its model is, in [0, 1]."""


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


def is_strong(view: View, policy: RoutingPolicy, one: Candidate) -> bool | None:
    """Tell whether a model is strong beside all that make text in the fleet, at hand or not: for a job that had no choice. None
    when they are all equal, or it is not there any more."""
    block, bound = view.blocks.get(one.device), policy.strong_from
    rows = () if block is None else range(block.start, block.stop)
    place = next((row for row in rows if view.rows[row].model.name == one.model), None)
    if place is None:
        return None
    strengths = view.figures[STRENGTHS]
    if bound is None:
        there = strengths[(np.nan_to_num(view.figures[CAN]).astype(np.int64) & Ability.TEXT) > 0]
        low, high = float(there.min(initial=1.0)), float(there.max(initial=0.0))
        if low >= high:
            return None
        bound = (low + high) / 2
    return bool(strengths[place] >= bound)


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
