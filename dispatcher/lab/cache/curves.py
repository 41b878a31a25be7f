"""Hits and wrong answers over thresholds, with intervals; it knows no policy.

Questions of one intent are right and wrong together: intervals are over draws of whole intents, never of single questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dispatcher.lab.cache.runs import Outcome
from dispatcher.lab.intervals import Interval

DRAWS = 1000
POINTS = 80
"""Thresholds of a curve: at the scores themselves, evenly among those that get an answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Requests, hits and wrong answers of each intent, at each threshold from the strictest to the loosest: `hits` and `wrong`
    have a row for each threshold and a column for each intent, `requests` an entry for each intent."""

    cuts: NDArray[np.float64]
    requests: NDArray[np.float64]
    hits: NDArray[np.float64]
    wrong: NDArray[np.float64]

    @property
    def hit_rate(self) -> NDArray[np.float64]:
        """Give hits as a share of all requests, at each threshold."""
        found: NDArray[np.float64] = self.hits.sum(axis=1) / self.requests.sum()
        return found

    @property
    def error_rate(self) -> NDArray[np.float64]:
        """Give wrong answers as a share of all requests, at each threshold."""
        found: NDArray[np.float64] = self.wrong.sum(axis=1) / self.requests.sum()
        return found


def swept(outcome: Outcome, groups: int) -> Curve:
    """Give the curve of one run in which the threshold changes nothing but what is given."""
    finite = np.sort(outcome.score[np.isfinite(outcome.score)])[::-1]
    places = np.unique(np.linspace(0, max(0, len(finite) - 1), POINTS).astype(int))
    cuts = np.unique(np.concatenate([[np.finfo(np.float64).max], finite[places] if len(finite) else []]))[::-1]
    return _curve(cuts, [(outcome, float(cut)) for cut in cuts], groups)


def stepped(runs: Sequence[tuple[float, Outcome]], groups: int) -> Curve:
    """Give the curve of runs of their own, each with its threshold, the strictest first."""
    return _curve(np.array([cut for cut, _ in runs]), [(outcome, cut) for cut, outcome in runs], groups)


def _curve(cuts: NDArray[np.float64], runs: Sequence[tuple[Outcome, float]], groups: int) -> Curve:
    hits, wrong = [], []
    for outcome, cut in runs:
        given = outcome.hits(cut)
        hits.append(np.bincount(outcome.group[given], minlength=groups))
        wrong.append(np.bincount(outcome.group[given & ~outcome.right], minlength=groups))
    requests = np.bincount(runs[0][0].group, minlength=groups)
    asked = requests > 0
    return Curve(
        cuts,
        requests[asked].astype(float),
        np.array(hits, dtype=float)[:, asked],
        np.array(wrong, dtype=float)[:, asked],
    )


def best(curve: Curve, error_rate: float) -> int:
    """Give the threshold with the most hits among those that keep an error rate: known only afterwards, and so the same grace for
    all. The strictest where none does."""
    fine = np.flatnonzero(curve.error_rate <= error_rate)
    return int(fine[np.argmax(curve.hit_rate[fine])]) if len(fine) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one threshold gives. `times` is how many times the hits of another curve at the same error."""

    cut: float
    hits: Interval
    errors: Interval
    precision: Interval
    times: Interval | None = None


def at(curve: Curve, place: int, *, seed: int, draws: int = DRAWS) -> Point:
    """Give what one threshold gives, with intervals."""
    drawn = _drawn(len(curve.requests), draws, seed)
    hits, wrong, asked = drawn @ curve.hits[place], drawn @ curve.wrong[place], drawn @ curve.requests
    whole = (curve.hits[place].sum(), curve.wrong[place].sum(), curve.requests.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        return Point(
            cut=float(curve.cuts[place]),
            hits=_interval(whole[0] / whole[2], hits / asked),
            errors=_interval(whole[1] / whole[2], wrong / asked),
            precision=_interval(1.0 - whole[1] / whole[0], 1.0 - wrong / hits),
        )


def at_error(curve: Curve, beside: Curve, error_rate: float, *, seed: int, draws: int = DRAWS) -> Point:
    """Give the threshold with the most hits at an error rate, and how many times those of `beside` at its own best threshold: both
    are chosen anew in each draw. Both curves have the same requests."""
    place, other = best(curve, error_rate), best(beside, error_rate)
    found = at(curve, place, seed=seed, draws=draws)
    drawn = _drawn(len(curve.requests), draws, seed)
    mine, theirs = _most(curve, drawn, error_rate), _most(beside, drawn, error_rate)
    with np.errstate(invalid="ignore", divide="ignore"):
        times = _interval(curve.hits[place].sum() / beside.hits[other].sum(), mine / theirs)
    return Point(cut=found.cut, hits=found.hits, errors=found.errors, precision=found.precision, times=times)


def _most(curve: Curve, drawn: NDArray[np.float64], error_rate: float) -> NDArray[np.float64]:
    asked = drawn @ curve.requests
    hits, wrong = drawn @ curve.hits.T, drawn @ curve.wrong.T
    found: NDArray[np.float64] = np.where(wrong <= error_rate * asked[:, None], hits, 0.0).max(axis=1)
    return found


def _drawn(count: int, draws: int, seed: int) -> NDArray[np.float64]:
    """Draw intents with replacement, as many as there are: how often each occurs, a row for each draw."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1.0 / count), size=draws).astype(np.float64)


def _interval(value: float, found: NDArray[np.float64]) -> Interval:
    finite = found[np.isfinite(found)]
    if not len(finite):
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(finite, [0.025, 0.975])
    return Interval(float(value), float(low), float(high))
