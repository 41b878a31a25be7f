"""What to do after a failed attempt: a decision as a value, asked once and acted on by `courier`."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import DeadlineExceeded, DeviceBusy, FleetError, Interrupted, UnknownModel

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

    1. Refused for want of a slot: another, or the same one later. 2. The deadline: no more time. 3. Text is visible, and can't
    be continued: interrupted. 4. The fault lies in the request: so says its sender. 5. Too many failures. 6. The next device.
    """
    if isinstance(error, DeviceBusy):  # 1
        return TryNext(exclude=False)
    if isinstance(error, DeadlineExceeded):  # 2
        return GiveUp(error)
    if visible_chars and not continuable:  # 3
        return GiveUp(
            Interrupted(
                f"the answer broke off after {visible_chars} characters, and can't be continued elsewhere "
                f"({error.code}: {error.message}): ask again",
                delivered_chars=visible_chars,
            )
        )
    # A device may have lost a model since its last heartbeat; others may still have it.
    if not error.retryable and not isinstance(error, UnknownModel):  # 4
        return GiveUp(error)
    if failed >= MAX_ATTEMPTS:  # 5
        return GiveUp(error)
    return TryNext(exclude=True)  # 6
