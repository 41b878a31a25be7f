"""The simulated device's time, which may run faster than the wall clock; it does not know what is timed.

Everything inside the simulator counts device seconds. Only here are they divided by the time factor to become waiting.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

# Go's "for ever", the longest time.Duration: what a negative keep-alive means. It is 292 years.
FOREVER_S = float(2**63 // 10**9)


class DeviceClock:
    """Device seconds since the start, and waits that are shortened by `time_factor`."""

    def __init__(self, time_factor: float = 1.0) -> None:
        self.time_factor = time_factor
        self._start_s = time.monotonic()

    def now_s(self) -> float:
        """Give the device seconds since the start."""
        return (time.monotonic() - self._start_s) * self.time_factor

    def real_s(self, device_s: float) -> float:
        """Give the wall-clock seconds that `device_s` device seconds take here."""
        return max(device_s, 0.0) / self.time_factor

    async def sleep(self, device_s: float) -> None:
        """Wait `device_s` device seconds."""
        await asyncio.sleep(self.real_s(device_s))

    async def sleep_until(self, device_s: float) -> None:
        """Wait until `now_s` is `device_s`; give the loop a turn even when that is past."""
        await asyncio.sleep(self.real_s(device_s - self.now_s()))

    def date_in(self, device_s: float) -> datetime:
        """Give the calendar date that lies `device_s` device seconds ahead, as the device would tell it."""
        return datetime.now(UTC) + timedelta(seconds=min(device_s, FOREVER_S))
