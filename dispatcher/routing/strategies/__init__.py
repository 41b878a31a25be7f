"""Strategies: how the models and devices that are left are scored. One file and one line here for each."""

from __future__ import annotations

from common import strategies
from common.errors import BadRequest
from dispatcher.routing.strategies.cascade import cascade
from dispatcher.routing.strategies.energy import energy
from dispatcher.routing.strategies.heuristic import heuristic
from dispatcher.routing.strategies.hybrid import hybrid
from dispatcher.routing.strategies.learned import learned
from dispatcher.routing.strategies.least_loaded import least_loaded
from dispatcher.routing.strategies.llm import llm
from dispatcher.routing.strategies.perf import perf
from dispatcher.routing.strategies.random import random
from dispatcher.routing.strategies.round_robin import round_robin
from dispatcher.routing.strategies.seam import Strategy
from dispatcher.routing.strategies.semantic import semantic
from dispatcher.routing.strategies.token import token
from dispatcher.routing.strategies.weighted import weighted

STRATEGIES: dict[str, Strategy] = {
    "cascade": cascade,
    "energy": energy,
    "heuristic": heuristic,
    "hybrid": hybrid,
    "learned": learned,
    "least_loaded": least_loaded,
    "llm": llm,
    "perf": perf,
    "random": random,
    "round_robin": round_robin,
    "semantic": semantic,
    "token": token,
    "weighted": weighted,
}


VARIANTS = {name: one.example for name, one in strategies.STRATEGIES.items() if one.example is not None}
"""The strategies that take a variant behind a colon, with an example; they look at it themselves."""


def strategy_of(name: str) -> Strategy:
    """Give the strategy of a name, which may carry a variant behind a colon. Raises `BadRequest`, also for a variant that means
    nothing: whoever writes `learned:0.5` wants something that would not happen."""
    base, colon, _ = name.partition(":")
    found = STRATEGIES.get(base)
    if found is None:
        raise BadRequest(
            f"there is no strategy {name[:60]!r}: use one of {', '.join(sorted(STRATEGIES))}", param="strategy"
        )
    if colon and base not in VARIANTS:
        raise BadRequest(
            f"there is no strategy {name[:60]!r}: {base} has no variants, write it alone; those that have: "
            f"{', '.join(VARIANTS.values())}",
            param="strategy",
        )
    return found
