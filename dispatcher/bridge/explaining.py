"""The HTTP routes that tell why: where a chat would go, and why a job went where it went.

A dispatcher knows, the bridge asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from common.keys import Scope
from common.messages import ChatRequest
from dispatcher.bridge.bodies import answered
from dispatcher.bridge.callers import Caller, first_known, on_behalf
from dispatcher.bridge.decisions import RouteTold
from dispatcher.bridge.describing import ASKS, GUARDED, described
from dispatcher.bridge.gate import caller_of, confined
from dispatcher.bridge.openai.request import EXAMPLE, ChatCompletionRequest
from dispatcher.bridge.seeing import within
from dispatcher.bridge.wiring import Bridge
from dispatcher.bridge.wishes import ROUTE_PARAMETERS

EXPLAIN = described(
    ChatCompletionRequest,
    statuses=ASKS,
    schema=RouteTold,
    examples={"One question": EXAMPLE},
    parameters=ROUTE_PARAMETERS,
)


def explaining(bridge: Bridge, read: Callable[[Request], Awaitable[ChatRequest]], *, prefix: str) -> APIRouter:
    """Build the routes below `prefix`; `read` gives the chat of a request, and raises what is wrong with it."""
    router, drover = APIRouter(prefix=prefix, tags=["route"]), bridge.drover
    route = bridge.gate.depends(Scope.ROUTE)

    @router.post(
        "/route/explain", summary="Where a chat would go, and why; nothing is run", dependencies=route, **EXPLAIN
    )
    async def explain(http: Request) -> Response:
        caller = caller_of(http)
        asked = confined(caller, on_behalf(caller, await read(http)))
        return _seen(bridge, caller, await drover.explain(asked, tenant=caller.tenant))

    @router.get(
        "/route/{job}",
        summary="Why a job that ran lately went where it went",
        dependencies=route,
        **described(statuses=GUARDED | {404}, schema=RouteTold),
    )
    async def why(http: Request, job: str) -> Response:
        caller = caller_of(http)
        told = await first_known(caller.jobs_to_see(job), partial(drover.why, tenant=caller.tenant))
        return _seen(bridge, caller, told)

    return router


def _seen(bridge: Bridge, caller: Caller, told: dict[str, Any]) -> Response:
    """Answer with a decision, as far as the caller may see the fleet."""
    return answered(told if caller.sees_all else within(told, bridge.fleet(caller)))
