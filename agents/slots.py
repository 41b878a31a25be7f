"""The places for running jobs: taken or refused at once, and never waited for; who waits is the dispatcher's business."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from common.errors import DeviceBusy


class Slots:
    """A fixed number of places, and which dispatcher's jobs sit in them."""

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
        """How many are taken, by the dispatcher that sent the job."""
        return dict(self._held)

    @contextmanager
    def take(self, dispatcher: str) -> Iterator[None]:
        """Hold one place. Raises `DeviceBusy` when all are taken."""
        if self._in_flight >= self.total:
            raise DeviceBusy(
                f"all {self.total} slots are taken: try another device, or this one later", slots=self.total
            )
        self._in_flight += 1
        self._held[dispatcher] += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            self._held[dispatcher] -= 1
            if not self._held[dispatcher]:
                del self._held[dispatcher]
