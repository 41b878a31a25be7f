"""What a fleet has drawn while somebody watched, from heartbeats and power samples; it asks nobody and draws nothing.

Times are passed in, in seconds of the monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.energy import PowerSample
from common.messages import MOST_W, DeviceState, Heartbeat

MOST_DEVICES = 10_000

HELD = 2.5
"""Intervals for which the watts of a heartbeat hold: after so many a device counts as silent."""

SLACK_S = 1.0
"""By how much a sample may come later than the one before it did."""


@dataclass(slots=True)
class _Account:
    """One device: what its counter has told, and what its watts come to since then."""

    at_s: float
    counted_j: float = 0.0
    since_j: float = 0.0
    watts: float = 0.0
    held_s: float = 0.0
    counter: PowerSample | None = None
    counter_s: float = 0.0

    def since_counter_j(self, now_s: float) -> float:
        """Give what the watts come to; of a device that is silent nobody knows what it draws."""
        return self.since_j + self.watts * min(max(0.0, now_s - self.at_s), self.held_s)

    def step_j(self, sample: PowerSample, now_s: float) -> float:
        """Give what was drawn since the sample before: 1. the first says only where the counter stood before anybody watched; 2. an
        agent that has started anew counts from nothing, and does not tell of what came before; 3. else the counter knows, whoever
        missed samples between."""
        heard_j, before = self.since_counter_j(now_s), self.counter
        if before is None:
            return heard_j  # 1
        told_j = max(heard_j, sample.energy_j) if sample.boot != before.boot else sample.energy_j - before.energy_j
        return min(max(0.0, told_j), MOST_W * (now_s - self.counter_s + SLACK_S))  # 2, 3


class Drawn:
    """Adds up. Samples of idle devices are seconds apart: before the first and after the last the watts of heartbeats count."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def beat(self, beat: Heartbeat, now_s: float) -> None:
        """Take in a heartbeat."""
        account = self._account(beat.device, now_s)
        if account is None:
            return
        account.since_j, account.at_s = account.since_counter_j(now_s), now_s
        account.watts = 0.0 if beat.state is DeviceState.STOPPED else beat.watts or 0.0
        account.held_s = HELD * beat.interval_s

    def sample(self, sample: PowerSample, now_s: float) -> None:
        """Take in a sample: what the watts came to meanwhile gives way to what its counter says."""
        account = self._account(sample.device, now_s)
        if account is None:
            return
        account.counted_j += account.step_j(sample, now_s)
        account.since_j, account.at_s = 0.0, now_s
        account.counter, account.counter_s = sample, now_s

    def joules(self, now_s: float) -> float:
        """Give what all of them have drawn until now."""
        return sum((one.counted_j + one.since_counter_j(now_s) for one in self._accounts.values()), start=0.0)

    def _account(self, device: str, now_s: float) -> _Account | None:
        if device not in self._accounts and len(self._accounts) < MOST_DEVICES:
            self._accounts[device] = _Account(at_s=now_s)
        return self._accounts.get(device)
