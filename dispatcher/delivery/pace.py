"""How fast the line moves, from the slots it gave out: what to tell those who wait, and nothing that anybody is refused for.

Rates are kept apart by kind, which is what a job waits for: of two models on two devices, the line of one says nothing of the
other's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence

SAMPLES = 256
"""Slots given out that the rate is taken over: some ten rounds of a fleet of 25 slots."""

FEWEST = 20
"""With fewer samples nothing is said: twenty make the rate right to about a quarter."""


class Pace:
    """Measures the line of one dispatcher. Time is passed in."""

    def __init__(self) -> None:
        self._granted: dict[Hashable, deque[float]] = {}

    def granted(self, now_s: float, kind: Hashable = "") -> None:
        """Note that somebody in the line got a slot."""
        self._granted.setdefault(kind, deque(maxlen=SAMPLES)).append(now_s)

    def idle(self, kind: Hashable = "") -> None:
        """Forget a rate, since nobody waits: it is the fleet's speed only while the fleet can't do more."""
        self._granted.pop(kind, None)

    def rate_per_s(self, kind: Hashable = "") -> float | None:
        """Slots given out each second while jobs of the kind waited; None until that is known."""
        return _rate(self._granted.get(kind, ()))

    def wait_s(self, ahead: float, kind: Hashable = "") -> float | None:
        """Give the time in which so many are served, as far as it is known."""
        rate = self.rate_per_s(kind)
        return None if rate is None else ahead / rate


def _rate(granted: Sequence[float]) -> float | None:
    number = len(granted)
    if number < FEWEST:
        return None
    # Up to the last one, not up to now: of slots that come free in waves the pause would look like standstill.
    spent_s = granted[-1] - granted[0]
    return (number - 1) / spent_s if spent_s > 0 else None
