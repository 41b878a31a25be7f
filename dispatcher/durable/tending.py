"""Signs of life for the jobs that run, and their progress; it begins and ends none."""

from __future__ import annotations

import asyncio

from common.errors import DeadlineExceeded, FleetError
from common.logs import get_logger
from dispatcher.durable.lane import Lane
from dispatcher.durable.run import DurableRun

log = get_logger("durable")

TICK_S = 0.25
"""A job that is over sooner tells nothing but its result: that keeps the stream small where jobs are many."""


async def tend(lane: Lane) -> None:
    """Look after the jobs of a lane, for ever."""
    now = asyncio.get_running_loop().time
    renew_s = lane.ack_wait_s / 3
    renewed_s = now()
    while True:
        await asyncio.sleep(TICK_S)
        # Slots also come free by jobs that are not ours, and nobody says so.
        lane.stirred.set()
        due = now() - renewed_s >= renew_s
        if due:
            renewed_s = now()
        async with asyncio.TaskGroup() as tasks:
            for run in tuple(lane.runs.values()):
                tasks.create_task(_tend(lane, run, due=due))


async def _tend(lane: Lane, run: DurableRun, *, due: bool) -> None:
    _end_overlong(lane, run)
    try:
        if due:
            await run.pulled.in_progress()
            await _renew(lane, run)
        if run.answer is not None and (note := run.answer.progress) is not None:
            run.answer.progress = None
            await run.notes.tell(note)
    except FleetError as error:
        log.debug("durable.untended", job=run.job, error=error.code)


def _end_overlong(lane: Lane, run: DurableRun) -> None:
    """End a try that takes too long: on another device the job may be over soon."""
    begun_s = None if run.answer is None else run.answer.reached_s
    if begun_s is not None and lane.clock.monotonic() - begun_s > lane.try_s:
        late = DeadlineExceeded(
            f"the try was not over within {lane.try_s:g} s: raise DROVER_DURABLE_TRY_S if it needs more"
        )
        lane.pipeline.end(run.job, late, tenant=run.origin.tenant)


async def _renew(lane: Lane, run: DurableRun) -> None:
    claim = run.claim
    if claim is None or run.lost:
        return
    claim.reached = run.reached
    if await lane.claims.renew(claim):
        return
    if run.claim is None:
        return  # it was given up meanwhile
    run.lost = True
    log.warning("durable.lost", job=run.job, tries=run.tries)
    lane.pipeline.cancel(run.job, "another dispatcher has it", tenant=run.origin.tenant)
