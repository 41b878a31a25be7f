"""What a device usually draws while it does this or that, for the moments in which nothing was read; plain arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.energy.split import COSTS
from common.frames import Phase

FRESH = 0.3
"""How much the newest reading counts."""

RECENT, LEARNT, FOREIGN, BLIND = 0.15, 0.3, 0.6, 1.0
"""Half a 95 % interval of a guess, as a share of what is above idle: by readings of the same, of which one was taken just before;
by those of another time, of another phase or a profile; and by the last reading alone. Judged: models on one board differ by a
third."""

MOST_AT_ONCE = 8
"""More jobs than this at once count as this many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a board of this kind draws, where somebody knows."""

    idle_w: float | None = None
    busy_w: float | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """The dearest phase of the jobs that run, and how many there are."""

    phase: Phase
    jobs: int


def situation(phases: Sequence[Phase]) -> Situation:
    """Tell it of the phases of all jobs, of which there is one at least."""
    return Situation(max(phases, key=COSTS.__getitem__), min(len(phases), MOST_AT_ONCE))


class Usual:
    """Learnt from readings, one moving average for each situation."""

    def __init__(self) -> None:
        self._watts: dict[Situation, float] = {}

    def learn(self, now: Situation, watts: float) -> None:
        """Take a reading."""
        known = self._watts.get(now, watts)
        self._watts[now] = known + FRESH * (watts - known)

    def known(self, now: Situation) -> float | None:
        """Give what was learnt of a situation itself."""
        return self._watts.get(now)

    def guess(self, now: Situation, *, idle_w: float, busy_w: float | None, last_w: float) -> tuple[float, float]:
        """Give watts, and how far off they may be: 1. learnt, of as many jobs or of nearly as many 2. what another phase drew, or
        3. the profile's, by the costs of the phases 4. the last reading."""
        alike = [(abs(one.jobs - now.jobs), watts) for one, watts in self._watts.items() if one.phase is now.phase]
        if alike:  # 1
            return min(alike)[1], LEARNT
        for one, watts in self._watts.items():  # 2
            return idle_w + max(0.0, watts - idle_w) * COSTS[now.phase] / COSTS[one.phase], FOREIGN
        if busy_w is not None:  # 3
            return idle_w + max(0.0, busy_w - idle_w) * COSTS[now.phase], FOREIGN
        return last_w, BLIND  # 4
