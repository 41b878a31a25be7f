"""What becomes of a durable job after a try: a pure function of how the try ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.durable import Note, Stage
from common.errors import (
    BackendError,
    BusError,
    CapacityError,
    DeadlineExceeded,
    DeviceBusy,
    FleetError,
    JobCancelled,
    RequestError,
    Stopping,
    UnknownDevice,
    UnknownModel,
)
from common.messages import DeviceState
from dispatcher.fleet import Device, Fleet, Liveness

EXHAUSTED = "exhausted"
DEADLINE = "deadline"

LOSSES_PER_TRY = 10
"""A dispatcher that dies takes hundreds of jobs with it that only waited in its line, and one of them at most is the cause. So a
loss before a device had the job is no try, and this many of them for each try are needed until it is taken for the cause."""

_MOST_NAMED = 12


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
    whether a device got it. `misnamed` tells that a model which no device has can't be expected of any, see `none_will_have`, or
    that the device can't be expected to come that was asked for.

    1. Cancelled. 2. This dispatcher stops: another one takes it at once. 3. The job's own deadline is over. 4. The request is at
    fault, and would be again; a model that no device has now is the request's fault only when it is `misnamed`, and so is a device
    that is not there.
    5. It was not tried: the fleet had no place for it, or the bus failed. It waits, until its own deadline at most. 6. It was tried
    as often as it may be. 7. Otherwise again, later.
    """
    if isinstance(error, JobCancelled):  # 1
        return CallOff()
    if isinstance(error, Stopping):  # 2
        return Again(0.0, counts=False)
    if overdue:  # 3
        return Bury(DEADLINE)
    if _at_fault(error, misnamed=misnamed):  # 4
        return Bury(error.code)
    if not _tried(error, reached=reached):  # 5
        return Again(_delay_s(error, deliveries, policy), counts=False)
    return Bury(EXHAUSTED) if tries >= policy.tries else Again(_delay_s(error, tries, policy))  # 6, 7


def _at_fault(error: FleetError, *, misnamed: bool) -> bool:
    if isinstance(error, UnknownDevice | UnknownModel):
        return misnamed
    return isinstance(error, RequestError)


def none_will_have(fleet: Fleet, device: str | None) -> bool:
    """True when a model that no device has now is misspelt, as far as the fleet can tell: devices live, or the one that was asked
    for does, and each has told its models and is there. It may change its mind a moment later: whoever asks waits for long."""
    asked = [one for one in fleet.devices.values() if device in {None, one.name}]
    return any(_at_work(one) for one in asked) and not any(_away(one) for one in asked)


def _at_work(device: Device) -> bool:
    return device.liveness is Liveness.ALIVE and device.beat.state is DeviceState.READY


def _away(device: Device) -> bool:
    """True for one that may yet come with the model: it boots, its engine does not answer, it is silent for the moment, or nobody
    knows what it has. An agent that starts before its engine says that it is faulty, and tells no models."""
    booting = device.beat.state in {DeviceState.STARTING, DeviceState.FAULTY}
    return booting or device.liveness is Liveness.SUSPECT or not device.models


def never_comes(fleet: Fleet, device: str | None) -> bool:
    """True when no device has the name that was asked for, and some device works: the fleet is there."""
    return device is not None and device not in fleet.devices and any(map(_at_work, fleet.devices.values()))


def waiting(fleet: Fleet, model: str, device: str | None) -> UnknownModel:
    """Say what a job waits for whose model nobody has."""
    names = sorted({name for one in fleet.devices.values() if device in {None, one.name} for name in one.models})
    known = _listed(names)
    who = "no device has" if device is None else f"device {device} does not have"
    return UnknownModel(f"{who} the model {model!r} (known: {known}); waiting for a device that has it", param="model")


def waiting_for(fleet: Fleet, device: str) -> UnknownDevice:
    """Say what a job waits for whose device is not there."""
    return UnknownDevice(
        f"there is no device {device!r} (known: {_listed(sorted(fleet.devices))}); waiting for it", device=device
    )


def no_such(fleet: Fleet, device: str) -> UnknownDevice:
    """Say that the device that was asked for is misspelt."""
    return UnknownDevice(f"there is no device {device!r}: known are {_listed(sorted(fleet.devices))}", param="device")


def too_late(error: FleetError, newest: Note | None) -> FleetError:
    """Say of a job whose time is over also what it waited for last, or how it failed."""
    cause = None if newest is None else newest.failure
    if cause is None:
        return error
    return DeadlineExceeded(f"{error.message}; before that: {cause.message}", **{**cause.details, "cause": cause.code})


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "") or "none"


def _tried(error: FleetError, *, reached: bool) -> bool:
    """True when it was the job that failed, or a device with it; what the fleet lacks counts only after a device has had it."""
    if isinstance(error, CapacityError):
        return reached
    return not isinstance(error, BusError | DeviceBusy | UnknownDevice | UnknownModel)


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
