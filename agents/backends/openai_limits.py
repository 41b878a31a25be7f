"""What a provider says about how much it still takes, and how long to wait: read from HTTP headers; it sends nothing.

`x-ratelimit-remaining-requests: 0` with `x-ratelimit-reset-requests: 6m0s` means that nothing more is taken for six minutes; the
same exists for tokens. `retry-after-ms` and `retry-after` come with an error, and say more precisely when to ask again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from common.clock import Clock
from common.errors import BackendError, BudgetSpent, DeviceBusy, FleetError

LONGEST_PAUSE_S = 300.0
"""A reset is when a limit is whole again, and a limit of a day may have room long before: so we look again sooner."""

LONGEST_WAIT_S = 10.0
"""A job that would have to wait longer goes to another device."""

FIRST_WAIT_S = 0.5
MOST_WAIT_S = 8.0

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)", re.ASCII)
_IN_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_WINDOWS = ("requests", "tokens")


def span_s(text: str | None) -> float | None:
    """Read a time as providers write it: `12ms`, `6m0s`, `1h30m`, or a number of seconds; None for anything else."""
    if text is None:
        return None
    said = text.strip().lower()
    parts = _SPAN.findall(said)
    if parts and "".join(number + unit for number, unit in parts) == said:
        return sum(float(number) * _IN_SECONDS[unit] for number, unit in parts)
    return _number(said)


def retry_after_s(headers: Mapping[str, str], now_unix_s: float) -> float | None:
    """Give the seconds that an error asks us to wait; None when it does not say."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after")
    seconds = span_s(said)
    if seconds is not None or said is None:
        return seconds
    try:
        date = parsedate_to_datetime(said)
    except (TypeError, ValueError):
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_unix_s)


def pause_s(headers: Mapping[str, str]) -> float:
    """Give the seconds for which nothing more is taken: 0 unless a limit has nothing left. Azure says -1 for what it does not
    count."""
    pauses = [
        span_s(headers.get(f"x-ratelimit-reset-{window}")) or 0.0
        for window in _WINDOWS
        if _number(headers.get(f"x-ratelimit-remaining-{window}")) == 0
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
    return min(MOST_WAIT_S, FIRST_WAIT_S * 2.0**tried) * (0.5 + jitter / 2)  # 4


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


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None
