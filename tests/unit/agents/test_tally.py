"""What counts as done, failed and refused."""

from __future__ import annotations

import pytest

from agents.slots import Slots
from agents.speeds import Finished
from agents.tally import Tally
from common.errors import (
    BackendError,
    BadRequest,
    BusDisconnected,
    DeadlineExceeded,
    DeviceBusy,
    FleetError,
    InternalError,
    JobCancelled,
    ModelNotLoadable,
    UnknownModel,
)
from common.messages import EngineTimings, Usage


@pytest.mark.parametrize(
    ("error", "failed", "refused"),
    [
        (DeviceBusy("full"), 0, 1),
        (BadRequest("wrong"), 0, 1),
        (UnknownModel("what"), 0, 1),
        (BackendError("broke"), 1, 0),
        (ModelNotLoadable("big"), 1, 0),
        (InternalError("bug"), 1, 0),
        (JobCancelled("went away"), 0, 0),
        (DeadlineExceeded("late"), 0, 0),
        (BusDisconnected("gone"), 0, 0),
    ],
)
def test_only_the_devices_own_faults_are_failures(error: FleetError, failed: int, refused: int) -> None:
    """A wrong request or a full device is refused; a client that leaves or a lost bus is nobody's failure."""
    tally = Tally()

    tally.ended(error, "j1")

    workload = tally.workload(Slots(1), draining=False)
    assert (workload.failed, workload.refused) == (failed, refused)


def test_a_done_job_is_counted_and_learnt_from() -> None:
    """Ten tokens in two seconds."""
    tally = Tally()

    tally.done("m", Finished(usage=Usage(completion_tokens=10), engine=EngineTimings(decode_s=2.0)))

    workload = tally.workload(Slots(1), draining=False)
    assert (workload.done, workload.speeds["m"].decode_tps) == (1, 5.0)
