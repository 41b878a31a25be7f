"""The names of strategies, and in a line what each goes by, for whoever offers them to people; how they decide is the dispatcher's.

A test holds them to those that there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """What a strategy goes by. `example` is there for those that take a variant behind a colon."""

    what: str
    example: str | None = None


STRATEGIES: Mapping[str, Known] = {
    "hybrid": Known("how well size and topic of the question suit, and how the device is, weighed together"),
    "energy": Known("joules and seconds: `eco`, `fast`, or `balanced` between both", example="energy:eco"),
    "cascade": Known("weak models first, and strong ones where their answer does not hold"),
    "learned": Known("what a trained router expects strong models to gain"),
    "llm": Known("what a small model makes of the question"),
    "heuristic": Known("rules on what kind of question it is"),
    "semantic": Known("the device whose topics are nearest"),
    "token": Known("short questions to small devices, long ones to large", example="token:1000"),
    "perf": Known("health and recent latency alone"),
    "weighted": Known("the shares that the owner gives devices for a workload", example="weighted:code"),
    "least_loaded": Known("the fewest jobs for each slot; a baseline"),
    "round_robin": Known("one device after the other; a baseline"),
    "random": Known("lots; a baseline"),
}
