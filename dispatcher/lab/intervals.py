"""Bootstrap intervals over what belongs together: whole groups are drawn, never single rows of one; it knows no figure of its own.

Turns of a conversation, and the same question asked again, are fast and slow together. Drawn one by one they would count as so many
independent facts, and the interval would be too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
Numbers = NDArray[np.float64]
Statistic = Callable[[Numbers, Numbers], float]
"""From rising values, and how often each of them occurs, to a figure; NaN where it is not defined."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def interval(
    values: Sequence[float], groups: Sequence[Hashable], statistic: Statistic, *, seed: int, draws: int = DRAWS
) -> Interval | None:
    """Give a figure and the 2.5 % and 97.5 % quantiles of it over draws of whole groups with replacement.

    None where the figure is not defined. Draws in which it is not are left out. A value, and a bound, may be infinite.
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    column = np.array([values[at] for at in order], dtype=np.float64)
    numbers: dict[Hashable, int] = {}
    group = np.array([numbers.setdefault(groups[at], len(numbers)) for at in order], dtype=np.intp)
    value = statistic(column, np.ones(len(column))) if len(column) else float("nan")
    if np.isnan(value):
        return None
    found = sorted(one for times in _drawn(group, draws, seed) if not np.isnan(one := statistic(column, times)))
    return Interval(value, _nearest(found, 0.025), _nearest(found, 0.975))


def mean(values: Numbers, times: Numbers) -> float:
    """Give the mean of what is finite."""
    finite = np.isfinite(values)
    weight = times[finite].sum()
    return float((values[finite] * times[finite]).sum() / weight) if weight > 0 else float("nan")


def median(values: Numbers, times: Numbers) -> float:
    """Give the nearest-rank median."""
    passed = np.cumsum(times)
    return float(values[np.searchsorted(passed, passed[-1] / 2)]) if passed[-1] > 0 else float("nan")


def _drawn(group: NDArray[np.intp], draws: int, seed: int) -> Iterator[Numbers]:
    """Draw groups with replacement, as many as there are: how often each row occurs."""
    chance = np.random.default_rng(seed)
    count = int(group.max()) + 1
    for _ in range(draws):
        yield np.bincount(chance.integers(0, count, count), minlength=count)[group].astype(np.float64)


def _nearest(ordered: Sequence[float], share: float) -> float:
    """Give the nearest rank: between a number and infinity there is nothing to be interpolated."""
    return ordered[min(len(ordered) - 1, max(0, round(share * (len(ordered) - 1))))]
