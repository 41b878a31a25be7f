"""How fast the line moves and how long jobs really take, from what was seen; it knows no device and no ticket.

Two kinds of figures. `wait_s` and `likely_s` are what to expect: they order and inform, and a wrong one harms nobody for good.
`soonest_s` and `least_s` are bounds from below, for refusals: a job that they rule out would not have been answered.
"""

from __future__ import annotations

from collections import deque

SAMPLES = 256
"""Slots given out that the rate is taken over: some ten rounds of a fleet of 25 slots."""

FEWEST = 20
"""With fewer samples nothing is ruled out: twenty make the rate right to about a quarter."""

OPTIMISM = 2.0
"""A job is ruled out only if it would be late even in a line twice as fast, or in half the shortest time seen."""

ANSWERS = 64
LIKELY = 0.9
"""Nine of ten jobs take no longer than `likely_s`."""

NO_TIME_S = 1e-3


class Pace:
    """Measures the line of one dispatcher. Time is passed in."""

    def __init__(self) -> None:
        self._granted: deque[float] = deque(maxlen=SAMPLES)
        self._ratios: deque[float] = deque(maxlen=ANSWERS)
        self._likely = 1.0
        self._least = 0.0

    def granted(self, now_s: float) -> None:
        """Note that somebody in the line got a slot."""
        self._granted.append(now_s)

    def idle(self) -> None:
        """Forget the rate, since nobody waits: it is the fleet's speed only while the fleet can't do more."""
        self._granted.clear()

    def answered(self, *, expected_s: float, took_s: float) -> None:
        """Note how long an answer took against what was expected of it."""
        self._ratios.append(max(0.0, took_s) / max(NO_TIME_S, expected_s))
        ordered = sorted(self._ratios)
        self._likely = ordered[int(LIKELY * (len(ordered) - 1))]
        self._least = ordered[0] / OPTIMISM if len(ordered) >= FEWEST else 0.0

    def cut(self, *, expected_s: float, ran_s: float) -> None:
        """Note that an answer was not complete after so long. Only one that ran for longer than was likely tells anything; without
        those the long answers would never count, since they are the ones that are cut."""
        if ran_s > self.likely_s(expected_s):
            self.answered(expected_s=expected_s, took_s=ran_s)

    @property
    def rate_per_s(self) -> float | None:
        """Slots given out each second while jobs waited; None until that is known."""
        # Up to the last one, not up to now: of slots that come free in waves the pause would look like standstill.
        spent_s = self._granted[-1] - self._granted[0] if len(self._granted) >= FEWEST else 0.0
        return (len(self._granted) - 1) / spent_s if spent_s > 0 else None

    def wait_s(self, ahead: float) -> float | None:
        """Give the time in which so many are served, as far as it is known."""
        rate = self.rate_per_s
        return None if rate is None else ahead / rate

    def soonest_s(self, ahead: float) -> float:
        """Give the time that so many take at the very least."""
        return (self.wait_s(ahead) or 0.0) / OPTIMISM

    def likely_s(self, expected_s: float) -> float:
        """Give the time within which a job ends that is expected to take `expected_s`, nine times out of ten."""
        return self._likely * expected_s

    def least_s(self, expected_s: float) -> float:
        """Give the time that such a job takes at the very least. An answer may be a word long, and routing can't know:
        half of the smallest share of its expectation that any of the last answers took."""
        return self._least * expected_s
