"""What follows a failed attempt: every kind of failure, before and after visible text."""

from __future__ import annotations

import pytest

from common import errors
from common.errors import FleetError, Interrupted
from dispatcher.delivery.retry import MAX_ATTEMPTS, GiveUp, TryNext, after

NEXT = "next, without this device"
AGAIN = "next, and this device again"
SAME = "give up with this error"
BROKEN = "give up, interrupted"


def told(error: FleetError, *, failed: int = 1, visible_chars: int = 0, continuable: bool = True) -> str:
    """Name the decision."""
    step = after(error, failed=failed, visible_chars=visible_chars, continuable=continuable)
    if isinstance(step, TryNext):
        return NEXT if step.exclude else AGAIN
    return SAME if step.error is error else BROKEN


@pytest.mark.parametrize(
    ("error", "unseen", "continuable", "not_continuable"),
    [
        (errors.DeviceBusy(), AGAIN, AGAIN, BROKEN),  # 3, 3, 2
        (errors.DeviceLost(), NEXT, NEXT, BROKEN),  # 6, 6, 2
        (errors.DeviceSilent(), NEXT, NEXT, BROKEN),
        (errors.BackendError(), NEXT, NEXT, BROKEN),
        (errors.ModelNotLoadable(), NEXT, NEXT, BROKEN),
        (errors.GarbledReply(), NEXT, NEXT, BROKEN),
        (errors.UnknownModel(), NEXT, NEXT, BROKEN),  # the device lost it; others may have it
        (errors.InternalError(), NEXT, NEXT, BROKEN),
        (FleetError("of a newer version"), NEXT, NEXT, BROKEN),
        (errors.DeadlineExceeded(), SAME, SAME, SAME),  # 1
        (errors.JobCancelled(), SAME, SAME, SAME),
        (errors.BadRequest(), SAME, BROKEN, BROKEN),  # 4, 4, 2
        (errors.UnsupportedByModel(), SAME, BROKEN, BROKEN),
        (errors.PayloadTooLarge(), SAME, BROKEN, BROKEN),
        (errors.DuplicateJob(), SAME, BROKEN, BROKEN),
        (errors.BusDisconnected(), SAME, BROKEN, BROKEN),  # our own bus: no device can help
        (errors.BusTimeout(), SAME, BROKEN, BROKEN),
    ],
)
def test_each_failure_has_its_step(error: FleetError, unseen: str, continuable: str, not_continuable: str) -> None:
    """The step depends on the failure, on whether text is visible, and on whether it can be continued."""
    assert (unseen, unseen, continuable, not_continuable) == (
        told(error),
        told(error, continuable=False),  # nothing is visible: there is nothing to continue
        told(error, visible_chars=5),
        told(error, visible_chars=5, continuable=False),
    )


@pytest.mark.parametrize(
    ("failed", "visible_chars", "expected"),
    [
        (MAX_ATTEMPTS - 1, 0, NEXT),
        (MAX_ATTEMPTS, 0, SAME),
        (MAX_ATTEMPTS - 1, 9, NEXT),
        (MAX_ATTEMPTS, 9, BROKEN),
    ],
)
def test_failures_are_limited(failed: int, visible_chars: int, expected: str) -> None:
    """After so many failures it is no longer the devices' fault."""
    assert expected == told(errors.BackendError(), failed=failed, visible_chars=visible_chars)


def test_refusals_are_not_limited() -> None:
    """A full fleet is no failure: the job waits for its turn, up to its deadline."""
    assert AGAIN == told(errors.DeviceBusy(), failed=10 * MAX_ATTEMPTS)


def test_an_interruption_says_how_much_there_is() -> None:
    """Who has half an answer is told how long it is, and why it broke off."""
    step = after(errors.DeviceLost("nano is gone"), failed=1, visible_chars=42, continuable=False)
    assert isinstance(step, GiveUp)

    assert (True, {"delivered_chars": 42}, True, True) == (
        isinstance(step.error, Interrupted),
        step.error.details,
        "42 characters" in step.error.message,
        "device_lost: nano is gone" in step.error.message,
    )
