"""What a fault came to: the ledger's sums, figures beside their targets, and what else went wrong; it prints nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from tests.chaos.ledger import Account, Entry, percentile
from tests.chaos.load import Crowd, Load
from tests.chaos.questions import questions
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

    def crowd(self, per_s: float) -> Crowd:
        """Give the jobs that a fault meets beside its streams: as many as it needs to be full, short ones."""
        return Crowd(questions=questions("echo", prefix="crowd"), jobs=self.jobs, per_s=per_s)


FULL = Size(jobs=10_000, rounds=5, freeze_s=30.0, overload_s=60.0, soak_s=20.0)
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
    def unmeasured(self) -> bool:
        """True when it has a target and nothing to hold against it."""
        return self.limit is not None and math.isnan(self.value)

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

    @property
    def unmeasured(self) -> list[str]:
        """Name the figures that have a target and no sample: nothing was proved by them."""
        return [figure.name for figure in self.figures if figure.unmeasured]


class Asked(Protocol):
    """Whoever kept the ledger."""

    ledger: list[Entry]

    def account(self) -> Account:
        """Sum up what became of all jobs."""
        ...

    def complaints(self) -> list[str]:
        """Say what no fault excuses."""
        ...


def outcome(
    fault: str, title: str, world: World, asked: Asked, *figures: Figure, troubles: Iterable[str] = ()
) -> Outcome:
    """Draw up the account of one fault."""
    ended = [f"{name} ended by itself: {_last_line(world, name)}" for name in world.casualties()]
    return Outcome(
        fault=fault,
        title=title,
        account=asked.account(),
        figures=figures,
        troubles=(*ended, *asked.complaints(), *troubles),
    )


def spread(name: str, seconds: Iterable[float], limit_s: float | None = None) -> Figure:
    """Give the 99th percentile of some times in milliseconds, beside the median; without a sample no target is met."""
    values = list(seconds)
    limit = None if limit_s is None else limit_s * 1000
    if not values:
        return Figure(name=f"{name} p99", value=math.nan, unit="ms", limit=limit, detail="no samples")
    detail = f"p50 {percentile(values, 0.5) * 1000:.0f}, n={len(values)}"
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


def moves(load: Load, device: str, since_s: float, until_s: float = math.inf) -> Moves:
    """Find the jobs that left a device after it failed at `since_s`, until it was well again."""
    found = Moves([], [])
    by_job: dict[str, list[Placed]] = {}
    for placed in load.tap.placed:
        by_job.setdefault(placed.job, []).append(placed)
    for places in by_job.values():
        for one, after in itertools.pairwise(places):
            if one.device != device or not since_s <= after.at_s <= until_s:
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
