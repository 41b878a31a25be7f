"""Watts from counters of energy: the mean between two looks, through a counter's end; what counts is not known here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STALE_S = 60.0
"""A counter of 65 kJ, the smallest of RAPL's, ends every minute at 1 kW: over more than that, nobody knows how often it did. And a
mean over minutes says nothing of now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Where a counter stands. `range_j` is where it begins again; None for one that does not."""

    joules: float
    range_j: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """Mean watts of each counter, at the middle of the time that they are of."""

    at_s: float
    watts: Mapping[str, float]


class Meter:
    """Remembers the last look."""

    def __init__(self, *, least_s: float) -> None:
        """`least_s`: over less, the steps in which the counters move show."""
        self._least_s = least_s
        self._before: tuple[float, Mapping[str, Counted]] | None = None
        self._mean: Mean | None = None

    def look(self, at_s: float, counts: Mapping[str, Counted]) -> Mean | None:
        """Give the mean since the look before; the last mean when that was only just; None when there is nothing to compare."""
        if self._before is None:
            self._before = at_s, counts
            return None
        before_s, before = self._before
        elapsed_s = at_s - before_s
        if elapsed_s < self._least_s:
            return self._mean
        self._before = at_s, counts
        joules = _used(before, counts) if elapsed_s <= STALE_S else None
        self._mean = _mean(before_s, at_s, joules) if joules else None
        return self._mean

    def forget(self) -> None:
        """Begin anew: what is counted until the next look would be a mean over too long."""
        self._before = self._mean = None


def _mean(from_s: float, to_s: float, joules: Mapping[str, float]) -> Mean:
    return Mean(at_s=(from_s + to_s) / 2, watts={name: used / (to_s - from_s) for name, used in joules.items()})


def _used(before: Mapping[str, Counted], after: Mapping[str, Counted]) -> dict[str, float] | None:
    """Give the joules between two looks; None when a counter came, went or was set back."""
    if before.keys() != after.keys():
        return None
    used = {}
    for name, now in after.items():
        joules = now.joules - before[name].joules
        if joules < 0:
            if not now.range_j:
                return None
            joules += now.range_j
        if joules < 0:
            return None
        used[name] = joules
    return used
