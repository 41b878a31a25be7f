"""The jobs that wait or run now: every dispatcher is asked, and tells its own; what is over, the ledger has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le
from fastapi import APIRouter, Request
from starlette.responses import Response

from common import codec
from common.durable_backlog import Backlog
from common.errors import BadRequest, FleetError, NoDispatcher
from common.gathering import Gathered, gather
from common.keys import Scope
from common.messages import Token
from common.running import MOST_JOBS, Running, RunningQuery
from dispatcher.bridge.bodies import answered
from dispatcher.bridge.callers import listed
from dispatcher.bridge.describing import GUARDED, described
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.native.replies import limit_of, parameter, queried
from dispatcher.bridge.native.shapes import RunningJobs
from dispatcher.bridge.presence import DISPATCHERS
from dispatcher.bridge.surfaces import NATIVE
from dispatcher.bridge.wiring import Bridge

WITHIN_S = 2.0
"""A dispatcher answers within milliseconds; one that has not by then is frozen, and is named."""

PARAMETERS = (
    limit_of(MOST_JOBS, MOST_JOBS),
    parameter(
        "tenant", "whose; who may not see all of the fleet (read:fleet) is told of its own user's alone", type="string"
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    tenant: Token | None = None
    limit: Annotated[int, Ge(1), Le(MOST_JOBS)] = MOST_JOBS


def running_routes(bridge: Bridge) -> APIRouter:
    """The route `/api/v1/running`."""
    router = APIRouter(prefix="/api/v1", tags=["jobs"])

    @router.get(
        "/running",
        summary="The jobs that wait or run now, the oldest first",
        dependencies=bridge.gate.depends(Scope.CHAT),
        **described(surface=NATIVE, statuses=GUARDED, schema=RunningJobs, parameters=PARAMETERS),
    )
    async def running(http: Request) -> Response:
        asked, caller = queried(_Asked, http), caller_of(http)
        seen = listed(caller, asked.tenant)
        query = RunningQuery(tenant=seen.tenant, ending=seen.ending, limit=asked.limit)
        untaken = await bridge.untaken.told()
        found = await _gathered(bridge, query, untaken)
        told = page(_read(found), silent=found.silent, limit=asked.limit)
        return answered(told if untaken is None else {**told, "durable": codec.plain(untaken)})

    return router


async def _gathered(bridge: Bridge, query: RunningQuery, untaken: Backlog | None) -> Gathered:
    """Ask every dispatcher. Raises `NoDispatcher` where none tells anything, and what one refuses with."""
    body = codec.encode(codec.plain(query))
    found = await gather(
        bridge.bus, DISPATCHERS, bridge.subjects.running(), body, named_by="dispatcher", within_s=WITHIN_S
    )
    if found.told:
        return found
    refusals: Iterable[FleetError] = found.errors
    waits = f"; {untaken.waiting} durable jobs wait for one" if untaken is not None and untaken.waiting else ""
    raise next(iter(refusals), None) or NoDispatcher(
        f"no dispatcher tells what runs{waits}: start one with `drover dispatcher`, or one of this version"
    )


def _read(found: Gathered) -> list[Running]:
    """Read what dispatchers said; what can't be read is of another version, and is passed over."""
    read = list[Running]()
    for one in found.told:
        try:
            read.append(codec.build(Running, one))
        except BadRequest:
            continue
    return read


def page(told: Iterable[Running], *, silent: Iterable[str], limit: int) -> dict[str, Any]:
    """Put together what dispatchers tell."""
    told = tuple(told)
    jobs = sorted((job for one in told for job in one.jobs), key=lambda job: (job.queued_unix_s, job.id))
    return {
        "jobs": [codec.plain(job) for job in jobs[:limit]],
        "more": len(jobs) > limit or any(one.more for one in told),
        "running": sum(one.at_work for one in told),
        "waiting": sum(one.waiting for one in told),
        "silent": sorted(silent),
    }
