"""`/health`: whether a chat can be answered now."""

from __future__ import annotations

from typing import Literal, NotRequired

from fastapi import APIRouter, Request
from starlette.responses import Response
from typing_extensions import TypedDict  # pydantic wants this one of Pythons before 3.12

from common.errors import LedgerUnavailable
from dispatcher.bridge.bodies import answered
from dispatcher.bridge.describing import described
from dispatcher.bridge.gate import Gate, Keys
from dispatcher.bridge.origins import from_here
from dispatcher.bridge.presence import Presence


class CacheWord(TypedDict):
    """How a dispatcher's cache of answers is."""

    mode: str
    store: str
    state: str


class HealthTold(TypedDict):
    """Whether a chat can be answered now, and why not. All but `status` is told where no key is needed, or to this machine."""

    status: Literal["ok", "unavailable"]
    reason: NotRequired[str]
    devices: NotRequired[dict[str, str]]
    warnings: NotRequired[dict[str, list[str]]]
    models: NotRequired[list[str]]
    dispatcher: NotRequired[bool]
    dispatcher_devices: NotRequired[list[str]]
    cache: NotRequired[CacheWord | None]
    bus: NotRequired[bool]
    keys: NotRequired[Keys]


HEALTH = described(statuses={400}, schema=HealthTold, also={503: ("None can be", HealthTold)})


def health_page(presence: Presence, gate: Gate) -> APIRouter:
    """The route, which asks for no key: probes have none."""
    router = APIRouter(tags=["fleet"])

    @router.get("/health", summary="Whether a chat can be answered now", **HEALTH)
    async def health(http: Request) -> Response:
        now = await presence.health()
        reason = now.reason or await _shut(gate)
        told = {"status": "unavailable"} if reason else {"status": "ok"}
        # Where keys are needed, strangers learn no names: those who may see devices have /api/v1/devices.
        inside = gate.keys is not Keys.NEEDED or from_here(http)
        facts = {**({"reason": reason} if reason else {}), **now.facts, "keys": str(gate.keys)} if inside else {}
        body = {**told, **facts}
        return answered(body, 503 if reason else 200)

    router.add_api_route("/health", health, methods=["HEAD"], include_in_schema=False)
    return router


async def _shut(gate: Gate) -> str:
    """Say why nobody can be let in; empty where that is not so."""
    try:
        await gate.look()
    except LedgerUnavailable as error:
        return error.message
    return ""
