"""How long answers really take, against what routing expects of them; it knows no line, no device and no clock.

Routing predicts from a device's own speed, and can only guess how much a model will say. How far that is off depends on who asks
whom for what: so the figures are kept by tenant and model, and for two minutes. They order those who wait, and say what the jobs in
front cost at the least; nobody is refused a free slot because of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

ANSWERS = 64
FEWEST = 20
"""With fewer answers nothing is known."""

KEPT_S = 120.0
"""Older answers tell nothing: another application, another prompt, another temperature of the room."""

MOST_KNOWN = 1000
"""Tenants are strangers' names."""

LIKELY = 0.95
"""Nineteen of twenty jobs take no longer than `likely_s`. Who gets a slot with less time left is cut, and its work is lost, while
who stands behind has more time: under overload every job is served at the edge of its time, so the edge must be a safe one."""

SHORT = 0.1
"""Nine of ten jobs take no less than `short_s`."""

UNSURE = 8.0
"""Before any answer is known, jobs may be shorter than predicted by so much: 25 tokens where routing expects 200."""

NO_TIME_S = 1e-3


class _Shares(NamedTuple):
    """What the answers of one habit took, as shares of what was expected."""

    short: float
    likely: float


_UNKNOWN = _Shares(1 / UNSURE, 1.0)


class Habits:
    """Remembers how long answers took. A habit is whatever makes jobs alike. Time is passed in, and never runs backwards."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, deque[tuple[float, float]]] = {}
        self._shares: dict[Hashable, _Shares] = {}

    def answered(self, habit: Hashable, now_s: float, *, expected_s: float, took_s: float) -> None:
        """Note how long an answer took against what was expected of it."""
        answers = self._answers.pop(habit, None) or deque(maxlen=ANSWERS)
        answers.append((now_s, max(0.0, took_s) / max(NO_TIME_S, expected_s)))
        self._answers[habit] = answers  # at the end: the first is the one that was silent for longest
        if len(self._answers) > MOST_KNOWN:
            self._forget(next(iter(self._answers)))
        self._shares.pop(habit, None)

    def cut(self, habit: Hashable, now_s: float, *, expected_s: float, ran_s: float) -> None:
        """Note that an answer was not complete after so long. Only one that ran for longer than was likely tells anything; without
        those the long answers would never count, since they are the ones that are cut."""
        if ran_s > self.likely_s(habit, now_s, expected_s):
            self.answered(habit, now_s, expected_s=expected_s, took_s=ran_s)

    def likely_s(self, habit: Hashable, now_s: float, expected_s: float) -> float:
        """Give the time within which a job ends that is expected to take `expected_s`, nineteen times out of twenty; as expected
        while nothing is known."""
        return self._known(habit, now_s).likely * expected_s

    def short_s(self, habit: Hashable, now_s: float, expected_s: float) -> float:
        """Give the time that such a job takes nine times out of ten, or more; an eighth of it while nothing is known."""
        return self._known(habit, now_s).short * expected_s

    def _known(self, habit: Hashable, now_s: float) -> _Shares:
        answers = self._answers.get(habit)
        if answers is None:
            return _UNKNOWN
        while answers and answers[0][0] < now_s - KEPT_S:
            answers.popleft()
            self._shares.pop(habit, None)
        if not answers:
            self._forget(habit)
            return _UNKNOWN
        if habit not in self._shares:
            self._shares[habit] = _shares(sorted(share for _, share in answers))
        return self._shares[habit]

    def _forget(self, habit: Hashable) -> None:
        del self._answers[habit]
        self._shares.pop(habit, None)


def _shares(ordered: list[float]) -> _Shares:
    if len(ordered) < FEWEST:
        return _UNKNOWN
    last = len(ordered) - 1
    return _Shares(ordered[int(SHORT * last)], ordered[int(LIKELY * last)])
