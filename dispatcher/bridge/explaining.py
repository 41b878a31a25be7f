"""The HTTP routes that tell why: where a chat would go, why a job went where it went, and how it was liked.

A dispatcher knows, the bridge asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from starlette.responses import Response

from common import codec
from common.client import Drover
from common.errors import BadRequest
from common.keys import Scope
from common.messages import ChatRequest
from dispatcher.bridge.bodies import json_body
from dispatcher.bridge.callers import on_behalf
from dispatcher.bridge.describing import ASKS, GUARDED, described
from dispatcher.bridge.gate import Gate, caller_of
from dispatcher.bridge.openai.request import EXAMPLE, ChatCompletionRequest
from dispatcher.bridge.wishes import ROUTE_PARAMETERS

EXPLAIN = described(
    ChatCompletionRequest, statuses=ASKS, examples={"One question": EXAMPLE}, parameters=ROUTE_PARAMETERS
)


FEEDBACK = described(statuses=ASKS)


def explaining(
    drover: Drover, gate: Gate, read: Callable[[Request], Awaitable[ChatRequest]], *, prefix: str = "/v1"
) -> APIRouter:
    """Build the routes below `prefix`; `read` gives the chat of a request, and raises what is wrong with it."""
    router = APIRouter(prefix=prefix, tags=["route"])
    route, chat = gate.depends(Scope.ROUTE), gate.depends(Scope.CHAT)

    @router.post(
        "/route/explain", summary="Where a chat would go, and why; nothing is run", dependencies=route, **EXPLAIN
    )
    async def explain(http: Request) -> Response:
        return Response(
            codec.encode(
                await drover.explain(on_behalf(caller_of(http), await read(http)), tenant=caller_of(http).tenant)
            ),
            media_type="application/json",
        )

    @router.get(
        "/route/{job}",
        summary="Why a job that ran lately went where it went",
        dependencies=route,
        **described(statuses=GUARDED | {404}),
    )
    async def why(http: Request, job: str) -> Response:
        return Response(
            codec.encode(await drover.why(job, tenant=caller_of(http).tenant)), media_type="application/json"
        )

    @router.post(
        "/feedback", summary="Say how an answer was: a thumb, a vote or a score", dependencies=chat, **FEEDBACK
    )
    async def feedback(http: Request) -> Response:
        said = codec.decode_request(await json_body(http))
        job = said.pop("job", None)
        if not isinstance(job, str) or not job:
            raise BadRequest('job is missing: send {"job":"…","rating":"up"}', param="job")
        return Response(
            codec.encode(await drover.rate(job, said, tenant=caller_of(http).tenant)), media_type="application/json"
        )

    return router
