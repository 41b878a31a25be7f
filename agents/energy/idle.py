"""What the device draws while no job runs, learnt from readings: plain arithmetic; who runs, and since when, is said to it.

Readings are gathered four at a time, and the baseline is the lower quartile of the last sixty means. A low percentile forgets what
else the device did meanwhile; that of single readings would lie below the truth by the sensor's own noise (the tenth percentile
by 1.3 of its standard deviations), and that of means of four does so by a third of one. Sixty of them reach back 40 minutes at a
reading in ten seconds.

A device with a model in memory may draw more than one without: there is a baseline for each.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import fmean, quantiles

TOGETHER = 4
REMEMBERED = 60
ENOUGH = 3
"""Means after which there is no hurry for more."""

DRIFT = 0.02
"""Half a 95 % interval of what the idle draw of a board moves by with heat and background work, as a share of it; judged."""

UNLEARNT = 0.15
"""The same for a baseline that comes from a profile: boards of one kind differ so much with what is plugged in; judged."""

IDLE_SHARE = 0.4
"""Of what a busy board draws, for one of which nothing else is known: 0.35 to 0.45 on an Orin Nano."""

UNKNOWN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A baseline in watts, and half the width of its 95 % interval. `learnt` tells that readings say so, and no profile."""

    watts: float
    half_w: float
    learnt: bool = False


class Baseline:
    """Learnt from the idle readings of one kind."""

    def __init__(self) -> None:
        self._fresh: list[float] = []
        self._means: deque[float] = deque(maxlen=REMEMBERED)
        self._level: Level | None = None

    @property
    def level(self) -> Level | None:
        """None until enough was read."""
        return self._level

    @property
    def firm(self) -> bool:
        """True when there is no hurry for more."""
        return len(self._means) >= ENOUGH

    def learn(self, watts: float) -> None:
        """Take one reading of the idle device."""
        self._fresh.append(watts)
        if len(self._fresh) == TOGETHER:
            self._means.append(fmean(self._fresh))
            self._fresh.clear()
            self._level = _level(self._means)


class Idle:
    """What is known of a device's idle draw, with a model in memory and without."""

    def __init__(self) -> None:
        self._by_loaded = {False: Baseline(), True: Baseline()}

    def learn(self, watts: float, *, loaded: bool) -> None:
        """Take one reading of the idle device."""
        self._by_loaded[loaded].learn(watts)

    def firm(self, *, loaded: bool) -> bool:
        """True when the baseline for now needs no readings in a hurry."""
        return self._by_loaded[loaded].firm

    def level(self, *, loaded: bool, profile_w: float | None, busy_w: float | None) -> Level:
        """Give the baseline: 1. learnt so 2. learnt in the other state 3. the profile's 4. a part of what is drawn busy."""
        for learnt in (self._by_loaded[loaded].level, self._by_loaded[not loaded].level):  # 1, 2
            if learnt is not None:
                return learnt
        if profile_w is not None:  # 3
            return Level(watts=profile_w, half_w=UNLEARNT * profile_w)
        guess = IDLE_SHARE * (busy_w or 0.0)  # 4
        return Level(watts=guess, half_w=UNKNOWN * guess)


def _level(means: deque[float]) -> Level:
    if len(means) == 1:
        return Level(watts=means[0], half_w=2 * DRIFT * means[0], learnt=True)
    low, _, high = quantiles(means, n=4, method="inclusive")
    return Level(watts=low, half_w=DRIFT * low + (high - low), learnt=True)
