"""Why a device is slower than it could be, as it stands in heartbeats: a kind that programs know, then words for people; it reads
no sensor."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

MOST_CHARS = 200
MOST_TEXTS = 16
"""As many as a heartbeat holds, of throttling and of warnings each."""


class Throttle(StrEnum):
    """What a text of `Heartbeat.throttling` begins with; a colon and details may follow."""

    UNDER_VOLTAGE = "under-voltage"  # the supply gives too little: the board may reset next
    THERMAL = "thermal throttling"  # the board holds its clocks down, so as not to overheat
    OVER_CURRENT = "over-current"  # it draws more than the supply may give, for moments
    SOFT_LIMIT = "soft temperature limit"  # it has begun to slow down
    FREQUENCY_CAP = "frequency cap"  # the clock is limited, for whatever reason


def told(kind: Throttle, details: str = "") -> str:
    """Write a reason as it travels."""
    return f"{kind}: {details}" if details else str(kind)


def kind_of(text: str) -> Throttle | None:
    """Read what kind of reason a text gives; None for one that we don't know."""
    try:
        return Throttle(text.partition(":")[0])
    except ValueError:
        return None


def fitting(texts: Iterable[str]) -> tuple[str, ...]:
    """Give as much as a heartbeat takes: each text once, none too long, and not too many."""
    return tuple(dict.fromkeys(text[:MOST_CHARS] for text in texts))[:MOST_TEXTS]
