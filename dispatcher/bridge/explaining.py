"""The HTTP routes that tell why: where a chat would go, and why a job went where it went; a dispatcher knows, the bridge asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from starlette.responses import Response

from common import codec
from common.client import Drover
from common.messages import ChatRequest


def explaining(drover: Drover, read: Callable[[Request], Awaitable[ChatRequest]]) -> APIRouter:
    """Build the routes; `read` gives the chat of a request, and raises what is wrong with it."""
    router = APIRouter(tags=["route"])

    @router.post("/v1/route/explain", summary="Where a chat would go, and why; nothing is run")
    async def explain(http: Request) -> Response:
        return Response(codec.encode(await drover.explain(await read(http))), media_type="application/json")

    @router.get("/v1/route/{job}", summary="Why a job that ran lately went where it went")
    async def why(job: str) -> Response:
        return Response(codec.encode(await drover.why(job)), media_type="application/json")

    return router
