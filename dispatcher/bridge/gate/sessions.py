"""A browser's session: a key is shown once, and a cookie that scripts can't read stands for it from then on."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response
from typing_extensions import TypedDict  # pydantic wants this one of Pythons before 3.12

from common import codec, key_client
from common.bus import Bus
from common.clock import Clock
from common.errors import NotAllowed, Unauthorized
from common.keys import Grant, Scope, parse
from common.subjects import Subjects
from dispatcher.bridge.bodies import json_body
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.describing import ASKS, described
from dispatcher.bridge.gate.credentials import Site, require_own_page, shown
from dispatcher.bridge.gate.gate import Gate, Keys, caller_of
from dispatcher.bridge.gate.grants import AsOf, nameless
from dispatcher.bridge.headers import FORGET
from dispatcher.bridge.surfaces import NATIVE

SESSION_S = 12 * 3600.0
"""A working day."""


class SessionRequest(BaseModel):
    """What `POST /api/v1/session` takes."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    key: Annotated[str, Field(max_length=200, description="a key: `dr_…`", json_schema_extra={"format": "password"})]


class SessionOpened(TypedDict):
    """Until when the cookie is good."""

    expires_unix_s: float


class CallerTold(TypedDict):
    """Who asks, and what they may do; `key` is there where one was shown, as the ledger had it at `as_of_unix_s`."""

    keys: Keys
    tenant: str
    user: str
    scopes: list[Scope]
    key: NotRequired[Grant]
    as_of_unix_s: NotRequired[float]


def session_routes(gate: Gate, bus: Bus, subjects: Subjects, clock: Clock) -> APIRouter:
    """The routes of `/api/v1/session`."""
    router = APIRouter(prefix="/api/v1/session", tags=["session"])

    @router.post(
        "",
        summary="Exchange a key for a cookie",
        **described(SessionRequest, surface=NATIVE, statuses=ASKS - {404}, success=201, schema=SessionOpened),
    )
    async def login(http: Request) -> Response:
        if gate.keys in {Keys.OFF, Keys.NONE}:
            raise NotAllowed("this bridge asks for no keys, so there is nothing to log in to")
        _require_page(http, gate.site)
        try:
            asked = SessionRequest.model_validate(codec.decode_request(await json_body(http)))
        except ValidationError as error:
            raise codec.refusal(error) from None  # its cause holds the key
        presented = parse(asked.key.strip())
        # A wrong one is known by now, or found by reading: nobody writes for strangers.
        gate.count(http, await gate.grants.grant(presented), presented)
        with nameless():
            opened = await key_client.login(bus, subjects, presented, ttl_s=SESSION_S)
        body = codec.encode({"expires_unix_s": opened.expires_unix_s})
        cookie = _cookie(gate.site, opened.secret, max(0, int(opened.expires_unix_s - clock.unix_s())))
        return Response(body, 201, {"set-cookie": cookie}, "application/json")

    @router.get(
        "",
        summary="Who is asking, and what they may do",
        dependencies=gate.depends(),
        **described(surface=NATIVE, schema=CallerTold),
    )
    async def who(http: Request) -> Response:
        caller = caller_of(http)
        told = _described(gate, caller, await gate.now(caller))
        return Response(codec.encode(told), media_type="application/json")

    @router.delete("", summary="Forget the cookie", **described(surface=NATIVE, success=204))
    async def logout(http: Request) -> Response:
        found = shown(http.headers, gate.site)
        if found is None or not found.presented.session:
            raise Unauthorized("there is no session here to end")
        if found.by_browser:
            require_own_page(http.method, http.headers, gate.site)
        await gate.grants.end(found.presented)
        return Response(status_code=204, headers={"set-cookie": _cookie(gate.site, "", 0), **FORGET})

    return router


def _described(gate: Gate, caller: Caller, now: AsOf | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "keys": str(gate.keys),
        "tenant": caller.tenant,
        "user": caller.user,
        "scopes": sorted(caller.scopes),
    }
    if now is not None:
        told |= {"key": codec.plain(now.grant), "as_of_unix_s": now.unix_s}
    return told


def _require_page(http: Request, site: Site) -> None:
    """A page of another site must not log its visitor in as somebody else."""
    if "sec-fetch-site" in http.headers or "origin" in http.headers:
        require_own_page(http.method, http.headers, site)


def _cookie(site: Site, secret: str, lives_s: int) -> str:
    secure = "; Secure" if site.secure else ""
    return f"{site.cookie}={secret}; Path=/; Max-Age={lives_s}; HttpOnly; SameSite=Strict{secure}"
