"""Keys over HTTP, for administrators: made, changed and ended by the ledger, which alone knows more of a secret than its digest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from annotated_types import Ge, Le
from fastapi import APIRouter, Path, Request
from pydantic import ConfigDict, RootModel
from starlette.responses import Response

from common import codec, key_client
from common.errors import NotPermitted
from common.key_requests import LONGEST_OVERLAP_S, MOST_LISTED, AddKey, ChangeKey, Issued, ListKeys, Name, RotateKey
from common.keys import MOST_NAME_CHARS, Grant, Scope
from common.messages import Number
from dispatcher.bridge.bodies import answered, json_body
from dispatcher.bridge.describing import ASKS, GUARDED, described
from dispatcher.bridge.native.replies import Json, limit_of, parameter, queried
from dispatcher.bridge.native.shapes import KeyIssued, KeyPage
from dispatcher.bridge.reading import read_as
from dispatcher.bridge.surfaces import NATIVE
from dispatcher.bridge.wiring import Bridge

NEW_KEY = '{"name":"anna","scopes":["chat"]}'
CHANGED = '{"requests_per_minute":60}'
FOUND = GUARDED | {404}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """Without `which`, which stands in the path."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    overlap_s: Annotated[Number, Ge(0), Le(LONGEST_OVERLAP_S)] = 0.0


class NewKey(RootModel[AddKey]):
    """What a new key is for."""


class ChangedKey(RootModel[ChangeKey]):
    """What changes of a key; `which` may be left out. What is absent stays, and what is in `lift` is taken away."""


class RotatedKey(RootModel[_Change]):
    """How long the old secret lives on."""


Which = Annotated[str, Path(description="a key's id, or its name where only one that lives has it")]


def key_routes(bridge: Bridge) -> APIRouter:
    """The routes below `/api/v1/keys`."""
    router = bridge.gate.router(Scope.ADMIN, prefix="/api/v1/keys", tags=["keys"])
    _add_making(router, bridge)
    _add_changing(router, bridge)
    return router


def _add_making(router: APIRouter, bridge: Bridge) -> None:
    @router.get(
        "",
        summary="Keys, without their secrets",
        **described(
            surface=NATIVE,
            statuses=FOUND,
            schema=KeyPage,
            parameters=(
                parameter("which", "an id or a name", type="string", minLength=1, maxLength=MOST_NAME_CHARS),
                parameter("tenant", "whose", type="string"),
                parameter("all", "also those that are revoked or expired", type="boolean", default=False),
                parameter("after", "the `next` of the page before", type="string", maxLength=64),
                limit_of(MOST_LISTED, MOST_LISTED),
            ),
        ),
    )
    async def listed(http: Request) -> Response:
        async with _permitted():
            found = await key_client.listed(bridge.bus, bridge.subjects, queried(ListKeys, http))
        return answered(codec.plain(found))

    @router.post(
        "",
        summary="Make one; its secret is shown this once",
        **described(
            NewKey,
            surface=NATIVE,
            statuses=ASKS,
            success=201,
            schema=KeyIssued,
            examples={"For a person": NEW_KEY},
        ),
    )
    async def add(http: Request) -> Response:
        asked = read_as(NewKey, await json_body(http), example=NEW_KEY, elsewhere={}).root
        async with _permitted():
            return _issued(await key_client.add(bridge.bus, bridge.subjects, asked), 201)


def _add_changing(router: APIRouter, bridge: Bridge) -> None:
    bus, subjects = bridge.bus, bridge.subjects

    @router.patch(
        "/{which}",
        summary="Change what one is for",
        **described(ChangedKey, surface=NATIVE, statuses=ASKS, schema=Grant, examples={"Once a second": CHANGED}),
    )
    async def change(http: Request, which: Which) -> Response:
        body = codec.decode_request(await json_body(http))
        asked = replace(codec.build(ChangeKey, {**body, "which": which}), which=_name(which))
        async with _permitted():
            return answered(codec.plain(await key_client.change(bus, subjects, asked)))

    @router.post(
        "/{which}/rotate",
        summary="Give one another secret, shown this once",
        **described(
            RotatedKey,
            surface=NATIVE,
            statuses=ASKS,
            schema=KeyIssued,
            examples={"The old one for a day": '{"overlap_s":86400}'},
        ),
    )
    async def rotate(http: Request, which: Which) -> Response:
        asked = read_as(RotatedKey, await json_body(http), example='{"overlap_s":86400}', elsewhere={}).root
        wanted = RotateKey(which=_name(which), overlap_s=asked.overlap_s)
        async with _permitted():
            return _issued(await key_client.rotate(bus, subjects, wanted), 200)

    @router.post(
        "/{which}/refill",
        summary="Forget what one has spent",
        **described(surface=NATIVE, statuses=FOUND, schema=Grant),
    )
    async def refill(which: Which) -> Response:
        async with _permitted():
            return answered(codec.plain(await key_client.refill(bus, subjects, _name(which))))

    @router.delete(
        "/{which}",
        summary="End one, and its sessions, for ever",
        **described(surface=NATIVE, statuses=FOUND, schema=Grant),
    )
    async def revoke(which: Which) -> Response:
        async with _permitted():
            return answered(codec.plain(await key_client.revoke(bus, subjects, _name(which))))


def _name(which: str) -> str:
    return codec.build(_Named, {"which": which}).which


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    which: Name


def _issued(made: Issued, status: int) -> Response:
    body: Json = {"key": codec.plain(made.grant), "secret": made.secret}
    return answered(body, status, {"cache-control": "no-store"})


@asynccontextmanager
async def _permitted() -> AsyncIterator[None]:
    """Say what to do where the bridge's own user of NATS may not do this, as `deploy/nats` has it: strangers talk to the bridge."""
    try:
        yield
    except NotPermitted as error:
        raise NotPermitted(
            "the NATS server does not let the bridge manage keys: use `drover keys` on the machine of the fleet"
        ) from error
