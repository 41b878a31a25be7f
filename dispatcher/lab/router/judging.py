"""What a method's scores are worth on test prompts: figures, intervals, leads over chance and length; it trains nothing.

Figures of several repeats are the mean of theirs. Intervals are those of the first repeat, moved to that mean: they tell what other
test prompts would have given, not what other training prompts would; that is `Row.spread`, how far the repeats lie apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from dispatcher.lab.router import splits
from dispatcher.lab.router.baselines import length_scores
from dispatcher.lab.router.bootstrap import Interval
from dispatcher.lab.router.labels import Labels
from dispatcher.lab.router.metrics import Order, apgr, judge, lead, pgr_at

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Scored = tuple[Rows, Floats]
"""Test rows, and their scores."""

FEWEST_OF_A_DOMAIN = 50
"""Figures of a domain with fewer test prompts say nothing."""

SHARES = (0.1, 0.25, 0.45, 0.5, 0.75)
"""Shares of strong calls at which accuracy is told; 45 % is where a published edge-cloud router stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to evaluate. `train_rows` draws training sets of that size instead of folds; `grouped` keeps prompts
    that begin alike together, else only copies are.

    `without` are domains that are left out for a second look. `cost_ratio` is what a weak call costs of a strong one. Intervals
    come of drawing prompts, those that begin alike together, or with `by_domain` whole domains.
    """

    seed: int = 0
    folds: int = 5
    repeats: int = 1
    train_rows: int | None = None
    grouped: bool = True
    unseen_folds: int = 5
    without: tuple[str, ...] = ()
    cost_ratio: float = 0.1
    draws: int = 1000
    by_domain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a share of strong calls gives. `saved` is the saved part of the all-strong cost; a cascade pays each weak one."""

    share: float
    accuracy: float
    pgr: float
    saved: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method on one set of test prompts.

    `over_length` and `over_chance` are how much more APGR it has than prompt length and than random calls, paired: each draw judges
    both. `spread` is the standard deviation of APGR over the repeats, None with one.
    """

    method: str
    test: str
    count: int
    weak: float
    strong: float
    order: Order
    over_length: Interval
    over_chance: Interval
    spread: float | None
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRow:
    """One domain, scored by the router."""

    domain: str
    count: int
    weak: float
    strong: float
    apgr: float
    mean_gain: float
    mean_score: float


class Bench:
    """The labels against which methods are judged, and what of them is drawn together for intervals."""

    def __init__(self, labels: Labels, plan: Plan) -> None:
        self._labels = labels
        self._plan = plan
        self._length = length_scores(labels.prompts)
        self._heads = splits.alike(labels.prompts)[0]
        self._domains = np.unique(np.array(labels.domains), return_inverse=True)[1]

    def looks(self, method: str, test: str, parts: Sequence[Scored]) -> Iterator[Row]:
        """Judge all test prompts, and again without the domains that are left out for a second look."""
        yield self.row(method, test, parts)
        if self._plan.without:
            kept = ~np.isin(self._labels.domains, self._plan.without)
            less = [(rows[kept[rows]], score[kept[rows]]) for rows, score in parts]
            yield self.row(method, f"{test}, without {', '.join(self._plan.without)}", less)

    def row(self, method: str, test: str, parts: Sequence[Scored], *, by_domain: bool = False) -> Row:
        """Judge the repeats of a method. With `by_domain`, or where the plan says so, whole domains are drawn."""
        labels, plan = self._labels, self._plan
        group = self._domains if by_domain or plan.by_domain else self._heads
        orders = [
            judge(
                score, labels.weak[rows], labels.strong[rows], group=group[rows], draws=_draws(at, plan), seed=plan.seed
            )
            for at, (rows, score) in enumerate(parts)
        ]
        rows = parts[0][0]
        return Row(
            method=method,
            test=test,
            count=len(rows),
            weak=float(labels.weak[rows].mean()),
            strong=float(labels.strong[rows].mean()),
            order=_mean(orders),
            over_length=self._lead(parts, group, lambda rows: self._length[rows]),
            over_chance=self._lead(parts, group, lambda rows: np.zeros(len(rows))),
            spread=float(np.std([order.apgr.value for order in orders], ddof=1)) if len(orders) > 1 else None,
            points=tuple(self._point(share, method, parts) for share in SHARES),
        )

    def domains(self, scored: Scored) -> tuple[DomainRow, ...]:
        """Judge each domain that has enough prompts by itself."""
        labels, (test, score) = self._labels, scored
        names = np.array(labels.domains)[test]
        found = []
        for domain in sorted(set(names.tolist())):
            inside = names == domain
            rows = test[inside]
            if len(rows) >= FEWEST_OF_A_DOMAIN:
                found.append(
                    DomainRow(
                        domain=domain or "(none)",
                        count=len(rows),
                        weak=float(labels.weak[rows].mean()),
                        strong=float(labels.strong[rows].mean()),
                        apgr=apgr(score[inside], labels.gain[rows]),
                        mean_gain=float(labels.gain[rows].mean()),
                        mean_score=float(score[inside].mean()),
                    )
                )
        return tuple(found)

    def _lead(self, parts: Sequence[Scored], group: Rows, other: Callable[[Rows], Floats]) -> Interval:
        """Give the lead over other scores: random calls have equal ones, which share what they gain."""
        gain, plan = self._labels.gain, self._plan
        return _moved(
            [
                lead(score, other(rows), gain[rows], group=group[rows], draws=_draws(at, plan), seed=plan.seed)
                for at, (rows, score) in enumerate(parts)
            ]
        )

    def _point(self, share: float, method: str, parts: Sequence[Scored]) -> Point:
        labels, ratio = self._labels, self._plan.cost_ratio
        pgr = float(np.mean([pgr_at(score, labels.gain[rows], share) for rows, score in parts]))
        rows = parts[0][0]
        weak, strong = float(labels.weak[rows].mean()), float(labels.strong[rows].mean())
        paid = share + ratio if method == "cascade" else share + (1 - share) * ratio
        return Point(share=share, accuracy=weak + pgr * (strong - weak), pgr=pgr, saved=1 - paid)


def _draws(repeat: int, plan: Plan) -> int:
    """Only the first repeat's interval is used."""
    return plan.draws if repeat == 0 else 1


def _mean(orders: Sequence[Order]) -> Order:
    found: dict[str, Interval | float] = {}
    for field in fields(Order):
        values = [getattr(order, field.name) for order in orders]
        found[field.name] = _moved(values) if isinstance(values[0], Interval) else float(np.mean(values))
    return Order(**found)  # type: ignore[arg-type]  # each field has the type of its own


def _moved(intervals: Sequence[Interval]) -> Interval:
    """Give the first interval, moved to the mean of all."""
    first, value = intervals[0], float(np.mean([one.value for one in intervals]))
    return Interval(value, first.low + value - first.value, first.high + value - first.value)
