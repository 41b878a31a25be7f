"""`/ui/events`: what happens, as server-sent events, for the page."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.responses import Response

from common.errors import BadRequest
from common.keys import Scope
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.live.feed import DEVICES, JOBS, KINDS
from dispatcher.bridge.live.stream import LiveStream
from dispatcher.bridge.wiring import Bridge

_SCOPES: Mapping[str, frozenset[Scope]] = {
    DEVICES: frozenset({Scope.FLEET}),
    JOBS: frozenset({Scope.CHAT, Scope.FLEET}),
}
"""Kinds that not every key is told of: one of these scopes is needed, as for the routes that tell the same."""


def live_routes(bridge: Bridge) -> APIRouter:
    """The route; it is the page's own, and no part of the API's description."""
    router = APIRouter(include_in_schema=False)

    @router.get("/ui/events", dependencies=bridge.gate.depends())
    async def events(http: Request) -> Response:
        caller = caller_of(http)
        kinds = wanted(http.query_params.get("only"), caller)
        return LiveStream(bridge.live, bridge.gate, bridge.curfew, caller, kinds)

    return router


def wanted(only: str | None, caller: Caller) -> tuple[str, ...]:
    """Give the kinds of events that a stream has: those that are asked for, or all, as far as its caller may. Raises
    `BadRequest`."""
    asked = KINDS if only is None else tuple(dict.fromkeys(only.split(",")))
    for kind in asked:
        if kind not in KINDS:
            raise BadRequest(f"there are no events {kind[:40]!r}: only={','.join(KINDS)} names all", param="only")
    return tuple(kind for kind in asked if kind not in _SCOPES or any(map(caller.may, _SCOPES[kind])))
