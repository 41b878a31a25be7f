"""Fixed against learned weights on the same worlds, seed by seed: regret and latency, before and after the shift, with intervals.

Both arms see the same devices and questions; only what they choose differs, and what they learn from it: nothing, or the latency of
each answer once it is there, with the bounds, rates and exploration of the product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dispatcher.lab.feedback.fleet import Plan, Served, World
from dispatcher.routing import RoutingPolicy
from dispatcher.routing.feedback import EXPLORATION, TERMS, Learned, Outcome, Source, changed, heard, latency_reward

Floats = NDArray[np.float64]

CHANGE_S = 1.0
"""The dispatcher applies what it heard once a second."""

DRAWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """All worlds with one way of weighing: a row for each seed, a column for each job. `factors` are on the owner's weights."""

    regret_s: Floats
    latency_s: Floats
    factors: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over seeds with its bootstrap 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stretch of the jobs: means of both arms, and the difference, learned less fixed. Seconds."""

    stretch: str
    figure: str
    fixed: float
    learned: float
    difference: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Everything that was found."""

    plan: Plan
    seeds: int
    target_s: float
    fixed: Arm
    learned: Arm
    rows: tuple[Row, ...]


def study(
    plan: Plan, *, seeds: int, first_seed: int = 0, target_s: float = 8.0, progress: Callable[[int], None]
) -> Study:
    """Run both arms on each world. `target_s` is what answers may take; `progress` is told of each seed that is done."""
    arms: dict[bool, list[tuple[Floats, Floats, Floats]]] = {False: [], True: []}
    for number in range(seeds):
        for learns, runs in arms.items():
            runs.append(_run(plan, first_seed + number, learns=learns, target_s=target_s))
        progress(number + 1)
    fixed, learned = (_arm(arms[learns]) for learns in (False, True))
    return Study(
        plan=plan, seeds=seeds, target_s=target_s, fixed=fixed, learned=learned, rows=_rows(plan, fixed, learned)
    )


@dataclass(slots=True)
class _Learner:
    """Hears outcomes as the dispatcher does."""

    target_s: float
    owner: RoutingPolicy = field(default_factory=RoutingPolicy)
    learned: Learned = field(default_factory=Learned)
    policy: RoutingPolicy = field(default_factory=RoutingPolicy)
    changed_s: float = 0.0

    def hear(self, served: Served) -> None:
        reward = latency_reward(served.latency_s, self.target_s)
        outcome = Outcome(source=Source.LATENCY, reward=reward, chosen=served.chosen, rival=served.rival)
        self.learned = heard(self.learned, outcome)
        if served.done_s - self.changed_s >= CHANGE_S:
            self.changed_s = served.done_s
            self.learned, _ = changed(self.learned)
            self.policy = self.learned.policy(self.owner)


def _run(plan: Plan, seed: int, *, learns: bool, target_s: float) -> tuple[Floats, Floats, Floats]:
    learner = _Learner(target_s)
    if learns:
        world = World(plan, seed, lambda: learner.policy, learner.hear, lambda drawn: drawn < EXPLORATION * 2**32)
    else:
        world = World(plan, seed, lambda: learner.owner, lambda _: None)
    regret_s, latency_s, factors = np.empty(plan.jobs), np.empty(plan.jobs), np.empty((plan.jobs, len(TERMS)))
    for served in world.run():
        regret_s[served.number], latency_s[served.number] = served.regret_s, served.latency_s
        factors[served.number] = list(learner.learned.factors.values())
    return regret_s, latency_s, factors


def _arm(runs: list[tuple[Floats, Floats, Floats]]) -> Arm:
    regret_s, latency_s, factors = (np.stack(column) for column in zip(*runs, strict=True))
    return Arm(regret_s=regret_s, latency_s=latency_s, factors=factors)


def _rows(plan: Plan, fixed: Arm, learned: Arm) -> tuple[Row, ...]:
    at, end = plan.shift_at, plan.jobs
    stretches = {
        "before the shift": slice(0, at),
        "first 300 after it": slice(at, min(end, at + 300)),
        "all after it": slice(at, end),
        "last 500": slice(max(at, end - 500), end),
    }
    return tuple(
        _row(stretch, figure, getattr(fixed, name)[:, jobs], getattr(learned, name)[:, jobs])
        for figure, name in (("regret", "regret_s"), ("latency", "latency_s"))
        for stretch, jobs in stretches.items()
    )


def _row(stretch: str, figure: str, fixed: Floats, learned: Floats) -> Row:
    before, after = fixed.mean(axis=1), learned.mean(axis=1)
    return Row(
        stretch=stretch,
        figure=figure,
        fixed=float(before.mean()),
        learned=float(after.mean()),
        difference=_interval(after - before),
    )


def _interval(paired: Floats) -> Interval:
    rng = np.random.default_rng(0)
    means = paired[rng.integers(0, len(paired), (DRAWS, len(paired)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(value=float(paired.mean()), low=float(low), high=float(high))
