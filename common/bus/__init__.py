"""The message bus as the rest of Drover sees it; vendors live in `common.bus.nats` and `common.bus.memory`.

One contract suite (`tests/contract/test_bus.py`) keeps both honest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

KEPT_HEADER = "Nats-Sequence"
"""In the answer that gives a message of a stream: its number there."""

REFUSED = "403"
"""The status with which a bus answers, in the server's place, what that has refused to pass on."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it arrived. `reply` is empty when nobody waits for an answer."""

    subject: str
    data: bytes
    reply: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def no_responders(self) -> bool:
        """True for the server's own answer to a request that nobody heard (status 503, no data).

        What a stream has kept comes with its number, and may have any header of its own.
        """
        return not self.data and self.headers.get("Status") == "503" and KEPT_HEADER not in self.headers

    @property
    def refused(self) -> str:
        """Why the server did not pass a message on that was to be answered here: its user may not publish there. Said by the bus
        itself, with the status 403; empty for all else."""
        told = not self.data and self.headers.get("Status") == REFUSED and KEPT_HEADER not in self.headers
        return self.headers.get("Description", "the NATS server refused it") if told else ""


Handler = Callable[[Delivery], None]
"""Called on the event loop, in order of arrival, for one subscription at a time.

It must return at once: whoever has more to do starts a task in a group of its own. What it raises is logged and counted
by the bus, and never reaches the connection.
"""


class Subscription(Protocol):
    """A standing interest; ended by whoever began it."""

    @property
    def refused(self) -> str:
        """Why the server does not let this user hear it; empty where it does, as far as is known: after a `flush` it is."""
        ...

    async def drain(self) -> None:
        """Take no new messages; return when those that had arrived were handed to the handler."""
        ...

    async def unsubscribe(self) -> None:
        """Take no new messages and forget those that wait."""
        ...


class Bus(Protocol):
    """Publish, subscribe, request. All methods raise `BusDisconnected` while there is no connection: nothing is
    buffered across a reconnect, because a stale heartbeat or job does more harm than a lost one."""

    @property
    def connected(self) -> bool: ...

    @property
    def max_payload(self) -> int:
        """The most bytes that `publish` takes, headers included; above it, it raises `PayloadTooLarge`."""
        ...

    @property
    def pending_bytes(self) -> int:
        """What was published and has not left yet."""
        ...

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send, and don't wait for the wire."""
        ...

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = "", pending: int = 65_536
    ) -> Subscription:
        """Hear `subject` (wildcards allowed) until the bus closes, across reconnects. Of the members of one `queue`
        each message reaches one. At most `pending` messages wait for the handler; above it the newest are dropped and counted."""
        ...

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """Ask for one reply. Raises `NoResponders` at once when nobody listens, `NotPermitted` when this user may not ask
        there, `BusTimeout` after `timeout_s`."""
        ...

    async def flush(self, *, timeout_s: float = 5.0) -> None:
        """Return when the server has seen all that was published. Raises `BusTimeout`."""
        ...

    def new_inbox(self) -> str:
        """Give a reply subject that nobody else hears, under this connection's private prefix."""
        ...

    def on_disconnect(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Have `hook` called each time the connection is lost; it must return at once. Gives what takes it away again."""
        ...

    def on_reconnect(self, hook: Callable[[], None]) -> None:
        """Have `hook` called each time the connection is back and all subscriptions stand again."""
        ...
