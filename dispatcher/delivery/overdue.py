"""Why a job got no slot in its time, in words: a pure function of the last decision and of what the devices say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from common.clock import seconds_text
from common.errors import DeadlineExceeded, FleetError
from dispatcher.fleet import Device
from dispatcher.outcomes import Decision

RETRY_AFTER_S = 1.0
MOST_NAMED, MOST_LOOKED_AT = 4, 32
MOST_CHARS = 160
"""Of one cause: it goes into a header of NATS."""


def overdue(
    allowed_s: float, decision: Decision, devices: Mapping[str, Device], nobody: Callable[[Decision], FleetError]
) -> DeadlineExceeded:
    """Make the error. 1. Nobody could take the job: what keeps the devices out is the cause. 2. Those that could had no free slot:
    because of other jobs, or because they take nothing for now, and say why."""
    limit, way_out = f"within {seconds_text(allowed_s)}", "allow more time (timeout_s), or try again later"
    if not decision.candidates:  # 1
        cause = nobody(decision)
        return DeadlineExceeded(
            f"no device could take the job {limit} ({cause.message}): {way_out}",
            retry_after_s=cause.retry_after_s or RETRY_AFTER_S,
            cause=cause.code,
        )
    full = [
        devices[name]
        for name in dict.fromkeys(one.device for one in decision.candidates[:MOST_LOOKED_AT])
        if name in devices
    ]
    causes = "; ".join(islice(_causes(full, decision), MOST_NAMED))  # 2
    waits = [device.beat.closed_s for device in full]
    known = [wait_s for wait_s in waits if wait_s is not None]
    return DeadlineExceeded(
        f"no device had a free slot {limit}{f' ({causes})' if causes else ''}: {way_out}",
        retry_after_s=max(RETRY_AFTER_S, min(known)) if known and len(known) == len(waits) else RETRY_AFTER_S,
    )


def _causes(full: list[Device], decision: Decision) -> Iterator[str]:
    for device in full:
        if device.beat.reason and device.free_slots <= 0:
            yield f"{device.name}: {device.beat.reason}"[:MOST_CHARS]
    for out in decision.removed:
        if out.for_now:
            yield f"{out.device}: {out.reason}"[:MOST_CHARS]
