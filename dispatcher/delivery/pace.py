"""How fast the line moves and how long jobs really take, from what was seen; it knows no device and no ticket.

Two kinds of figures. `wait_s` and `likely_s` are what to expect: they order and inform, and a wrong one harms nobody for good.
`soonest_s` and `least_s` are bounds from below, for refusals: a job that they rule out would not have been answered.

Rates are kept apart by kind, which is what a job waits for: of two models on two devices, the line of one says nothing of the
other's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence

SAMPLES = 256
"""Slots given out that the rate is taken over: some ten rounds of a fleet of 25 slots."""

RECENT = 32
"""Slots given out that a faster fleet shows itself in: a device more, or the other dispatcher's share of it."""

FEWEST = 20
"""With fewer samples nothing is ruled out by them: twenty make the rate right to about a quarter."""

SWIFTER = 1.25
"""A job is ruled out only if it would be late even in a line that moves a quarter faster than it lately did at its best. Those
in front who leave of their own accord are what makes it faster, and no more of them than that is usual."""

OPTIMISM = 2.0
"""Or in half the shortest time seen; and what is known from other jobs, and not from the line, may be wrong by so much."""

UNSURE = 8.0
"""Before any answer is known, jobs may be shorter than predicted by so much: 25 tokens where routing expects 200."""

ANSWERS = 64
LIKELY = 0.95
"""Nineteen of twenty jobs take no longer than `likely_s`. Who gets a slot with less time left is cut, and its work is lost, while
who stands behind has more time: under overload every job is served at the edge of its time, so the edge must be a safe one."""

NO_TIME_S = 1e-3


class Pace:
    """Measures the line of one dispatcher. Time is passed in."""

    def __init__(self) -> None:
        self._granted: dict[Hashable, deque[float]] = {}
        self._ratios: deque[float] = deque(maxlen=ANSWERS)
        self._likely = 1.0
        self._least = 0.0
        self._shortest = 1 / UNSURE

    def granted(self, now_s: float, kind: Hashable = "") -> None:
        """Note that somebody in the line got a slot."""
        self._granted.setdefault(kind, deque(maxlen=SAMPLES)).append(now_s)

    def idle(self, kind: Hashable = "") -> None:
        """Forget a rate, since nobody waits: it is the fleet's speed only while the fleet can't do more."""
        self._granted.pop(kind, None)

    def grown(self) -> None:
        """Forget all rates, since the fleet can do more now."""
        self._granted.clear()

    def answered(self, *, expected_s: float, took_s: float) -> None:
        """Note how long an answer took against what was expected of it."""
        self._ratios.append(max(0.0, took_s) / max(NO_TIME_S, expected_s))
        ordered = sorted(self._ratios)
        self._likely = ordered[int(LIKELY * (len(ordered) - 1))]
        known = len(ordered) >= FEWEST
        self._least = ordered[0] / OPTIMISM if known else 0.0
        self._shortest = (sum(ordered) / len(ordered) if known else ordered[0]) / OPTIMISM

    def cut(self, *, expected_s: float, ran_s: float) -> None:
        """Note that an answer was not complete after so long. Only one that ran for longer than was likely tells anything; without
        those the long answers would never count, since they are the ones that are cut."""
        if ran_s > self.likely_s(expected_s):
            self.answered(expected_s=expected_s, took_s=ran_s)

    def rate_per_s(self, kind: Hashable = "") -> float | None:
        """Slots given out each second while jobs of the kind waited; None until that is known."""
        return _rate(self._granted.get(kind, ()), SAMPLES)

    def wait_s(self, ahead: float, kind: Hashable = "") -> float | None:
        """Give the time in which so many are served, as far as it is known."""
        rate = self.rate_per_s(kind)
        return None if rate is None else ahead / rate

    def soonest_s(self, ahead: float, kind: Hashable = "") -> float | None:
        """Give the time that so many take at the very least; None until that is known."""
        granted = self._granted.get(kind, ())
        rate = max(_rate(granted, SAMPLES) or 0.0, _rate(granted, RECENT) or 0.0)
        return ahead / (rate * SWIFTER) if rate else None

    def guessed_s(self, ahead: float, *, expected_s: float, slots: int) -> float:
        """Give the time that so many take at the very least who are expected to take `expected_s` each, before the line has
        shown how fast it is."""
        return ahead * self._shortest * expected_s / max(1, slots)

    def likely_s(self, expected_s: float) -> float:
        """Give the time within which a job ends that is expected to take `expected_s`, nineteen times out of twenty."""
        return self._likely * expected_s

    def least_s(self, expected_s: float) -> float:
        """Give the time that such a job takes at the very least. An answer may be a word long, and routing can't know:
        half of the smallest share of its expectation that any of the last answers took."""
        return self._least * expected_s


def _rate(granted: Sequence[float], last: int) -> float | None:
    """Give the rate of the last so many."""
    number = min(last, len(granted))
    if number < FEWEST:
        return None
    # Up to the last one, not up to now: of slots that come free in waves the pause would look like standstill.
    spent_s = granted[-1] - granted[-number]
    return (number - 1) / spent_s if spent_s > 0 else None
