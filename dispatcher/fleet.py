"""The fleet as the steps see it: immutable values, always a little old; who keeps them fresh is the roster's affair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from common.messages import DeviceState, Heartbeat, ModelInfo
from dispatcher.breaker import CLOSED, Breaker, BreakerState


class Liveness(StrEnum):
    """What the heartbeats say: a suspect device gets no new work, a dead one has lost its jobs."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Track:
    """What this dispatcher saw of a device: moving averages, the newest outcome weighs `TRACK_WEIGHT`. `first_token_s` is of jobs
    whose model was in memory."""

    error_rate: float = 0.0
    first_token_s: float | None = None
    attempts: int = 0


TRACK_WEIGHT = 0.2
"""About the last ten outcomes count; a device is forgiven after some successes, and one error is no verdict."""


def tracked(track: Track, *, ok: bool, first_token_s: float | None) -> Track:
    """Give the averages after one more attempt."""
    error_rate = track.error_rate + TRACK_WEIGHT * ((0.0 if ok else 1.0) - track.error_rate)
    return Track(error_rate, _blend(track.first_token_s, first_token_s), track.attempts + 1)


def _blend(old: float | None, new: float | None) -> float | None:
    if new is None or old is None:
        return old if new is None else new
    return old + TRACK_WEIGHT * (new - old)


@dataclass(frozen=True, slots=True)
class Device:
    """One device: its last heartbeat, and what this dispatcher adds.

    `own` is the number of attempts that this dispatcher has there, exact; `others` is what the last heartbeat said of everyone
    else's, and so up to an interval old. `answered` are models, by their full names, that answered lately, though no heartbeat has
    told since that they are in memory.
    """

    beat: Heartbeat
    models: Mapping[str, ModelInfo]
    liveness: Liveness = Liveness.ALIVE
    own: int = 0
    others: int = 0
    track: Track = Track()
    breaker: Breaker = CLOSED
    answered: frozenset[str] = frozenset()

    def holds(self, model: ModelInfo) -> bool:
        """True when a model of its is in memory, as far as is known."""
        return model.loaded or (bool(self.answered) and canonical(model.name) in self.answered)

    @property
    def name(self) -> str:
        return self.beat.device

    @property
    def in_flight(self) -> int:
        return self.own + self.others

    @property
    def free_slots(self) -> int:
        """Slots that look free: good for ranking, no proof of room. One that is tried after failures has room for one job."""
        free = self.beat.slots - self.in_flight
        if self.breaker.state is BreakerState.HALF_OPEN:
            free = min(free, 1 - self.own)
        return max(0, free)

    @property
    def usable(self) -> bool:
        """True when new work may go there."""
        ready = self.liveness is Liveness.ALIVE and self.beat.state is DeviceState.READY
        return ready and self.breaker.state is not BreakerState.OPEN


@dataclass(frozen=True, slots=True)
class Fleet:
    """All devices that the roster knows, dead ones included."""

    devices: Mapping[str, Device] = field(default_factory=dict)


def canonical(model: str) -> str:
    """Give a model's full name: Ollama takes a missing tag for `latest`."""
    return model if ":" in model.rsplit("/", 1)[-1] else f"{model}:latest"
