"""Texts that are to be embedded as one source of frames: as many jobs as they take, each let in by itself; it knows no API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from common import frames
from common.embedding import AT_ONCE, joined
from common.errors import DeadlineExceeded, FleetError, GarbledReply
from common.messages import ChatRequest
from dispatcher.bridge.asking import Asking
from dispatcher.bridge.callers import Caller


async def embedded(asking: Asking, jobs: Sequence[ChatRequest], caller: Caller) -> AsyncGenerator[frames.Frame, None]:
    """Give where the first job ran, and the end of all of them, joined. Raises what the first of them fails with; the others are
    cancelled then, as all of them are when nobody waits any more."""
    ends = await _all(asking, jobs, caller)
    answer = joined(ends)
    first = answer.routes[0]
    device, reason = str(first.get("device", "")), str(first.get("reason", ""))
    yield frames.RouteNote(str(jobs[0].job), device, answer.model, reason, len(first.get("attempts") or (1,)))
    yield frames.End(
        usage=answer.usage,
        embeddings=answer.packed,
        energy=answer.energy,
        cost_usd=answer.cost_usd,
        route=first if len(jobs) == 1 else {**first, "jobs": [str(one.job) for one in jobs]},
    )


async def _all(asking: Asking, jobs: Sequence[ChatRequest], caller: Caller) -> list[frames.End]:
    """Run the jobs, a few at once. A key that may run only so many at once runs them one by one: its other requests count too."""
    limited = caller.grant is not None and caller.grant.parallel is not None
    few = asyncio.Semaphore(1 if limited else AT_ONCE)
    limit_s = jobs[0].timeout_s

    async def run(job: ChatRequest) -> frames.End:
        async with few:
            return await _end(asking, job, caller)

    try:
        async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
            running = [group.create_task(run(job)) for job in jobs]
    except TimeoutError as error:
        raise DeadlineExceeded(f"not all texts were embedded within {limit_s:g} s: allow more time") from error
    except ExceptionGroup as errors:
        if isinstance(errors.exceptions[0], FleetError):
            raise errors.exceptions[0] from None
        raise
    return [one.result() for one in running]


async def _end(asking: Asking, job: ChatRequest, caller: Caller) -> frames.End:
    async with aclosing(asking.frames(job, caller)) as source:
        async for frame in source:
            if isinstance(frame, frames.Err):
                raise frame.error
            if isinstance(frame, frames.End):
                return frame
    raise GarbledReply("the stream ended without an end frame: ask again")
