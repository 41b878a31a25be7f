"""An event loop whose time is virtual: it leaps to the next timer when nothing is ready, and knows no socket and no thread.

Callbacks run in the order in which asyncio runs them, so a run is the same each time it is made.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH_S = 1_700_000_000.0
"""What the wall clock shows when the loop starts; any moment serves."""

MOST_TURNS = 3_000
"""Turns of the loop in one and the same instant; whoever needs more waits for nothing, and would hang a real process."""


MOST_S = 100_000.0
"""No run takes so long in virtual time; one that does waits for somebody who never comes."""


class Stuck(RuntimeError):
    """Nothing will ever happen again, or too much happens at one instant."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs coroutines in virtual time, which starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._turns = 0
        self._selector = self  # what `_run_once` asks for events and lets wait
        self._clock_resolution = math.ulp(0.0)

    def time(self) -> float:
        """Give the virtual seconds since the start."""
        return self._now_s

    def unix_s(self) -> float:
        """Give the wall clock, which runs with the virtual time."""
        return EPOCH_S + self._now_s

    def select(self, timeout_s: float | None) -> list[Any]:
        """Leap to the next timer instead of waiting."""
        if timeout_s == 0:
            self._turns += 1
            if self._turns > MOST_TURNS:
                self._turns = 0
                self._fail(f"{MOST_TURNS} turns of the loop at {self._now_s:.3f} s, and time does not go on")
            return []
        if timeout_s is None:
            self._fail(f"nothing is ready at {self._now_s:.3f} s, and nothing is scheduled")
        self._turns = 0
        self._now_s = max(self._now_s, self._scheduled[0].when())  # type: ignore[attr-defined]  # asyncio's own heap
        if self._now_s > MOST_S:
            self._fail(f"there is no end after {MOST_S:.0f} s")
        # No timer is early: one that fired by its clock's inexactness would find, for ever, that its time has not come.
        self._clock_resolution = math.ulp(self._now_s)
        return []

    def _fail(self, what: str) -> None:
        raise Stuck(what)

    def run_in_executor(  # type: ignore[override]  # mypy can't see that it takes the same
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call it at once: there is no thread, and no time passes."""
        future: asyncio.Future[T] = self.create_future()
        future.set_result(func(*args))
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who had to be woken."""

    def timers(self) -> int:
        """Count what is scheduled and not cancelled."""
        return sum(not handle.cancelled() for handle in self._scheduled)  # type: ignore[attr-defined]  # as above


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in a new loop; what is left then is cancelled, as `asyncio.run` does."""
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        try:
            _end_rest(loop)
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _end_rest(loop: VirtualLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
