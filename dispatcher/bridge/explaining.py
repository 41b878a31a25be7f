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
from common.messages import ChatRequest


def explaining(
    drover: Drover, read: Callable[[Request], Awaitable[ChatRequest]], body: Callable[[Request], Awaitable[bytes]]
) -> APIRouter:
    """Build the routes; `read` gives the chat of a request and `body` its bytes; both raise what is wrong with it."""
    router = APIRouter(tags=["route"])

    @router.post("/v1/route/explain", summary="Where a chat would go, and why; nothing is run")
    async def explain(http: Request) -> Response:
        return Response(codec.encode(await drover.explain(await read(http))), media_type="application/json")

    @router.get("/v1/route/{job}", summary="Why a job that ran lately went where it went")
    async def why(job: str) -> Response:
        return Response(codec.encode(await drover.why(job)), media_type="application/json")

    @router.post("/v1/feedback", summary="Say how an answer was: a thumb, a vote or a score")
    async def feedback(http: Request) -> Response:
        said = codec.decode_request(await body(http))
        job = said.pop("job", None)
        if not isinstance(job, str) or not job:
            raise BadRequest('job is missing: send {"job":"…","rating":"up"}', param="job")
        return Response(codec.encode(await drover.rate(job, said)), media_type="application/json")

    return router
