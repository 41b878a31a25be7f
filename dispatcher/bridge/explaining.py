"""The HTTP routes that tell why: where a chat would go, and why a job went where it went.

A dispatcher knows, the bridge asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from common.errors import BusTimeout, NoDispatcher, UnknownJob
from common.keys import Scope
from common.messages import ChatRequest
from common.trials import TrialWeights
from dispatcher.bridge.bodies import answered
from dispatcher.bridge.callers import Caller, first_known, on_behalf
from dispatcher.bridge.decisions import RouteTold
from dispatcher.bridge.describing import ASKS, GUARDED, described
from dispatcher.bridge.gate import caller_of, confined
from dispatcher.bridge.native.replies import record_of
from dispatcher.bridge.openai.request import EXAMPLE, ExplainRequest
from dispatcher.bridge.seeing import within
from dispatcher.bridge.wiring import Bridge
from dispatcher.bridge.wishes import ROUTE_PARAMETERS
from dispatcher.briefs import unfold

KEPT = (
    "Of one that its dispatcher has forgotten (`remembered`) it is told as the ledger has kept it: the best options, and the first "
    "of those that could not."
)

Asked = tuple[ChatRequest, TrialWeights | None]
"""A chat that is not run, and weights that are tried for it."""

EXPLAIN = described(
    ExplainRequest,
    statuses=ASKS,
    schema=RouteTold,
    examples={"One question": EXAMPLE},
    parameters=ROUTE_PARAMETERS,
)


def explaining(bridge: Bridge, read: Callable[[Request], Awaitable[Asked]], *, prefix: str) -> APIRouter:
    """Build the routes below `prefix`; `read` gives the chat of a request, and raises what is wrong with it."""
    router, drover = APIRouter(prefix=prefix, tags=["route"]), bridge.drover
    route = bridge.gate.depends(Scope.ROUTE)

    @router.post(
        "/route/explain", summary="Where a chat would go, and why; nothing is run", dependencies=route, **EXPLAIN
    )
    async def explain(http: Request) -> Response:
        caller = caller_of(http)
        chat, weights = await read(http)
        asked = confined(caller, on_behalf(caller, chat))
        return _seen(bridge, caller, await drover.explain(asked, tenant=caller.tenant, weights=weights))

    @router.get(
        "/route/{job}",
        summary="Why a job went where it went",
        description=KEPT,
        dependencies=route,
        **described(statuses=GUARDED | {404}, schema=RouteTold),
    )
    async def why(http: Request, job: str) -> Response:
        caller = caller_of(http)
        told = await first_known(caller.jobs_to_see(job), partial(_why, bridge, caller))
        return _seen(bridge, caller, told)

    return router


async def _why(bridge: Bridge, caller: Caller, job: str) -> dict[str, Any]:
    """Ask the dispatchers, and the ledger where none knows the job any more, or the one that was asked hangs, or died just then.
    Raises `UnknownJob` and `NoDispatcher` where that does not know it either."""
    try:
        return await bridge.drover.why(job, tenant=caller.tenant)
    except (UnknownJob, NoDispatcher, BusTimeout) as unknown:
        record = await record_of(bridge, job, caller.tenant)
        decision = None if record is None else record.get("decision")
        if record is None or not isinstance(decision, dict):
            if isinstance(unknown, BusTimeout):
                raise NoDispatcher(
                    f"no dispatcher has said in time why job {job!r} went where it went, and no ledger knows it: try again"
                ) from unknown
            raise
        try:
            told = unfold(decision)
        except (LookupError, TypeError, ValueError) as error:
            raise unknown from error
        return {"job": job, "tenant": caller.tenant, **told, "chosen": _had(record), "remembered": True}


def _had(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the device that had a job; None where none did, whichever was the best."""
    names = ("device", "model", "reason")
    return {name: record[name] for name in names} if all(record.get(name) for name in names) else None


def _seen(bridge: Bridge, caller: Caller, told: dict[str, Any]) -> Response:
    """Answer with a decision, as far as the caller may see the fleet."""
    return answered(told if caller.sees_all else within(told, bridge.seen(caller)))
