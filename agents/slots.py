"""The slots for running jobs: taken or refused at once, and never waited for; who waits is the dispatcher's business."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from common.errors import DeviceBusy

STOPPING = "(stopping)"
"""Holds the slots of jobs that have ended while the engine still computes for them. No dispatcher can bear the name, so each
of them counts these slots as somebody else's."""


LOADING = "(loading)"
"""Holds the slot of a load that no job has asked for: another job would have to wait for it."""


class Slot:
    """One slot that is taken."""

    def __init__(self, held: Counter[str], holder: str) -> None:
        self._held = held
        self._holder = holder
        held[holder] += 1

    def pass_to(self, holder: str) -> None:
        """Count the slot as another's from now on."""
        self.leave()
        self._holder = holder
        self._held[holder] += 1

    def leave(self) -> None:
        """Count it as nobody's."""
        self._held[self._holder] -= 1
        if not self._held[self._holder]:
            del self._held[self._holder]


class Slots:
    """A fixed number of slots, and which dispatcher's jobs sit in them."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._held: Counter[str] = Counter()
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """How many are taken."""
        return self._in_flight

    @property
    def by_dispatcher(self) -> Mapping[str, int]:
        """How many are taken, by the dispatcher that sent the job, or `STOPPING`."""
        return dict(self._held)

    @contextmanager
    def take(self, dispatcher: str) -> Iterator[Slot]:
        """Hold one slot. Raises `DeviceBusy` when all are taken."""
        if self._in_flight >= self.total:
            raise DeviceBusy(self._refusal(), slots=self.total)
        self._in_flight += 1
        slot = Slot(self._held, dispatcher)
        try:
            yield slot
        finally:
            self._in_flight -= 1
            slot.leave()

    def _refusal(self) -> str:
        stopping = self._held.get(STOPPING, 0)
        still = f" ({stopping} by cancelled jobs that the engine has not let go of yet)" if stopping else ""
        return f"all {self.total} slots are taken{still}: try another device, or this one later"
