"""By joules and seconds (requirement N2): `energy:eco` takes the fewest joules, `energy:fast` the fewest seconds, and
`energy:balanced` the smallest product of both (the energy-delay product)."""

from __future__ import annotations

import numpy as np

from common.errors import BadRequest
from dispatcher.routing.figures import Numbers
from dispatcher.routing.kinds import demand_of
from dispatcher.routing.strategies.seam import Scene, Scores
from dispatcher.routing.strategies.tiers import first

MODES = {"eco": (1.0, 0.0), "balanced": (0.5, 0.5), "fast": (0.0, 1.0)}
"""The exponents of energy and of time."""

TOO_WEAK = 0.25
"""Strength that may be missing, of what the question deserves or of the strongest at hand: a wrong answer saves nothing."""


def energy(scene: Scene) -> Scores:
    """Score by `(least joules / joules)^a x (least seconds / seconds)^b x steadiness`; models far too weak for the question come
    behind all others. What a provider's machines draw nobody here knows, so `eco` and `balanced` put remote models behind the able
    local ones. Joules and seconds are those of a device at ease: one that fails a part of its jobs, or is under strain, takes more.

    Raises `BadRequest` for a mode that there is not.
    """
    mode = scene.ask.variant or "balanced"
    if mode not in MODES:
        raise BadRequest(f"there is no energy mode {mode[:40]!r}: use one of {', '.join(MODES)}", param="strategy")
    for_joules, for_seconds = MODES[mode]
    seconds, known = scene.predicted.total_s, scene.options.remote == 0.0
    joules = np.where(known, scene.predicted.energy_j, np.inf)
    frugal, quick = _best_over(joules), _best_over(seconds)
    strength = scene.options.strength
    able = strength >= min(demand_of(scene.ask.wanted), float(strength.max(initial=0.0))) - TOO_WEAK
    inside = frugal**for_joules * quick**for_seconds * scene.options.steady
    if for_joules:
        inside = first(known, inside)
    values = first(able, inside)
    return Scores(
        values,
        {"energy": for_joules, "time": for_seconds},
        {"frugal": frugal, "quick": quick, "steady": scene.options.steady},
        rule="models that are far too weak last" + (", and before them remote ones" if for_joules else ""),
    )


def _best_over(figures: Numbers) -> Numbers:
    """Give the least figure over each one; 0 for what is not known."""
    floor = np.maximum(figures, 1e-9)
    ratio: Numbers = np.divide(np.min(floor, initial=np.inf), floor, out=np.zeros_like(floor), where=np.isfinite(floor))
    return ratio
