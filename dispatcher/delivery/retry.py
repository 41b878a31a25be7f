"""What to do after a failed attempt: a decision as a value, asked once and acted on by `courier`."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import (
    BusError,
    DeadlineExceeded,
    DeviceBusy,
    FleetError,
    Interrupted,
    JobCancelled,
    RequestError,
    UnknownModel,
)

MAX_ATTEMPTS = 6
"""More devices than this have not failed by chance; refusals (`busy`) don't count."""


@dataclass(frozen=True, slots=True)
class TryNext:
    """Ask again who can answer. `exclude` tells that this device is not to be asked again for this job."""

    exclude: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Answer with this error."""

    error: FleetError


def after(error: FleetError, *, failed: int, visible_chars: int, continuable: bool) -> TryNext | GiveUp:
    """Decide. `failed` counts the failed attempts, this one included, without refusals.

    1. The deadline, or a cancel: no more time. 2. Text is visible, and can't be continued: interrupted. 3. Refused for want of a
    slot: another, or the same one later. 4. The fault lies in the request, or our own bus is gone: so says its sender. 5. Too many
    failures. 6. The next device.
    """
    if isinstance(error, DeadlineExceeded | JobCancelled):  # 1
        return GiveUp(error)
    if visible_chars and not continuable:  # 2
        return GiveUp(interrupted(error, visible_chars))
    if isinstance(error, DeviceBusy):  # 3
        return TryNext(exclude=False)
    if _hopeless(error) or failed >= MAX_ATTEMPTS:  # 4, 5
        return GiveUp(interrupted(error, visible_chars) if visible_chars else error)
    return TryNext(exclude=True)  # 6


def interrupted(error: FleetError, visible_chars: int) -> Interrupted:
    """Say how much the producer has, and why no more comes."""
    return Interrupted(
        f"the answer broke off after {visible_chars} characters, and can't be continued elsewhere "
        f"({error.code}: {error.message}): ask again",
        delivered_chars=visible_chars,
    )


def _hopeless(error: FleetError) -> bool:
    """No other device can help. One may have lost a model since its last heartbeat, and others may still have it."""
    return isinstance(error, RequestError | BusError) and not isinstance(error, UnknownModel)
