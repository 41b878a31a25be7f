"""A subscription that outlives connections; what its messages mean is not known here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as VendorSubscription

from common import errors
from common.bus import Delivery, Handler
from common.bus.callbacks import Counters, hand_over, log
from common.bus.nats.faults import VENDOR_FAULTS, said

_PENDING_BYTES = 64 << 20
"""What may wait for the handler of one subscription; half the vendor's default, since a Nano has 2 GB."""

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Owner(Protocol):
    """The bus, as its subscriptions need it."""

    counters: Counters

    @property
    def client(self) -> Client | None:
        """The vendor's client while there is a connection."""
        ...

    def forget(self, interest: Interest) -> None:
        """Don't renew this interest on the next link."""
        ...

    async def flush(self) -> None:
        """Return when the server has read all that was published."""
        ...


class Interest:
    """A subscription of ours, which outlives the vendor's: each new link gets one of its own."""

    def __init__(self, bus: Owner, subject: str, handler: Handler, queue: str, pending: int) -> None:
        self._subject = subject
        self._bus = bus
        self._handler = handler
        self._queue = queue
        self._pending = pending
        self._vendor: VendorSubscription | None = None
        self._refused = ""

    @property
    def refused(self) -> str:
        """Why the server does not let this user hear it, as far as it has said so."""
        return self._refused

    def deny(self, why: str) -> None:
        """Take in that the server does not let this user hear it."""
        self._refused = why

    @property
    def subject(self) -> str:
        """What is subscribed to."""
        return self._subject

    def tell(self, delivery: Delivery) -> None:
        """Hand over what the bus itself has to say."""
        hand_over(self._bus.counters, self._handler, delivery)

    async def begin(self, client: Client) -> None:
        """Subscribe on a link; what the server of the last one refused is forgotten."""
        self._refused = ""
        self._vendor = await client.subscribe(
            self._subject,
            queue=self._queue,
            cb=self._deliver,  # the vendor's iterators and `next_msg` are three to six times slower
            pending_msgs_limit=self._pending,
            pending_bytes_limit=_PENDING_BYTES,
        )

    async def _deliver(self, msg: Msg) -> None:
        # Nothing is awaited: the vendor calls this for one message at a time, and a wait would hold back all behind it.
        delivery = Delivery(msg.subject, msg.data, msg.reply, msg.headers or _NO_HEADERS)
        hand_over(self._bus.counters, self._handler, delivery)

    def detach(self) -> None:
        """Forget the vendor's subscription of a lost link, and end its task.

        If the name changes, the task ends as garbage. Removable when an exception in the vendor's `close` no longer
        keeps it from ending the tasks of subscriptions.
        """
        stop = getattr(self._vendor, "_stop_processing", None)
        self._vendor = None
        if stop is not None:
            stop()

    async def unsubscribe(self) -> None:
        """Take no new messages and forget those that wait. Without a connection there is nobody to tell."""
        self._bus.forget(self)
        sub, self._vendor = self._vendor, None
        if sub is not None:
            try:
                await sub.unsubscribe()
            except VENDOR_FAULTS as error:
                log.debug("bus.unsubscribe_failed", subject=self._subject, error=said(error))

    async def drain(self) -> None:
        """Take no new messages; return when those that had arrived were handed to the handler."""
        self._bus.forget(self)
        sub, client = self._vendor, self._bus.client
        if sub is not None and client is not None:
            try:
                await self._drain(sub, client)
            except (errors.BusError, *VENDOR_FAULTS) as error:
                log.debug("bus.drain_failed", subject=self._subject, error=said(error))
        await self.unsubscribe()

    async def _drain(self, sub: VendorSubscription, client: Client) -> None:
        # The vendor's `drain` loses what the server sends between its PONG and reading the UNSUB, since the PING overtakes
        # the UNSUB in the vendor's buffer. Here a flush follows that can't overtake it. Removable when the vendor's
        # PING goes through its buffer.
        say_unsubscribe = getattr(client, "_send_unsubscribe", None)
        if say_unsubscribe is None:
            await sub.drain()  # type: ignore[no-untyped-call]  # the vendor leaves it without types
            return
        await say_unsubscribe(getattr(sub, "_id", 0))
        await self._bus.flush()
        while sub.pending_msgs and client.is_connected:  # noqa: ASYNC110  # one turn of the loop, and no event to wait for
            await asyncio.sleep(0)
