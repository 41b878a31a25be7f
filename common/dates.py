"""Moments as dates of UTC; it reads no clock."""

from __future__ import annotations

from datetime import UTC, datetime

LATEST_UNIX_S = 253_402_300_799.0
"""The last second of the year 9999: no calendar goes on behind it."""


def dated(unix_s: float) -> datetime:
    """Give the date. What is said to be later than any calendar goes, or before 1970, has the nearest date that there is."""
    return datetime.fromtimestamp(min(max(unix_s, 0.0), LATEST_UNIX_S), UTC)
