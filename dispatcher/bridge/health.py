"""`/health`: whether a chat can be answered now."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from common import codec
from dispatcher.bridge.presence import Presence


def health_page(presence: Presence) -> APIRouter:
    """The route, which asks for no key: probes have none."""
    router = APIRouter(tags=["fleet"])

    @router.get("/health", summary="Whether a chat can be answered now")
    async def health() -> Response:
        now = await presence.health()
        told = {"status": "unavailable", "reason": now.reason} if now.reason else {"status": "ok"}
        return Response(codec.encode({**told, **now.facts}), 503 if now.reason else 200, media_type="application/json")

    router.add_api_route("/health", health, methods=["HEAD"], include_in_schema=False)
    return router
