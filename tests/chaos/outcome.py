"""What a fault came to: the ledger's sums, figures beside their targets, and what else went wrong; it prints nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from tests.chaos.ledger import Account, Entry, percentile
from tests.chaos.load import Load
from tests.chaos.wiretap import Placed
from tests.chaos.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of a fault is acted out."""

    jobs: int
    rounds: int
    freeze_s: float
    overload_s: float
    soak_s: float


FULL = Size(jobs=10_000, rounds=5, freeze_s=30.0, overload_s=60.0, soak_s=40.0)
SMALL = Size(jobs=400, rounds=1, freeze_s=4.0, overload_s=4.0, soak_s=4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measurement. `limit` is what it should not exceed, or, with `least`, not fall below; None for one without a target."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    least: bool = False
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it keeps its target; None without one."""
        if self.limit is None:
            return None
        if math.isnan(self.value):
            return False
        return self.value >= self.limit if self.least else self.value <= self.limit

    @property
    def text(self) -> str:
        return f"{self.name} {self.value:.3g} {self.unit}" + (f" ({self.detail})" if self.detail else "")

    @property
    def target(self) -> str:
        return "" if self.limit is None else f"{'>=' if self.least else '<='} {self.limit:g} {self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row of the table. `troubles` are facts that no fault excuses: a process that crashed, a wrong exit status."""

    fault: str
    title: str
    account: Account
    figures: tuple[Figure, ...] = ()
    troubles: tuple[str, ...] = ()

    def value(self, name: str) -> float:
        """Give one of its figures."""
        return next(figure.value for figure in self.figures if figure.name == name)

    @property
    def whole(self) -> bool:
        """True when nothing was lost, duplicated or spliced, and nothing broke."""
        return self.account.whole and not self.troubles


def outcome(
    fault: str, title: str, world: World, load: Load, *figures: Figure, troubles: Iterable[str] = ()
) -> Outcome:
    """Draw up the account of one fault."""
    ended = [f"{name} ended by itself: {_last_line(world, name)}" for name in world.casualties()]
    wrong = [f"{entry.job}: {entry.wrong}" for entry in load.ledger if entry.wrong][:3]
    doubled = [f"more than one end for {job}" for job in sorted(load.tap.duplicated())[:3]]
    garbled = [f"{load.tap.garbled} frames could not be read"] if load.tap.garbled else []
    return Outcome(
        fault=fault,
        title=title,
        account=load.account(),
        figures=figures,
        troubles=(*ended, *wrong, *doubled, *garbled, *troubles),
    )


def spread(name: str, seconds: Iterable[float], limit_s: float | None = None) -> Figure:
    """Give the 99th percentile of some times in milliseconds, beside the median."""
    values = list(seconds)
    if not values:
        return Figure(name=name, value=math.nan, unit="ms", limit=None, detail="no samples")
    detail = f"p50 {percentile(values, 0.5) * 1000:.0f}, n={len(values)}"
    limit = None if limit_s is None else limit_s * 1000
    return Figure(name=f"{name} p99", value=percentile(values, 0.99) * 1000, unit="ms", limit=limit, detail=detail)


def latencies(entries: Iterable[Entry]) -> list[float]:
    """Give how long answered jobs took."""
    return [entry.took_s for entry in entries if entry.outcome == "answered"]


@dataclass(frozen=True, slots=True)
class Moves:
    """How long jobs took to be given to another device: those that a device `held` from the moment it failed, those that it was
    given afterwards, and were `new` to it, from then on."""

    held: list[float]
    new: list[float]


def moves(load: Load, device: str, since_s: float) -> Moves:
    """Find the jobs that left a device after it failed at `since_s`."""
    found = Moves([], [])
    by_job: dict[str, list[Placed]] = {}
    for placed in load.tap.placed:
        by_job.setdefault(placed.job, []).append(placed)
    for places in by_job.values():
        for one, after in itertools.pairwise(places):
            if one.device != device or after.at_s < since_s:
                continue
            if one.at_s < since_s:
                found.held.append(after.at_s - since_s)
            else:
                found.new.append(after.at_s - one.at_s)
    return found


def _last_line(world: World, name: str) -> str:
    member = next(member for member in world.members if member.name == name)
    lines = member.tail().strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
