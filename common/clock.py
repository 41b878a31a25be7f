"""Time as a value that is passed in, so that tests can hold it; it knows nothing of who waits for what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one for durations, one for what travels between machines."""

    def monotonic(self) -> float:
        """Seconds that never run backwards; comparable inside one process only."""
        ...

    def unix_s(self) -> float:
        """Seconds since 1970 UTC; comparable between machines, as well as these are synchronised."""
        ...


class LoopClock:
    """The running event loop's monotonic clock, and the machine's wall clock; a loop whose time is virtual brings both."""

    def monotonic(self) -> float:
        return loop_s()

    def unix_s(self) -> float:
        # A deadline travels as wall time: where a second of the loop is none of the machine's, it would never pass.
        wall: Callable[[], float] = getattr(asyncio.get_running_loop(), "unix_s", time.time)
        return wall()


def seconds_text(seconds: float) -> str:
    """Write a duration for people: three digits that count, so that little is not told as nothing."""
    return f"{seconds:.0f} s" if seconds >= 100 else f"{max(seconds, 0.001):.3g} s"


def loop_s() -> float:
    """Give the running loop's monotonic seconds, on which deadlines stand; virtual wherever the loop is."""
    return asyncio.get_running_loop().time()
