"""What a provider says about how much it still takes, and how long to wait: read from HTTP headers; it sends nothing.

`x-ratelimit-remaining-requests: 0` with `x-ratelimit-reset-requests: 6m0s` means that nothing more is taken for six minutes; the
same exists for tokens. `retry-after-ms` and `retry-after` come with an error, and say more precisely when to ask again.
"""

from __future__ import annotations

from collections.abc import Mapping

from common.clock import Clock
from common.errors import BackendError, BudgetSpent, DeviceBusy, FleetError
from common.openai_api import backoff_s, number_of, span_s

LONGEST_PAUSE_S = 300.0
"""A reset is when a limit is whole again, and a limit of a day may have room long before: so we look again sooner."""

LONGEST_WAIT_S = 10.0
"""A job that would have to wait longer goes to another device."""

MOST_WAIT_S = 8.0

_WINDOWS = ("requests", "tokens")


def pause_s(headers: Mapping[str, str]) -> float:
    """Give the seconds for which nothing more is taken: 0 unless a limit has nothing left. Azure says -1 for what it does not
    count."""
    pauses = [
        span_s(headers.get(f"x-ratelimit-reset-{window}")) or 0.0
        for window in _WINDOWS
        if number_of(headers.get(f"x-ratelimit-remaining-{window}")) == 0
    ]
    return min(max(pauses, default=0.0), LONGEST_PAUSE_S)


def wait_s(error: FleetError, *, tried: int, retries: int, jitter: float) -> float | None:
    """Say how long to wait before the same is asked again, or None not to; `tried` counts from 0, `jitter` is in [0, 1].

    1. Only a provider that is busy, or fails, may do better. 2. Often enough. 3. It says itself when; too late is never.
    4. Twice as long each time, and not all at the same moment.
    """
    if not isinstance(error, DeviceBusy | BackendError) or isinstance(error, BudgetSpent) or tried >= retries:  # 1, 2
        return None
    if error.retry_after_s is not None:  # 3
        return error.retry_after_s if error.retry_after_s <= LONGEST_WAIT_S else None
    return backoff_s(tried, jitter=jitter, most_s=MOST_WAIT_S)  # 4


class Quota:
    """Until when the provider takes nothing more, as far as it has said."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_s = float("-inf")

    def note(self, headers: Mapping[str, str]) -> None:
        """Take in what the headers of an answer say."""
        self.pause(pause_s(headers))

    def pause(self, seconds: float) -> None:
        """Take nothing for so long from now on; a longer pause stays."""
        if seconds > 0:
            self._until_s = max(self._until_s, self._clock.monotonic() + min(seconds, LONGEST_PAUSE_S))

    def refusal(self) -> DeviceBusy | None:
        """Say so."""
        left_s = self._until_s - self._clock.monotonic()
        if left_s <= 0:
            return None
        return DeviceBusy(
            f"the provider's rate limit is used up for {left_s:.1f} s: try another device, or this one later",
            retry_after_s=left_s,
        )
