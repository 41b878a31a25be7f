"""How a decision in short is read: which figure stands where, and the score as a formula; it decides nothing.

Whoever keeps one, or is asked for it later, need not know how it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DIGITS = 4
TERMS = ("tokens", "topic", "health")
FIGURES = ("wait_s", "load_s", "first_token_s", "total_s", "energy_j", "cost_usd")
COLUMNS = ("device", "model", "warm", "simulated", "score", *TERMS, *FIGURES)
"""What stands in an option, which is a list."""


def unfold(told: Mapping[str, Any]) -> dict[str, Any]:
    """Give a brief in the form of `explain.record`; whoever knows which device had the job says so in `chosen`. Raises
    `ValueError` and the like for what is none."""
    options = [_unfolded(dict(zip(COLUMNS, one, strict=True)), told["weights"]) for one in told["options"]]
    chosen = {"device": options[0]["device"], "model": options[0]["model"]} if options else None
    return {"chosen": chosen, **told, **formula(told["weights"]), "options": options}


def formula(weights: Mapping[str, float]) -> dict[str, str]:
    """Write the score of the hybrid as a sum; nothing where a strategy weighs otherwise."""
    if set(weights) != set(TERMS):
        return {}
    parts = (f"{weights[name]:.{DIGITS}g} * {name}" for name in TERMS)
    return {"formula": f"score = {' + '.join(parts)}"}


def _unfolded(one: dict[str, Any], weights: Mapping[str, float]) -> dict[str, Any]:
    terms = {name: one[name] for name in TERMS}
    return {
        **{name: one[name] for name in ("device", "model", "warm", "simulated", "score")},
        "terms": terms,
        "parts": {name: round(weights[name] * value, DIGITS) for name, value in terms.items() if name in weights},
        "predicted": {name: one[name] for name in FIGURES},
    }
