"""`/health`: whether a chat can be answered now."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from common import codec
from common.errors import LedgerUnavailable
from dispatcher.bridge.gate import Gate
from dispatcher.bridge.presence import Presence


def health_page(presence: Presence, gate: Gate) -> APIRouter:
    """The route, which asks for no key: probes have none."""
    router = APIRouter(tags=["fleet"])

    @router.get("/health", summary="Whether a chat can be answered now")
    async def health() -> Response:
        now = await presence.health()
        reason = now.reason or await _shut(gate)
        told = {"status": "unavailable", "reason": reason} if reason else {"status": "ok"}
        body = {**told, **now.facts, "keys": str(gate.keys)}
        return Response(codec.encode(body), 503 if reason else 200, media_type="application/json")

    router.add_api_route("/health", health, methods=["HEAD"], include_in_schema=False)
    return router


async def _shut(gate: Gate) -> str:
    """Say why nobody can be let in; empty where that is not so."""
    try:
        await gate.look()
    except LedgerUnavailable as error:
        return error.message
    return ""
