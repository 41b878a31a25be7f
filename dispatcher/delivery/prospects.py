"""Whether a job that waits can be answered in time, and what it is told when it can't; it knows no order and moves nobody.

Two judgements. `chance` orders: who will hardly be answered in time comes after those who will. `require_*` refuses, and only by
what must happen before: the work of those in front, or a load. How long its own answer will be is no reason to refuse a job.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from common.clock import seconds_text
from common.errors import DeadlineInfeasible
from dispatcher.delivery.clocks import device_left_s
from dispatcher.delivery.flow import Chance, Place, Waiter
from dispatcher.delivery.habits import Habits
from dispatcher.delivery.pace import Pace
from dispatcher.roster import Roster

RETRY_AFTER_S = 5.0
"""A guess until the line knows its speed; and never more than openai-python honours (120 s)."""
MOST_RETRY_AFTER_S = 120.0

SWIFTER = 1.25
"""A job is refused only if it would be late even if every slot were for its kind and the work in front were done a quarter faster
than that: those in front who leave of their own accord are what makes it faster, and no more of them than that is usual."""

FASTER_LOAD = 4.0
"""A file that is still in the page cache loads some three times as fast as from an SD card or a slow SSD."""


class Ahead(NamedTuple):
    """Those of a job's own kind that are served before it: who waits for another model or device is not in the way, wherever he
    stands. `work_s` is what they take on one slot, at the least."""

    number: int = 0
    work_s: float = 0.0


class Prospects:
    """Judges those who wait."""

    def __init__(self, roster: Roster, pace: Pace, habits: Habits) -> None:
        self._roster = roster
        self._pace = pace
        self._habits = habits

    def chance(self, place: Place, now_s: float) -> Chance:
        """Say how likely a job is answered in time that gets its slot now."""
        left_s = device_left_s(place.deadline_s - now_s)
        if left_s >= self._habits.likely_s(place.habit, now_s, place.expected_s):
            return Chance.GOOD
        return Chance.POOR if left_s >= self._habits.short_s(place.habit, now_s, place.expected_s) else Chance.SLIGHT

    def work_s(self, place: Place, now_s: float) -> float:
        """Give what a job takes on one slot at the least; nothing where no device knows its speed. A load may be over by then."""
        return self._habits.short_s(place.habit, now_s, place.work_s)

    def ahead(self, place: Place, before: Iterable[Waiter], now_s: float) -> Ahead:
        """Sum up those of the same kind."""
        same = [one.place for one in before if one.place.kind == place.kind]
        return Ahead(len(same), sum(self.work_s(one, now_s) for one in same))

    def require_turn(self, waiter: Waiter, ahead: Ahead, now_s: float) -> None:
        """Raise `DeadlineInfeasible` for one whose turn can't come in time."""
        place = waiter.place
        left_s = device_left_s(place.deadline_s - now_s)
        soonest_s = ahead.work_s / (SWIFTER * max(1, self._slots(waiter)))
        if left_s > soonest_s or not ahead.work_s:
            return  # nothing is in the way; whose time is over hears so from its own clock
        wait_s = self._pace.wait_s(ahead.number, place.kind) or soonest_s
        raise DeadlineInfeasible(
            f"{ahead.number} jobs are served before, which takes about {seconds_text(wait_s)}, "
            f"and {seconds_text(left_s)} are left: allow more time (timeout_s), or try again later",
            retry_after_s=self.retry_after_s(place, ahead.number),
            wait_s=round(wait_s, 3),
        )

    def require_load(self, place: Place, measured_s: float, now_s: float) -> None:
        """Raise `DeadlineInfeasible` for one whose model takes longer to load than there is time, though the load be as fast as it
        can be. An answer may be a word long, and the prompt may be in the device's cache."""
        left_s = device_left_s(place.deadline_s - now_s)
        if left_s > measured_s / FASTER_LOAD:
            return
        raise DeadlineInfeasible(
            f"its model must be loaded first, which takes about {seconds_text(measured_s)}, and {seconds_text(left_s)} are left: "
            "allow more time (timeout_s), or try again later",
            retry_after_s=self.retry_after_s(place, 0),
        )

    def retry_after_s(self, place: Place, ahead: float) -> float:
        """Give the time after which so many are served."""
        wait_s = self._pace.wait_s(ahead, place.kind)
        return RETRY_AFTER_S if wait_s is None else min(MOST_RETRY_AFTER_S, max(1.0, wait_s))

    def _slots(self, waiter: Waiter) -> int:
        devices = self._roster.fleet.devices
        return sum(device.beat.slots for name in waiter.devices if (device := devices.get(name)) is not None)
