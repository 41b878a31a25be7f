"""What becomes of a durable job after a try: a pure function of how the try ended."""

from __future__ import annotations

from dataclasses import dataclass

from common.durable import Note, Stage
from common.errors import (
    BackendError,
    BusError,
    CapacityError,
    DeviceBusy,
    FleetError,
    JobCancelled,
    RequestError,
    Stopping,
    UnknownModel,
)
from common.messages import DeviceState
from dispatcher.fleet import Fleet, Liveness

EXHAUSTED = "exhausted"
DEADLINE = "deadline"

LOSSES_PER_TRY = 10
"""A dispatcher that dies takes hundreds of jobs with it that only waited in its line, and one of them at most is the cause. So a
loss before a device had the job is no try, and this many of them for each try are needed until it is taken for the cause."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a job is tried, and the seconds between: the first delay, growing fourfold, up to the longest."""

    tries: int
    first_delay_s: float
    longest_delay_s: float

    @property
    def losses(self) -> int:
        """Give the number of dispatchers that a job may be lost with before a device has it, one after the other."""
        return self.tries * LOSSES_PER_TRY


@dataclass(frozen=True, slots=True)
class Again:
    """Hand it back; it is delivered again after `delay_s`. `counts` tells that the job was tried, and failed."""

    delay_s: float
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Bury:
    """It can't be answered, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class CallOff:
    """Somebody wanted it no more."""


Verdict = Again | Bury | CallOff


def after(
    error: FleetError,
    *,
    tries: int,
    deliveries: int,
    policy: RetryPolicy,
    overdue: bool,
    reached: bool,
    misnamed: bool = False,
) -> Verdict:
    """Decide what follows a failed try, the job's `tries`-th; the server has delivered it `deliveries` times, and `reached` tells
    whether a device got it. `misnamed` tells that a model which no device has can't be expected of any, see `nobody_has`.

    1. Cancelled. 2. This dispatcher stops: another one takes it at once. 3. The job's own deadline is over. 4. The request is at
    fault, and would be again; a model that no device has now is the request's fault only where no device is away that may have it.
    5. It was not tried: the fleet had no place for it, or the bus failed. It waits, until its own deadline at most. 6. It was tried
    as often as it may be. 7. Otherwise again, later.
    """
    if isinstance(error, JobCancelled):  # 1
        return CallOff()
    if isinstance(error, Stopping):  # 2
        return Again(0.0, counts=False)
    if overdue:  # 3
        return Bury(DEADLINE)
    if isinstance(error, RequestError) and (misnamed or not isinstance(error, UnknownModel)):  # 4
        return Bury(error.code)
    if not _tried(error, reached=reached):  # 5
        return Again(_delay_s(error, deliveries, policy), counts=False)
    return Bury(EXHAUSTED) if tries >= policy.tries else Again(_delay_s(error, tries, policy))  # 6, 7


def none_will_have(fleet: Fleet, device: str | None) -> bool:
    """True when a model that no device has is misspelt, as far as anybody knows: devices live, or the one that was asked for does,
    and none is only suspect or starting, which may be the one that has it."""
    asked = [one for one in fleet.devices.values() if device in {None, one.name}]
    away = any(one.liveness is Liveness.SUSPECT or one.beat.state is DeviceState.STARTING for one in asked)
    return not away and any(one.liveness is Liveness.ALIVE and one.beat.state is DeviceState.READY for one in asked)


def _tried(error: FleetError, *, reached: bool) -> bool:
    """True when it was the job that failed, or a device with it; what the fleet lacks counts only after a device has had it."""
    if isinstance(error, CapacityError):
        return reached
    return not isinstance(error, BusError | DeviceBusy | UnknownModel)


def last_error(newest: Note | None, tries: int) -> FleetError:
    """Give what is known of a job whose last dispatcher did not live to tell."""
    if newest is not None and newest.failure is not None:
        return newest.failure
    where = f"; it ran on {newest.device} last" if newest is not None and newest.state is Stage.RUNNING else ""
    return BackendError(f"the job was taken {tries} times and no dispatcher lived to answer it{where}")


def lost_too_often(losses: int) -> FleetError:
    """Say that a job was never brought to a device."""
    return BackendError(
        f"{losses} dispatchers, one after the other, had the job and were gone before a device got it: look why they end"
    )


def _delay_s(error: FleetError, tries: int, policy: RetryPolicy) -> float:
    grown_s = policy.first_delay_s * 4 ** min(tries - 1, 20)
    return float(min(policy.longest_delay_s, max(grown_s, error.retry_after_s or 0.0)))
