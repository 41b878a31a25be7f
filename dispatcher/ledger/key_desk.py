"""Answers what the bridge and operators ask about keys over the bus; it knows no SQL."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from common import codec
from common.bus import Bus
from common.conversations import Owner
from common.errors import FleetError
from common.key_client import ASK_S
from common.key_requests import (
    AddKey,
    Adopted,
    ChangeKey,
    CheckKey,
    Issued,
    ListKeys,
    LoginKey,
    ReleaseJob,
    RotateKey,
    WhichKey,
)
from common.keys import Grant, Reservation
from common.logs import get_logger
from common.subjects import Subjects
from dispatcher.ledger import key_changes, keyring
from dispatcher.ledger.answering import Answer, Answering, Spawn
from dispatcher.ledger.database import Database
from dispatcher.ledger.reserving import Reserving
from dispatcher.ledger.talk import adopting

log = get_logger("ledger")

MOST_WAITING = 512
"""A bridge asks for each job; each answer takes a commit."""

ANSWER_S = ASK_S * 0.9
MOST_NOTED = 20_000
LATE = "ask again"


class KeyDesk:
    """The verbs, over a database."""

    def __init__(
        self, bus: Bus, subjects: Subjects, database: Database, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._bus = bus
        self._subjects = subjects
        self._database = database
        self._clock = clock
        self.reserving = Reserving(database, clock)
        self.tally = Answering(bus, most_waiting=MOST_WAITING, answer_s=ANSWER_S, late=LATE)
        self._noted: dict[str, float] = {}
        self._spawn: Spawn | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answer for the life of the context."""
        verbs: Mapping[str, Answer] = {
            "check": self._check,
            "reserve": self._reserve,
            "release": self._release,
            "login": self._login,
            "logout": self._logout,
            "state": self._state,
            "add": self._add,
            "list": self._list,
            "change": self._change,
            "rotate": self._rotate,
            "revoke": self._revoke,
            "refill": self._refill,
            "adopt": self._adopt,
        }
        async with self.tally.open({self._subjects.keys(verb): answer for verb, answer in verbs.items()}) as spawn:
            self._spawn = spawn
            yield

    async def _check(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        asked = codec.build(CheckKey, wire)
        grant = await keyring.check(self._database, asked, self._clock())
        self._note(grant.key)
        return {"grant": codec.plain(grant)}

    async def _reserve(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        return {"reserved": codec.plain(await self.reserving.reserve(codec.build(Reservation, wire)))}

    async def _release(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        return {"released": await self.reserving.release(codec.build(ReleaseJob, wire))}

    async def _login(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        made = await keyring.login(self._database, codec.build(LoginKey, wire), self._clock())
        return {"login": codec.plain(made)}

    async def _logout(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        asked = codec.build(CheckKey, wire)
        if await keyring.logout(self._database, asked):
            await self._tell(asked.key)
        return {}

    async def _state(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"keys": await keyring.count_live(self._database, self._clock())}

    async def _add(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        return await self._issued(key_changes.add(self._database, codec.build(AddKey, wire), self._clock()), "added")

    async def _list(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        query = codec.build(ListKeys, wire)
        found = await key_changes.found(self._database, query, self._clock())
        shown, more = self.tally.fitting([codec.plain(one) for one in found], query.limit)
        return {"listed": {"keys": shown} | ({"next": shown[-1]["key"]} if more and shown else {})}

    async def _change(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        wanted = codec.build(ChangeKey, wire)
        return await self._changed(key_changes.change(self._database, wanted, self._clock()), "changed")

    async def _rotate(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        wanted = codec.build(RotateKey, wire)
        return await self._issued(key_changes.rotate(self._database, wanted, self._clock()), "rotated")

    async def _revoke(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        which = codec.build(WhichKey, wire).which
        return await self._changed(key_changes.revoke(self._database, which, self._clock()), "revoked")

    async def _refill(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        which = codec.build(WhichKey, wire).which
        return await self._changed(key_changes.refill(self._database, which, self._clock()), "refilled")

    async def _adopt(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        grant = await key_changes.living(self._database, codec.build(WhichKey, wire).which, self._clock())
        count = await adopting.adopt(self._database, Owner(tenant=grant.tenant, user=grant.user))
        log.info("key.adopted", key=grant.key, tenant=grant.tenant, conversations=count)
        return {"adopted": codec.plain(Adopted(grant=grant, conversations=count))}

    async def _issued(self, work: Awaitable[Issued], how: str) -> dict[str, Any]:
        issued = await work
        log.info("key.changed", key=issued.grant.key, tenant=issued.grant.tenant, how=how)
        await self._tell(issued.grant.key)
        return {"issued": codec.plain(issued)}

    async def _changed(self, work: Awaitable[Grant], how: str) -> dict[str, Any]:
        grant = await work
        log.info("key.changed", key=grant.key, tenant=grant.tenant, how=how)
        await self._tell(grant.key)
        return {"grant": codec.plain(grant)}

    async def _tell(self, key: str) -> None:
        """Have bridges forget what they know of a key; one that does not hear it forgets by itself after a while."""
        try:
            await self._bus.publish(self._subjects.key_event(key), codec.encode({"key": key}))
        except FleetError as error:
            log.warning("key.untold", key=key, error=error.code)

    def _note(self, key: str) -> None:
        """Have it written that a key was used, once a minute at most, behind the answer."""
        now_unix_s = self._clock()
        if self._spawn is None or 0 <= now_unix_s - self._noted.get(key, 0.0) < keyring.NOTED_S:
            return
        if len(self._noted) >= MOST_NOTED:
            self._noted.clear()
        self._noted[key] = now_unix_s
        self._spawn(self._write_used(key, now_unix_s))

    async def _write_used(self, key: str, now_unix_s: float) -> None:
        try:
            async with self._database.writing() as connection:
                await keyring.note_used(connection, key, now_unix_s)
        except FleetError as error:
            log.warning("key.use_unwritten", key=key, error=error.code)
