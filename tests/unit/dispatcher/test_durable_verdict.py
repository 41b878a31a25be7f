"""What becomes of a durable job after a try."""

from __future__ import annotations

import pytest

from common.durable import Note, Stage
from common.errors import (
    BackendError,
    BadRequest,
    BusDisconnected,
    DeadlineExceeded,
    DeviceBusy,
    FleetError,
    InternalError,
    JobCancelled,
    NoDevice,
    PayloadTooLarge,
    QueueFull,
    Stopping,
    UnknownDevice,
    UnknownModel,
    UnsupportedByModel,
)
from common.messages import DeviceState
from dispatcher.durable.verdict import (
    Again,
    Bury,
    CallOff,
    RetryPolicy,
    Verdict,
    after,
    never_comes,
    none_will_have,
    too_late,
    waiting,
)
from dispatcher.fleet import Device, Liveness
from tests.unit.dispatcher.builders import bare, device, fleet, model

POLICY = RetryPolicy(tries=5, first_delay_s=1.0, longest_delay_s=20.0)


@pytest.mark.parametrize(
    ("error", "tries", "overdue", "wanted"),
    [
        (JobCancelled(), 1, False, CallOff()),
        (JobCancelled(), 5, True, CallOff()),
        (Stopping(), 5, False, Again(0.0, counts=False)),
        (DeadlineExceeded(), 1, True, Bury("deadline")),
        (DeadlineExceeded(), 1, False, Again(1.0)),
        (BadRequest(), 1, False, Bury("bad_request")),
        (PayloadTooLarge(), 1, False, Bury("too_large")),
        (UnsupportedByModel(), 1, False, Bury("unsupported")),
        (UnknownModel(), 5, False, Again(16.0, counts=False)),  # its device may come back
        (BusDisconnected(), 5, False, Again(16.0, counts=False)),
        (DeviceBusy(), 5, False, Again(16.0, counts=False)),
        (BusDisconnected(), 1, True, Bury("deadline")),
        (BackendError(), 1, False, Again(1.0)),
        (BackendError(), 2, False, Again(4.0)),  # 1 · 4
        (BackendError(), 3, False, Again(16.0)),  # 1 · 4 · 4
        (BackendError(), 4, False, Again(20.0)),  # 64, at most 20
        (BackendError(), 5, False, Bury("exhausted")),
        (InternalError(), 1, False, Again(1.0)),
        (NoDevice(retry_after_s=7.0), 1, False, Again(7.0)),  # what the fleet asked for
        (NoDevice(retry_after_s=90.0), 1, False, Again(20.0)),
    ],
)
def test_after(error: FleetError, tries: int, overdue: bool, wanted: Verdict) -> None:
    """The table of what follows a try that reached a device, at the third delivery."""
    assert after(error, tries=tries, deliveries=3, policy=POLICY, overdue=overdue, reached=True) == wanted


@pytest.mark.parametrize("error", [NoDevice(), QueueFull(), DeadlineExceeded(), UnknownModel(), BusDisconnected()])
def test_waiting_for_room_is_no_try(error: FleetError) -> None:
    """A job that no device got is handed back after its last try too, at growing distances."""
    verdicts = [
        after(error, tries=5, deliveries=deliveries, policy=POLICY, overdue=False, reached=False)
        for deliveries in (1, 2, 1000)
    ]

    assert [Again(delay_s, counts=False) for delay_s in (1.0, 4.0, 20.0)] == verdicts


def test_a_bug_is_a_try() -> None:
    """Also before a device: it would be met for ever."""
    verdict = after(InternalError(), tries=5, deliveries=5, policy=POLICY, overdue=False, reached=False)

    assert Bury("exhausted") == verdict


@pytest.mark.parametrize("tries", [1, 10, 1000, 10**9])
def test_the_delay_has_a_bound(tries: int) -> None:
    """However often a job was tried, the next try is not later than the setting says."""
    verdict = after(
        BackendError(),
        tries=tries,
        deliveries=tries,
        policy=RetryPolicy(10**10, 1.0, 60.0),
        overdue=False,
        reached=True,
    )

    assert isinstance(verdict, Again)
    assert verdict.delay_s <= 60.0


@pytest.mark.parametrize(("misnamed", "wanted"), [(True, Bury("unknown_model")), (False, Again(1.0, counts=False))])
def test_a_model_that_nobody_has(*, misnamed: bool, wanted: Verdict) -> None:
    """4, 5. It waits only where a device may come that has it."""
    verdict = after(
        UnknownModel(), tries=1, deliveries=1, policy=POLICY, overdue=False, reached=False, misnamed=misnamed
    )

    assert wanted == verdict


READY, STARTING, FAULTY = DeviceState.READY, DeviceState.STARTING, DeviceState.FAULTY
NANO = device("nano")


@pytest.mark.parametrize(
    ("devices", "pinned", "certain"),
    [
        ([], None, False),
        ([NANO], None, True),
        ([NANO, device("orin", liveness=Liveness.DEAD)], None, True),
        ([NANO, device("orin", liveness=Liveness.SUSPECT)], None, False),
        ([NANO, device("orin", state=STARTING)], None, False),
        ([NANO, device("orin", state=FAULTY)], None, False),
        ([NANO, bare("orin", state=FAULTY)], None, False),
        ([NANO, bare("orin")], None, False),
        ([device("nano", liveness=Liveness.DEAD)], None, False),
        ([NANO, device("orin", liveness=Liveness.SUSPECT)], "nano", True),
        ([NANO, device("orin", liveness=Liveness.DEAD)], "orin", False),
    ],
)
def test_whether_a_device_may_come_that_has_it(devices: list[Device], pinned: str | None, *, certain: bool) -> None:
    """Certain is it only with devices that live, each of which has told its models and is there."""
    assert certain == none_will_have(fleet(*devices), pinned)


@pytest.mark.parametrize(
    ("devices", "pinned", "never"),
    [
        ([NANO], None, False),
        ([NANO], "nano", False),
        ([device("nano", liveness=Liveness.DEAD)], "nano", False),
        ([NANO], "orin", True),
        ([NANO, device("pi", state=FAULTY)], "orin", True),  # no other one becomes it
        ([], "orin", False),
        ([device("nano", liveness=Liveness.DEAD)], "orin", False),
    ],
)
def test_whether_a_device_never_comes(devices: list[Device], pinned: str | None, *, never: bool) -> None:
    """It has no device's name, while some device works."""
    assert never == never_comes(fleet(*devices), pinned)


@pytest.mark.parametrize(("misnamed", "wanted"), [(True, Bury("unknown_device")), (False, Again(16.0, counts=False))])
def test_a_device_that_is_not_there(*, misnamed: bool, wanted: Verdict) -> None:
    """A misspelt one is the request's fault; another one may come."""
    assert wanted == after(
        UnknownDevice(), tries=1, deliveries=3, policy=POLICY, overdue=False, reached=False, misnamed=misnamed
    )


@pytest.mark.parametrize("newest", [None, Note(job="a", tenant="b", state=Stage.RUNNING, at_unix_s=1.0)])
def test_an_end_without_a_cause_stays_as_it_is(newest: Note | None) -> None:
    """Nothing was told before that went wrong."""
    late = DeadlineExceeded("over")

    assert late is too_late(late, newest)


def test_a_job_says_what_it_waits_for() -> None:
    """The model that it names, and those that it could have named."""
    said = waiting(fleet(device("nano", model("b:1"), model("a:1")), bare()), "big:70b", None)

    assert "no device has the model 'big:70b' (known: a:1, b:1); waiting for a device that has it" == said.message
