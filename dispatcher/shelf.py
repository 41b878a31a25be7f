"""Finished answers that outlive their dispatcher: a bucket of the NATS server, for producers that said they may come back.

An answer is put there before its last frame is sent, on the same connection, and nobody waits for the server's word: whoever has
heard the end finds the answer here, and a store that is slow, full or gone costs a job nothing. It knows neither jobs nor who
waits for them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Strict

from common import codec, frames
from common.bus import Bus, Delivery
from common.bus.jetstream import JetStream
from common.bus.mux import ReplyMux
from common.bus.streams import StreamSpec, bucket_spec
from common.errors import (
    BadRequest,
    BusDisconnected,
    BusTimeout,
    FleetError,
    GarbledReply,
    StreamConflict,
    StreamsUnavailable,
)
from common.logs import get_logger
from common.messages import Document
from dispatcher.delivery.answer import Ended
from dispatcher.delivery.kept import Key
from dispatcher.delivery.listener import REPLY_ROUTE, reply_to_wire
from dispatcher.settings import ReplaySection

log = get_logger("shelf")

LOOK_S = 0.25
"""What a job waits at most to hear whether it was answered before; the server says so within a millisecond. One look that takes
longer is the last until the store has answered otherwise."""

AGAIN_S = 1.0
"""After a failure of the store it is declared anew so often."""

UNAVAILABLE_S = 30.0
"""And where the server keeps no streams: it may be another one after the next reconnect, which is not waited for."""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer with the name of its question."""

    fingerprint: str
    ended: Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wire:
    """What lies in the bucket, as MessagePack. The account stands in the last frame."""

    fingerprint: str
    text: Annotated[str, Strict()]
    end: Document
    note: Document = field(default_factory=dict)


class Shelf:
    """The answers of all dispatchers. Open one with `shelf`."""

    def __init__(self, streams: JetStream, name: str, settings: ReplaySection) -> None:
        self._streams = streams
        self._bucket = streams.bucket(name)
        self._spec = _spec(name, settings)
        self._enabled = settings.store_mb > 0
        self.most_bytes = settings.store_answer_kb << 10
        """Of one answer; a larger one is not sent."""
        # Until the first failure it is taken to be there: after a restart those who come back come at once.
        self._off = not self._enabled
        self._told = ""
        self._stirred = asyncio.Event()
        self.reply: Callable[[int], str] = lambda _: ""
        self.stands = asyncio.Event()
        """Set while the server stores answers."""

    @property
    def open(self) -> bool:
        """True when a look may be worth its while."""
        return not self._off

    async def put(self, key: Key, fingerprint: str, ended: Ended) -> None:
        """Send an answer to the store, unless it is too large, and don't wait for it; never raises for what the store does.

        The first answer under an id stays, if there ever are two: who comes back is told the same each time.
        """
        if self._off:
            return
        try:
            value = write(fingerprint, ended)
            if len(value) > self.most_bytes:
                log.info(
                    "shelf.too_large", tenant=key[0], job=key[1], size_bytes=len(value), most_bytes=self.most_bytes
                )
                return
            await self._bucket.offer(_name(key), value, reply=self.reply(1))
        except FleetError as error:
            self._fail(error)  # too large for one message, or no bus: then its last frame is not heard either

    def hear(self, _: int, delivery: Delivery) -> None:
        """Take the server's word on an answer."""
        try:
            self._bucket.offered(delivery)
        except StreamConflict:
            return
        except FleetError as error:
            self._fail(error)
        else:
            self._told = ""

    async def get(self, key: Key) -> Found | None:
        """Look for an answer, for a quarter of a second at most; never raises for what the store does."""
        if self._off:
            return None
        try:
            async with asyncio.timeout(LOOK_S):
                entry = await self._bucket.get(_name(key))
            return None if entry is None else read(entry.value)
        except TimeoutError:
            self._fail(BusTimeout(f"the store of answers did not say within {LOOK_S:g} s whether it has one"))
        except (BadRequest, GarbledReply) as error:
            log.warning("shelf.garbled", tenant=key[0], job=key[1], error=error.message)
        except FleetError as error:
            self._fail(error)
        return None

    async def keep(self, bus: Bus) -> None:
        """Have the bucket be there, over every failure of the server; for ever."""
        bus.on_reconnect(self._stirred.set)
        while True:
            self._stirred.clear()
            wait_s = await self._declare() if self._enabled else math.inf
            try:
                async with asyncio.timeout(None if wait_s == math.inf else wait_s):
                    await self._stirred.wait()
            except TimeoutError:
                pass  # try again

    async def _declare(self) -> float:
        """Give the seconds until it is to be tried again: for ever, if it worked."""
        try:
            await self._streams.declare(self._spec)
        except FleetError as error:
            self._off = self._off or not isinstance(error, BusDisconnected)
            self._fail(error)
            return UNAVAILABLE_S if isinstance(error, StreamsUnavailable) else AGAIN_S
        self._off, self._told = False, ""
        self.stands.set()
        return math.inf

    def _fail(self, error: FleetError) -> None:
        """Say once what is wrong with the store; one that is silent or gone is not asked again before it is declared anew."""
        if isinstance(error, StreamsUnavailable | BusTimeout) and not self._off:
            self._off = True
            self._stirred.set()
        if self._off:
            self.stands.clear()
        if self._told != error.code:
            self._told = error.code
            # A server without JetStream is a way to run, and no fault.
            say = log.info if isinstance(error, StreamsUnavailable) else log.warning
            say("shelf.failed", error=error.code, message=error.message)


def write(fingerprint: str, ended: Ended) -> bytes:
    """Write an answer. Raises `BadRequest` for a text that can't be written."""
    end = frames.to_wire(replace(ended.end, route=ended.route))
    note = frames.to_wire(ended.note) if ended.note is not None else {}
    return codec.encode_request({"fingerprint": fingerprint, "text": ended.text, "end": end, "note": note})


def read(value: bytes) -> Found:
    """Read an answer that can be told in every way. Raises `BadRequest`, `GarbledReply`."""
    wire = codec.build(_Wire, codec.decode(value))
    end = frames.from_wire(wire.end)
    note = frames.from_wire(wire.note) if wire.note else None
    if not isinstance(end, frames.End) or not isinstance(note, frames.RouteNote | None):
        raise GarbledReply("what lies in the store of answers is none")
    ended = Ended(text=wire.text, end=replace(end, route=None), route=end.route or {}, note=note)
    _require_tellable(ended)
    return Found(wire.fingerprint, ended)


def _require_tellable(ended: Ended) -> None:
    """Raise `GarbledReply` for what no producer could be told: found out while it is told, nobody would run the job any more."""
    if not all(isinstance(ended.route.get(name), str) for name in REPLY_ROUTE):
        raise GarbledReply(f"the answer in the store does not say where it comes from ({', '.join(REPLY_ROUTE)})")
    try:
        codec.encode(reply_to_wire("", ended.text, ended.end, ended.route))
    except (TypeError, ValueError) as error:
        raise GarbledReply(f"the answer in the store can't be written as JSON: {error}") from error


def _name(key: Key) -> str:
    """Tenant and job are both subject tokens: no two jobs have one name, and a server's permissions can tell tenants apart."""
    tenant, job = key
    return f"{tenant}.{job}"


def _spec(name: str, settings: ReplaySection) -> StreamSpec:
    """On disk: a restart of the server is no reason to run a job again. The oldest make room, since a store that is full would
    refuse just those answers that somebody may still come back for."""
    bucket = bucket_spec(name, max_age_s=settings.ttl_s, in_memory=False)
    return replace(bucket, max_bytes=settings.store_mb << 20, drop_oldest=True)


@asynccontextmanager
async def shelf(bus: Bus, mux: ReplyMux, name: str, settings: ReplaySection) -> AsyncIterator[Shelf]:
    """Hear what becomes of the answers that are put there, for the life of the context."""
    one = Shelf(JetStream(bus), name, settings)
    with mux.slot(one.hear) as reply:
        one.reply = reply
        yield one
