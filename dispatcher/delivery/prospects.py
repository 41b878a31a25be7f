"""Whether a job that waits can be answered in time, and what it is told when it can't; it knows no order and moves nobody."""

from __future__ import annotations

from collections import Counter

from common.errors import DeadlineInfeasible
from dispatcher.delivery.clocks import device_left_s
from dispatcher.delivery.flow import Chance, Place, Waiter
from dispatcher.delivery.pace import Pace
from dispatcher.roster import Roster

RETRY_AFTER_S = 5.0
"""A guess until the line knows its speed; and never more than openai-python honours (120 s)."""
MOST_RETRY_AFTER_S = 120.0


class Prospects:
    """Judges those who wait by the pace of the line. `waiting` counts them by kind: who waits for another model or device is
    not in the way, wherever he stands."""

    def __init__(self, roster: Roster, pace: Pace) -> None:
        self.waiting: Counter[str] = Counter()
        self._roster = roster
        self._pace = pace

    def chance(self, place: Place, now_s: float, ahead: int = 0) -> Chance:
        """Say whether a job can be answered that gets its slot when `ahead` others have theirs."""
        left_s = device_left_s(place.deadline_s - now_s)
        if ahead:
            left_s -= self._pace.soonest_s(self._in_the_way(place, ahead), place.kind) or 0.0
        if left_s <= self._least_s(place):
            return Chance.NONE
        return Chance.POOR if left_s < self._pace.likely_s(place.expected_s) else Chance.GOOD

    def require_time(self, waiter: Waiter, ahead: int, now_s: float) -> None:
        """Raise `DeadlineInfeasible` for one that can't be served and answered in time, at the best."""
        place = waiter.place
        ahead = self._in_the_way(place, ahead)
        left_s = device_left_s(place.deadline_s - now_s)
        if left_s > self._soonest_s(waiter, ahead) + self._least_s(place):
            return
        likely_s = self._pace.wait_s(ahead, place.kind) or self._guess_s(waiter, ahead)
        raise DeadlineInfeasible(
            f"{ahead} jobs are served before, which takes about {likely_s:.1f} s, and {max(0.0, left_s):.1f} s are left: allow "
            "more time (timeout_s), or try again later",
            retry_after_s=self.retry_after_s(place, ahead),
            wait_s=round(likely_s, 3),
        )

    def too_late(self, place: Place) -> DeadlineInfeasible:
        """Say that a job has waited in vain."""
        return DeadlineInfeasible(
            "the time that is left would not be enough for an answer: allow more time (timeout_s), or try again later",
            retry_after_s=self.retry_after_s(place, self.waiting[place.kind]),
        )

    def retry_after_s(self, place: Place, ahead: float) -> float:
        """Give the time after which so many are served."""
        wait_s = self._pace.wait_s(ahead, place.kind)
        return RETRY_AFTER_S if wait_s is None else min(MOST_RETRY_AFTER_S, max(1.0, wait_s))

    def eta_s(self, place: Place, position: int) -> float | None:
        """Give the seconds until the turn of one at this place in the order, by how fast the line moves; None while that is not
        known."""
        return self._pace.wait_s(self._in_the_way(place, position - 1) + 1, place.kind)

    def _in_the_way(self, place: Place, ahead: int) -> int:
        return max(0, min(ahead, self.waiting[place.kind] - 1))

    def _soonest_s(self, waiter: Waiter, ahead: int) -> float:
        """Give the time until its turn at the very least: by the pace of the line, and until that is known by what devices of
        known speed are expected to take."""
        soonest_s = self._pace.soonest_s(ahead, waiter.place.kind)
        return self._guess_s(waiter, ahead) if soonest_s is None else soonest_s

    def _guess_s(self, waiter: Waiter, ahead: int) -> float:
        place = waiter.place
        if not (ahead and place.measured):
            return 0.0
        devices = self._roster.fleet.devices
        slots = sum(device.beat.slots for name in waiter.devices if (device := devices.get(name)) is not None)
        return self._pace.guessed_s(ahead, expected_s=place.expected_s, slots=slots)

    def _least_s(self, place: Place) -> float:
        return max(place.least_s, self._pace.least_s(place.expected_s))
