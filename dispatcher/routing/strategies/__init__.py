"""Strategies: how the models and devices that are left are scored. One file and one line here for each."""

from __future__ import annotations

from common.errors import BadRequest
from dispatcher.routing.strategies.hybrid import hybrid
from dispatcher.routing.strategies.seam import Strategy

STRATEGIES: dict[str, Strategy] = {
    "hybrid": hybrid,
}


def strategy_of(name: str) -> Strategy:
    """Give the strategy of a name. Raises `BadRequest`."""
    found = STRATEGIES.get(name)
    if found is None:
        raise BadRequest(f"there is no strategy {name!r}: use one of {', '.join(sorted(STRATEGIES))}", param="strategy")
    return found
