"""Time as a value that is passed in, so that tests can hold it; it knows nothing of who waits for what."""

from __future__ import annotations

import asyncio
import time
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
    """The running event loop's monotonic clock, which a test may make virtual, and the machine's wall clock."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def unix_s(self) -> float:
        return time.time()
