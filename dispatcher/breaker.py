"""A circuit breaker, as of one device, as a value: closed, open after failures in a row, then half open for one trial.

Fast errors are failures like slow ones: a backend that refuses at once would otherwise look idle, and draw every job.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FAILURES = 3
"""So many in a row are no chance."""

COOL_DOWN_S = 5.0
"""An Ollama that was restarted is back in a few seconds."""

LONGEST_S = 60.0


class BreakerState(StrEnum):
    """Whether a device is given jobs."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """`opened` counts how often in a row it opened; `until_s` is when an open one lets a trial through (monotonic)."""

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    opened: int = 0
    until_s: float = 0.0
    why: str = ""


CLOSED = Breaker()


def succeeded() -> Breaker:
    """Give the breaker after a success: all is forgiven."""
    return CLOSED


def failed(
    breaker: Breaker, why: str, now_s: float, *, cool_down_s: float = COOL_DOWN_S, longest_s: float = LONGEST_S
) -> Breaker:
    """Give the breaker after one more failure. A trial that fails opens it for twice as long, up to the longest. What was
    already under way when it opened adds nothing."""
    if breaker.state is BreakerState.OPEN:
        return breaker
    failures = breaker.failures + 1
    if breaker.state is BreakerState.CLOSED and failures < FAILURES:
        return Breaker(BreakerState.CLOSED, failures, breaker.opened, why=why)
    return tripped(breaker, why, now_s, cool_down_s=cool_down_s, longest_s=longest_s)


def tripped(
    breaker: Breaker, why: str, now_s: float, *, cool_down_s: float = COOL_DOWN_S, longest_s: float = LONGEST_S
) -> Breaker:
    """Open at once, on proof: a device that was asked for one token and gave none."""
    open_s = min(longest_s, cool_down_s * 2.0 ** min(breaker.opened, 16))
    return Breaker(BreakerState.OPEN, breaker.failures + 1, breaker.opened + 1, now_s + open_s, why)


def aged(breaker: Breaker, now_s: float) -> Breaker:
    """Give the breaker as it is now: an open one lets a trial through when its time is over."""
    if breaker.state is BreakerState.OPEN and now_s >= breaker.until_s:
        return Breaker(BreakerState.HALF_OPEN, breaker.failures, breaker.opened, why=breaker.why)
    return breaker
