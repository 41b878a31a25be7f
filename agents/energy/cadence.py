"""When the device is read next: often while jobs run, seldom else, and soon after what changes; plain arithmetic on moments."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_S = 0.2
"""After the device became busy: the engine has the job by then, and a sensor that averages over a tenth of a second sees it."""

SOON_S = 0.025
"""After a first token: the prompt is read for certain, and the engine is at its new draw."""

AFTER_S = 5.0
"""So long after the last job the device is read each second: it cools down, and its baseline is learnt anew."""

AFTER_EACH_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What has happened until now, in monotonic seconds. `learnt` tells that the baseline needs no readings just now."""

    busy: bool
    busy_since_s: float
    idle_since_s: float
    first_token_s: float
    learnt: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often: `busy_hz` while jobs run, each `idle_s` else."""

    busy_hz: float
    idle_s: float

    def due_s(self, read_s: float, now: Moments) -> float:
        """Give when to read after a reading at `read_s`: 1. a little after the device became busy 2. soon after a first token, but
        no sooner than that, and never twice within half a period 3. a period later 4. without jobs."""
        period_s = 1 / self.busy_hz
        if not now.busy:
            return read_s + self._idle_s(read_s, now)  # 4
        first_s = now.busy_since_s + max(FIRST_S, period_s / 2)
        due_s = first_s if read_s < now.busy_since_s else read_s + period_s  # 1, 3
        if now.first_token_s > read_s - SOON_S:  # 2
            due_s = min(due_s, max(first_s, now.first_token_s + SOON_S, read_s + period_s / 2))
        return due_s

    def _idle_s(self, read_s: float, now: Moments) -> float:
        if not now.learnt:
            return 1 / self.busy_hz
        return min(AFTER_EACH_S, self.idle_s) if read_s - now.idle_since_s < AFTER_S else self.idle_s
