"""Bootstrap intervals of how prompts are ordered: whole groups of prompts are drawn, never single rows of one; it knows no router.

Prompts of one template, or of one subject, are right and wrong together. Drawn one by one they would count as so many independent
facts, and the interval would be too narrow: on MMLU by a half.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

FIGURES = 5
"""APGR, CPT50, CPT80, AUROC of gain, AUROC of weak failing: in this order."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the bounds of its 95 % bootstrap interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


def resampled(score: Floats, gain: Floats, fails: NDArray[np.bool_], group: Rows, *, draws: int, seed: int) -> Floats:
    """Give the five figures of each draw, a row each; NaN where one is not defined. The same seed draws the same groups."""
    ordered = _Ordered.of(score, gain, fails)
    return np.array([ordered.figures(times) for times in drawn(group, draws, seed)]).reshape(draws, FIGURES)


def bounds(figures: Floats) -> tuple[float, float]:
    """Give the 2.5 % and 97.5 % quantiles; draws in which the figure is not defined are left out."""
    sound = figures[np.isfinite(figures)]
    low, high = np.quantile(sound, [0.025, 0.975]) if len(sound) else (np.nan, np.nan)
    return float(low), float(high)


def drawn(group: Rows, draws: int, seed: int) -> Iterator[Rows]:
    """Draw groups with replacement, as many as there are, `draws` times: how often each row occurs."""
    rng = np.random.default_rng(seed)
    _, at = np.unique(group, return_inverse=True)
    count = int(at.max()) + 1 if len(at) else 0
    for _ in range(draws):
        yield np.bincount(rng.integers(0, count, count), minlength=count)[at]


@dataclass(frozen=True, slots=True, eq=False)
class _Ordered:
    """Prompts in falling order of score. `first` is where each run of equal scores begins: they share what they gain."""

    order: Rows
    first: Rows
    gain: Floats
    up: NDArray[np.bool_]
    fails: NDArray[np.bool_]

    @classmethod
    def of(cls, score: Floats, gain: Floats, fails: NDArray[np.bool_]) -> _Ordered:
        order = np.argsort(-score, kind="stable")
        _, first = np.unique(-score[order], return_index=True)
        return cls(order, first, gain[order], gain[order] > 0, fails[order])

    def figures(self, drawn_times: Rows) -> tuple[float, ...]:
        """Give the five figures of prompts that occur so many times each."""
        times = drawn_times[self.order]
        calls, gains = self._runs(times), self._runs(times * self.gain)
        recovered = np.cumsum(gains)
        ranked = tuple(_ranked(self._runs(times * one), self._runs(times * ~one)) for one in (self.up, self.fails))
        if len(recovered) == 0 or recovered[-1] <= 0:
            return (np.nan, np.nan, np.nan, *ranked)
        area = float((calls * (recovered - gains / 2)).sum() / calls.sum() / recovered[-1])
        return (area, _reached(calls, gains, 0.5), _reached(calls, gains, 0.8), *ranked)

    def _runs(self, each: NDArray[np.generic]) -> Floats:
        """Add up over equal scores."""
        whole = each if len(self.first) == len(each) else np.add.reduceat(each, self.first)
        return np.asarray(whole, dtype=np.float64)


def _reached(calls: Floats, gains: Floats, part: float) -> float:
    """Give the least share of calls that recovers `part` of the gap; the calls of one run recover alike."""
    recovered = np.cumsum(gains)
    at = int(np.argmax(recovered >= (part - 1e-9) * recovered[-1]))
    wanted = part * recovered[-1] - (recovered[at] - gains[at])
    inside = np.ceil(wanted / gains[at] * calls[at] - 1e-6)
    return float((calls[:at].sum() + inside) / calls.sum())


def _ranked(ups: Floats, downs: Floats) -> float:
    """Give the AUROC of runs in falling order of score, so many positives and negatives in each; ties count half."""
    if not ups.any() or not downs.any():
        return float("nan")
    return float((ups[::-1] * (np.cumsum(downs[::-1]) - downs[::-1] / 2)).sum() / ups.sum() / downs.sum())
