"""The gate: every request is somebody's, and allowed, before a route sees it; it knows no API."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Request

from common import key_client
from common.bus import Bus
from common.clock import Clock
from common.errors import FleetError, LedgerUnavailable, NotAllowed, QuotaSpent, RequestError, Stopping, Unauthorized
from common.handover import Handover
from common.keys import Budget, Grant, Presented, Reservation, Reserved, Scope, Unit
from common.ledger import WAY_OUT
from common.logs import get_logger
from common.messages import ChatRequest
from common.subjects import Subjects
from dispatcher.bridge.callers import Caller, granted
from dispatcher.bridge.gate.credentials import HERE, Site, require_own_page, shown
from dispatcher.bridge.gate.grants import AsOf, Grants
from dispatcher.bridge.gate.limiter import Limiter, Standing
from dispatcher.bridge.gate.recalls import Recalls
from dispatcher.bridge.gate.worth import Worth, has_free, worth
from dispatcher.fleet import Fleet

log = get_logger("gate")

MAKE_ONE = "`drover keys add NAME` makes one"


class Keys(StrEnum):
    """Whether the bridge asks for keys."""

    OFF = "off"
    NEEDED = "needed"
    UNKNOWN = "unknown"  # only the ledger knows whether there are any, and none has answered yet
    NONE = "none"  # there are none, and only this machine reaches the bridge


@dataclass(slots=True)
class Place:
    """A job that was let in. Once `handover` says that a dispatcher may have it, only a record tells what it took."""

    request: ChatRequest
    handover: Handover = field(default_factory=Handover)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the gate stands: `off` lets everybody in; else `always` a key is needed, or else as soon as there is one.

    `tenant` is whom those count for who have none, `site` where browsers come from.
    """

    tenant: str
    site: Site = HERE
    off: bool = False
    always: bool = True


class Need:
    """What a gated route depends on; `scope` is None where any key will do."""

    def __init__(self, gate: Gate, scope: Scope | None) -> None:
        self._gate = gate
        self.scope = scope

    async def __call__(self, http: Request) -> None:
        await self._gate.let_in(http, self.scope)


class Asks:
    """What a route depends on besides that gives the fleet work: of these alone a key has so many a minute."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def __call__(self, http: Request) -> None:
        self._gate.count_asked(caller_of(http))


class Gate:
    """Knows who asks, and lets in who may. `fleet` gives it as it is now."""

    def __init__(self, rules: Rules, bus: Bus, subjects: Subjects, clock: Clock, fleet: Callable[[], Fleet]) -> None:
        self._rules = rules
        self._bus = bus
        self._subjects = subjects
        self._clock = clock
        self._fleet = fleet
        self._nobody = Caller(tenant=rules.tenant)
        self._limiter = Limiter()
        self.grants = Grants(bus, subjects, clock)
        self.recalls = Recalls(self.grants)

    @property
    def site(self) -> Site:
        """Where the bridge's own pages are."""
        return self._rules.site

    @property
    def keys(self) -> Keys:
        """Whether a request needs a key now."""
        if self._rules.off:
            return Keys.OFF
        if self._rules.always or self.grants.in_use:
            return Keys.NEEDED
        return Keys.UNKNOWN if self.grants.in_use is None else Keys.NONE

    def router(self, scope: Scope, **options: Any) -> APIRouter:
        """Make a router whose routes all need `scope`."""
        return APIRouter(dependencies=self.depends(scope), **options)

    def depends(self, scope: Scope | None = None) -> list[Any]:
        """Give what a single route depends on that needs `scope`, as `dependencies`; None lets in every key."""
        return [Depends(Need(self, scope))]

    def asks(self) -> list[Any]:
        """Give what a gated route depends on besides where a request gives the fleet work, as `dependencies`. What only reads is
        none, nor is a question that a dispatcher judges and no device answers: who looks what is left must not use it up."""
        return [Depends(Asks(self))]

    async def let_in(self, http: Request, scope: Scope | None) -> None:
        """Find out who asks, and leave it for the route. Raises `Unauthorized`, `NotAllowed` and `TooMany`."""
        caller = await self.identified(http)
        http.state.caller = caller
        if scope is not None and not caller.may(scope):
            raise NotAllowed(
                f"this key may not do that: it lacks the scope {scope}; `drover keys change --scope …` sets its scopes"
            )
        if caller.grant is not None:
            self.count(http, caller.grant, caller.shown)

    def count(self, http: Request, grant: Grant, presented: Presented | None) -> None:
        """Count that a key comes, whatever for. Raises `TooMany`."""
        asked_s = None if presented is None else self.grants.asked_s(presented)
        # Read by the middleware that writes headers, also onto what is refused from here on.
        http.state.standing = partial(self._standing, grant, -math.inf if asked_s is None else asked_s)
        self._limiter.come(grant, self._clock.monotonic())

    def count_asked(self, caller: Caller) -> None:
        """Count a request that gives the fleet work, before its body is read. Raises `TooMany`."""
        if caller.grant is not None:
            self._limiter.ask(caller.grant, self._clock.monotonic())

    def _standing(self, grant: Grant, at_s: float) -> dict[str, Standing]:
        """Say how a key stands at this moment, by what is counted; `at_s` is when the ledger was asked for the grant."""
        now_s = self._clock.monotonic()
        found = {
            "requests": self._limiter.requests(grant, now_s),
            "tokens": self._limiter.tokens(grant, at_s, now_s, self._clock.unix_s()),
        }
        return {what: standing for what, standing in found.items() if standing is not None}

    async def identified(self, http: Request) -> Caller:
        """Find out who asks, without counting it. Raises `Unauthorized`, `NotAllowed` and `LedgerUnavailable`."""
        await self.look()
        if self.keys in {Keys.OFF, Keys.NONE}:
            return self._nobody  # what clients send that must send something ("unused") is no key here
        found = shown(http.headers, self.site)
        if found is None:
            raise Unauthorized(f"a key is needed: send  Authorization: Bearer dr_…  ({MAKE_ONE})")
        if found.by_browser:
            require_own_page(http.method, http.headers, self.site)
        return granted(await self.grants.grant(found.presented), found.presented)

    async def look(self) -> None:
        """Find out whether there are keys, if nobody knows yet. Raises `LedgerUnavailable`: a door that can't know stays shut."""
        if self.keys is not Keys.UNKNOWN:
            return
        try:
            await self.grants.find_out()
        except FleetError as error:
            raise LedgerUnavailable(
                f"nobody can say yet whether this bridge has keys, since no ledger answers: {WAY_OUT}; or have none with "
                "DROVER_HTTP_KEYS=off",
                retry_after_s=1.0,
            ) from error

    async def now(self, caller: Caller) -> AsOf | None:
        """Give what the caller's key has left now, as the ledger says it; None for who has none. Raises `Unauthorized`, and
        `LedgerUnavailable` where nobody can say how it was, either."""
        return None if caller.shown is None else await self.grants.now(caller.shown)

    async def changed(self, caller: Caller) -> FleetError | None:
        """Say why a caller may not go on as it was let in: its key is gone, its time is over, or it is for something else now. None
        where it may, and where no ledger can say. For what lasts for hours: to be asked every second it costs nothing."""
        if caller.grant is None or caller.shown is None:
            return Unauthorized(f"a key is needed from now on ({MAKE_ONE})") if self.keys is Keys.NEEDED else None
        try:
            grant = await self.grants.grant(caller.shown)
        except Unauthorized as error:
            return error
        except FleetError:
            return None
        same = _extent(grant) == _extent(caller.grant)
        return None if same else Stopping("what this key may do has changed: come again", retry_after_s=0.0)

    def running(self, caller: Caller) -> AbstractContextManager[None]:
        """Count a job among those that its key has at once, for as long as the context lasts: from before anything is done for it.
        Entering raises `TooMany`."""
        return nullcontext() if caller.grant is None else self._limiter.running(caller.grant)

    def following(self, caller: Caller) -> AbstractContextManager[None]:
        """Count a stream of a job's events among those that its key has at once, for as long as the context lasts. Entering raises
        `TooMany`."""
        return nullcontext() if caller.grant is None else self._limiter.following(caller.grant)

    @asynccontextmanager
    async def job(self, caller: Caller, chat: ChatRequest) -> AsyncIterator[Place]:
        """Let a job in; the context is that of its way to the bus, of a durable one that of its submission. What it may use is set
        aside until its record says what it took. At the end it is given back where no dispatcher can have the job, and nobody else
        is there under its id: see `Reservation`.

        Raises `QuotaSpent` where a budget has not that much left, and `LedgerUnavailable` where that can't be asked.
        """
        grant = caller.grant
        if grant is None:
            yield Place(chat)
            return
        async with AsyncExitStack() as held:
            place = Place(_confined(chat, grant))
            if grant.budgets:
                await held.enter_async_context(self._reserved(place, grant))
            yield place

    @asynccontextmanager
    async def _reserved(self, place: Place, grant: Grant) -> AsyncIterator[None]:
        wanted, reserved = await self._reserve(worth(place.request, grant, self._fleet()), grant)
        place.request = wanted.within(reserved.tokens, reserved.micro_usd)
        try:
            yield
        finally:
            if reserved.anew and not place.handover.begun:
                await self._release(wanted.reservation)

    async def _reserve(self, wanted: Worth, grant: Grant) -> tuple[Worth, Reserved]:
        """Set aside what a job may use, or, where the money is spent, what it may use without any."""
        try:
            return wanted, await self._set_aside(wanted.reservation, grant)
        except QuotaSpent as error:
            spent = wanted.paid and error.details.get("unit") == Unit.MONEY
            if not (spent and has_free(wanted.request, self._fleet())):
                raise
            wanted = wanted.unpaid()
            return wanted, await self._set_aside(wanted.reservation, grant)

    async def _set_aside(self, wanted: Reservation, grant: Grant) -> Reserved:
        """Ask the ledger, and note what it says of the key's budgets. Who gives up waiting does not know whether it came through,
        and takes it back: what is somebody else's stays. So does who is told of a fault, as a commit may have come through."""
        asked_s = self._clock.monotonic()
        try:
            reserved = await key_client.reserve(self._bus, self._subjects, wanted)
        except QuotaSpent as error:
            self._limiter.note(grant.key, _spent(grant, error), asked_s)
            raise
        except RequestError:
            raise  # refused, so there is nothing
        except (asyncio.CancelledError, FleetError):
            await self._release(wanted)
            raise
        self._limiter.note(grant.key, reserved.budgets, asked_s)
        return reserved

    async def _release(self, made: Reservation) -> None:
        try:
            await key_client.release(self._bus, self._subjects, made)
        except FleetError as error:
            log.warning("gate.unreleased", key=made.key, job=made.job, error=error.code)


def _extent(grant: Grant) -> tuple[object, ...]:
    """Give what a key may do and see."""
    return (grant.tenant, grant.user, frozenset(grant.scopes), grant.models, grant.devices)


def _spent(grant: Grant, error: QuotaSpent) -> Iterator[Budget]:
    """Give the budget that a refusal is about, as it says that it is."""
    told = error.details
    for one in grant.budgets:
        if (one.unit, one.period, one.limit) == (told.get("unit"), told.get("period"), told.get("limit")):
            yield replace(one, spent=int(told.get("spent") or 0), reserved=int(told.get("reserved") or 0))


def confined(caller: Caller, chat: ChatRequest) -> ChatRequest:
    """Write into a request what its caller may use: so it goes wherever a request leaves the bridge without being run by `job`."""
    return chat if caller.grant is None else _confined(chat, caller.grant)


def _confined(chat: ChatRequest, grant: Grant) -> ChatRequest:
    """Write into a request what its key is for. Where that says nothing the request's own word stands, which comes over no API."""
    return replace(
        chat,
        allow_models=grant.models or chat.allow_models,
        allow_devices=grant.devices or chat.allow_devices,
    )


def caller_of(http: Request) -> Caller:
    """Give the caller that the gate has let in."""
    caller: Caller = http.state.caller
    return caller
