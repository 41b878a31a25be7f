"""What a worker has done since it started: counts, times, speeds; it knows neither bus nor backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.slots import Slots
from agents.speeds import Finished, learn
from common.errors import AttemptError, DeviceBusy, FleetError, InternalError, RequestError
from common.logs import get_logger
from common.messages import Speed

log = get_logger("worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What a worker says of itself at one moment. `fault` is why its engine is taken for hung; `asked` counts all dispatches,
    `spent_s` the time that they took."""

    slots: int
    in_flight: int = 0
    jobs_by_dispatcher: Mapping[str, int] = field(default_factory=dict)
    draining: bool = False
    fault: str | None = None
    closed: str | None = None
    closed_s: float | None = None
    asked: int = 0
    done: int = 0
    failed: int = 0
    refused: int = 0
    spent_s: float = 0.0
    last_error: str = ""
    speeds: Mapping[str, Speed] = field(default_factory=dict)


class Tally:
    """The counts of one worker, which alone writes to them."""

    def __init__(self) -> None:
        self.asked = 0
        self.refused = 0
        self.spent_s = 0.0
        self._done = 0
        self._failed = 0
        self._last_error = ""
        self._speeds: dict[str, Speed] = {}

    def speed(self, model: str) -> Speed:
        """Give what was learnt of a model."""
        return self._speeds.get(model, _UNKNOWN)

    def done(self, model: str, job: Finished) -> None:
        """Count a job that was answered, and learn from it."""
        self._done += 1
        self._speeds[model] = learn(self.speed(model), job)

    def ended(self, error: FleetError, job: str) -> None:
        """Count and log what was refused and what failed; a cancellation, a deadline or a lost bus is not the device's failure."""
        if isinstance(error, RequestError | DeviceBusy):
            self.refused += 1
            log.debug("job.refused", job=job, code=error.code, error=error.message)
        elif isinstance(error, AttemptError | InternalError):
            self._failed += 1
            self._last_error = error.message
            log.warning("job.failed", job=job, code=error.code, error=error.message)
        else:
            log.debug("job.ended", job=job, code=error.code)

    def workload(self, slots: Slots, *, draining: bool, fault: str | None = None) -> Workload:
        """Say it all at once."""
        return Workload(
            slots=slots.total,
            in_flight=slots.in_flight,
            jobs_by_dispatcher=slots.by_dispatcher,
            draining=draining,
            fault=fault,
            asked=self.asked,
            done=self._done,
            failed=self._failed,
            refused=self.refused,
            spent_s=self.spent_s,
            last_error=self._last_error,
            speeds=dict(self._speeds),
        )


_UNKNOWN = Speed()
