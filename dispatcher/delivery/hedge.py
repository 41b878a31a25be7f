"""Hedged requests: when a second device is worth asking, and how often that may happen; pure, but for two counters.

Dean and Barroso, The Tail at Scale (CACM 2013): a second request after the 95th percentile of the expected time takes away most of
the tail for a few per cent of extra work. The share is a budget, so that a fleet that is slow as a whole is not asked twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from dispatcher.fleet import Device

SAMPLES = 20
"""Fewer first tokens than this say nothing of a 95th percentile."""

KEPT = 100

FRESH = 10
"""The percentile is taken anew after so many."""

FLOOR_S = 0.25
"""Nobody notices less, and a second attempt costs a prefill."""

BURST = 3.0
"""Hedges that may come one after the other when there were none for long."""

BUSY_ABOVE = 0.7
"""With more of the fleet's slots taken, a hedge takes a slot from somebody else's first attempt."""


@dataclass(slots=True)
class FirstTokens:
    """The last first-token times of each device and model, of jobs whose model was in memory."""

    _seen: dict[tuple[str, str], _Seen] = field(default_factory=dict)

    def forget(self, device: str) -> None:
        """Drop what is known of a device that is no more."""
        for key in [key for key in self._seen if key[0] == device]:
            del self._seen[key]

    def note(self, device: str, model: str, first_token_s: float) -> None:
        """Keep one; the percentile follows every few of them, since sorting at each job would cost more than routing it."""
        seen = self._seen.setdefault((device, model), _Seen())
        seen.times_s.append(first_token_s)
        seen.count += 1
        if seen.count % FRESH == 0 and len(seen.times_s) >= SAMPLES:
            seen.p95_s = sorted(seen.times_s)[int(0.95 * len(seen.times_s))]

    def p95_s(self, device: str, model: str) -> float | None:
        """Give the 95th percentile in seconds; None while too few are known."""
        seen = self._seen.get((device, model))
        return None if seen is None else seen.p95_s


@dataclass(slots=True)
class _Seen:
    times_s: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    count: int = 0
    p95_s: float | None = None


def hedge_after_s(p95_s: float | None) -> float | None:
    """Give the seconds after which a second device is asked."""
    return None if p95_s is None else max(FLOOR_S, p95_s)


@dataclass(slots=True)
class HedgeBudget:
    """A token bucket: each job adds `share`, each hedge takes 1."""

    share: float
    tokens: float = 1.0
    spent: int = 0

    def earn(self) -> None:
        """Count one job."""
        self.tokens = min(BURST, self.tokens + self.share)

    @property
    def enough(self) -> bool:
        """True when a hedge can be paid."""
        return self.share > 0 and self.tokens >= 1

    def spend(self) -> None:
        """Take what a hedge costs."""
        self.tokens -= 1
        self.spent += 1


def crowded(devices: Iterable[Device], waiting: int) -> bool:
    """Say whether the fleet has better things to do than hedging: somebody waits, or most slots are taken."""
    if waiting:
        return True
    usable = [device for device in devices if device.usable]
    slots = sum(device.beat.slots for device in usable)
    return sum(min(device.in_flight, device.beat.slots) for device in usable) > BUSY_ABOVE * slots
