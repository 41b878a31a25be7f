"""One measurement of a bridge, put together: what rests, what is asked once, and what each round asks; and what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from dispatcher.lab.speed.door.crowd import flood, idle
from dispatcher.lab.speed.door.delay import delays
from dispatcher.lab.speed.door.pages import FLEETS, PAGES
from dispatcher.lab.speed.door.price import post_all, prices, short
from dispatcher.lab.speed.door.stage import Door

FIRST = 20
"""Requests before memory is read: with the first ones comes what is made when it is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure."""

    requests: int = 400
    streams: int = 512
    turns: int = 3
    clients: int = 1000
    seconds: float = 10.0
    pages_s: float = 15.0
    """Of each figure of open pages: a whole number of what they ask every few seconds."""

    jobs: int = 2000
    """That the ledger has while pages are open."""


QUICK = Plan(requests=16, streams=8, turns=1, clients=20, seconds=0.5, pages_s=0.5, jobs=40)


@dataclass(frozen=True, slots=True)
class Expectation:
    """A figure that should not be above a limit."""

    figure: str
    limit: float


EXPECTED = (
    Expectation("door_open_whole_all_cpu_ms", 2.0),
    Expectation("door_open_stream_all_cpu_ms", 2.0),
    Expectation("door_both_rss_mb", 140.0),
    *(Expectation(f"door_pages_{devices}_{count}_bridge_percent", 2.0) for devices in FLEETS for count in PAGES),
)


async def at_rest(door: Door) -> dict[str, float]:
    """Give the memory of bridge and dispatcher after a few requests. RSS counts what both have of the same file twice; PSS halves
    it."""
    await post_all(door.port, short(), FIRST, {})
    found: dict[str, float] = {}
    for name in ("bridge", "dispatcher"):
        told = psutil.Process(door.pids[name]).memory_full_info()
        found |= {f"door_{name}_rss_mb": told.rss / 1e6, f"door_{name}_pss_mb": told.pss / 1e6}
    for kind in ("rss", "pss"):
        found[f"door_both_{kind}_mb"] = found[f"door_bridge_{kind}_mb"] + found[f"door_dispatcher_{kind}_mb"]
    return found


async def once(door: Door, plan: Plan) -> dict[str, float]:
    """Measure what a run measures a single time: memory first."""
    return {**await at_rest(door), **await idle(door, plan.clients, plan.seconds)}


async def each_round(door: Door, plan: Plan) -> dict[str, float]:
    """Measure the rest."""
    return {
        **await prices(door, plan.requests),
        **await delays(door, plan.streams),
        **await flood(door, plan.turns),
    }


def verdicts(medians: Mapping[str, float]) -> list[dict[str, object]]:
    """Say of each expectation whether it is met."""
    return [
        {
            "figure": one.figure,
            "limit": one.limit,
            "median": medians[one.figure],
            "met": medians[one.figure] <= one.limit,
        }
        for one in EXPECTED
    ]
