"""Reading from a consumer of a stream by pull requests; who works on what comes is not known here."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common import codec
from common.bus import REFUSED, Bus, Delivery
from common.bus.jetstream.protocol import API, NS, ack_tokens
from common.bus.streams import Kept
from common.errors import BusDisconnected, BusTimeout, FleetError, NotPermitted, StreamError, StreamsUnavailable

_GRACE_S = 1.0
"""What the server gets beyond the time of a fetch to say that it is over."""

_NOTHING_THERE = frozenset({None, "404", "408"})
"""How the server ends a fetch that found nothing, at once or after its time; None when enough has come."""

_LOST = "lost"


class PulledMessage:
    """`Pulled`; its reply subject is where the server hears what becomes of it, and tells what is known of it."""

    __slots__ = ("_bus", "_reply", "_timeout_s", "deliveries", "kept")

    def __init__(self, bus: Bus, delivery: Delivery, timeout_s: float) -> None:
        self._bus = bus
        self._reply = delivery.reply
        self._timeout_s = timeout_s
        deliveries, seq, _, stored_ns, _ = ack_tokens(delivery.reply)
        self.deliveries = deliveries
        self.kept = Kept(
            subject=delivery.subject,
            data=delivery.data,
            seq=seq,
            # In microseconds, as it is read by those that ask for it: jobs without an id are named by it, and have one name.
            stored_unix_s=stored_ns // 1000 / 1_000_000,
            headers=delivery.headers,
        )

    async def ack(self, *, sync: bool = False) -> None:
        """It is done."""
        await self._say(b"+ACK", sync=sync)

    async def nak(self, delay_s: float = 0.0) -> None:
        """Let it be delivered again."""
        body = b"-NAK" if delay_s <= 0 else b"-NAK " + codec.encode({"delay": int(delay_s * NS)})
        await self._say(body, sync=False)

    async def term(self) -> None:
        """Let it never be delivered again."""
        await self._say(b"+TERM", sync=True)

    async def in_progress(self) -> None:
        """Say that it is still being worked on."""
        await self._say(b"+WPI", sync=False)

    async def _say(self, word: bytes, *, sync: bool) -> None:
        if sync:
            await self._bus.request(self._reply, word, timeout_s=self._timeout_s)
        else:
            await self._bus.publish(self._reply, word)


class JetStreamPuller:
    """`Puller`: one subscription for all of its requests."""

    def __init__(self, bus: Bus, stream: str, consumer: str, root: str, timeout_s: float) -> None:
        self._bus = bus
        self._subject = f"{API}.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._root = root
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._came: deque[PulledMessage] = deque()
        self._current = ""
        self._over: str | None = None
        self._stirred = asyncio.Event()

    def hear(self, delivery: Delivery) -> None:
        """Take in a message, or what the server says of the request that it belongs to."""
        if delivery.reply.startswith("$JS.ACK."):
            self._came.append(PulledMessage(self._bus, delivery, self._timeout_s))
        elif delivery.subject == self._current:
            self._over = delivery.headers.get("Status", "500")
        self._stirred.set()

    def lost(self) -> None:
        """The connection is gone, and with it the request: whoever waits has nothing to wait for."""
        self._over = self._over or _LOST
        self._stirred.set()

    async def fetch(self, batch: int, *, wait_s: float = 0.0) -> list[PulledMessage]:
        """Give what is there, or the first that come."""
        if not self._came:
            await self._ask(batch, wait_s)
            await self._until(batch if wait_s <= 0 else 1, max(wait_s, self._timeout_s) + _GRACE_S)
        # What follows in the same burst is in the same read of the socket, and so here already.
        found = list(self._came)
        self._came.clear()
        return found

    def leftovers(self) -> list[PulledMessage]:
        """Give what came and nobody fetched: it is handed back, so that another reader has it at once."""
        found = list(self._came)
        self._came.clear()
        return found

    async def _ask(self, batch: int, wait_s: float) -> None:
        self._current, self._over = f"{self._root}.{next(self._numbers)}", None
        want = {"batch": batch, "expires": int(wait_s * NS)} if wait_s > 0 else {"batch": batch, "no_wait": True}
        await self._bus.publish(self._subject, codec.encode(want), reply=self._current)

    async def _until(self, enough: int, limit_s: float) -> None:
        """Return when enough has come, or no more will."""
        try:
            async with asyncio.timeout(limit_s):
                while len(self._came) < enough and self._over is None:
                    self._stirred.clear()
                    await self._stirred.wait()
        except TimeoutError as error:
            if not self._came:
                raise BusTimeout(f"{self._subject} did not answer within {limit_s:g} s") from error
        if not self._came and self._over not in _NOTHING_THERE:
            raise _fault(self._over, self._subject)


@asynccontextmanager
async def pulling(bus: Bus, stream: str, consumer: str, timeout_s: float) -> AsyncIterator[JetStreamPuller]:
    """Open a reader; what it got and nobody fetched is handed back at the end."""
    root = bus.new_inbox()
    puller = JetStreamPuller(bus, stream, consumer, root, timeout_s)
    subscription = await bus.subscribe(f"{root}.*", puller.hear)
    forget = bus.on_disconnect(puller.lost)
    try:
        yield puller
    finally:
        forget()
        await subscription.drain()
        try:
            for pulled in puller.leftovers():
                await pulled.nak()
        except FleetError:
            pass  # there is no connection: it comes again by itself


def _fault(status: str | None, subject: str) -> FleetError:
    if status == _LOST:
        return BusDisconnected(f"the connection was lost while waiting on {subject!r}")
    if status == REFUSED:
        return NotPermitted(f"this NATS user may not read by {subject!r}: see the log")
    if status == "503":
        return StreamsUnavailable(f"{subject!r} is not there: the consumer or its stream is gone")
    return StreamError(f"{subject!r} was refused with status {status}")
