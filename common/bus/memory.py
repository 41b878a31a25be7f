"""The bus inside one process: the twin of `common.bus.nats` for tests and simulations; it knows no wire.

Messages are delivered in order, later, by the event loop, as over a wire. A client can lose its connection on demand,
and the broker does what a real server does: wildcards, queue groups, the answer "nobody listens", the size limit.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Protocol

from common import errors
from common.bus import Delivery, Handler, Subscription
from common.bus.callbacks import Counters, Hook, Hooks, hand_over, log
from common.bus.questions import Questions, require_size

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_NO_RESPONDERS: Mapping[str, str] = MappingProxyType({"Status": "503"})
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def matches(pattern: list[str], subject: list[str]) -> bool:
    """Tell whether a subject's tokens fit a pattern's: `*` stands for one token, a final `>` for one or more."""
    if len(subject) < len(pattern) if pattern[-1] == ">" else len(subject) != len(pattern):
        return False
    for want, have in zip(pattern, subject, strict=False):  # no `all`: half of a simulation's time would go into it
        if want not in (have, "*"):
            return want == ">"
    return True


def _require_subject(subject: str, *, pattern: bool = False) -> None:
    tokens = subject.split(".")
    bad = not subject or any(space in subject for space in " \t\r\n")
    if pattern and not bad:
        bad = "" in tokens or ">" in tokens[:-1] or any(len(token) > 1 and set(token) & {"*", ">"} for token in tokens)
    if bad:
        raise errors.BadRequest(f"{subject!r} is not a subject")


class Hearer(Protocol):
    """Whoever hears a subject at the broker: a client's subscription, or a service of the server itself."""

    @property
    def subject(self) -> str: ...

    @property
    def pattern(self) -> list[str]:
        """The tokens of its subject."""
        ...

    @property
    def queue(self) -> str: ...

    def arrive(self, delivery: Delivery) -> None:
        """Take a message; it returns at once."""
        ...


class MemoryBroker:
    """What all clients of one simulated server share. `rng` picks in queue groups; seed it to replay a run."""

    def __init__(self, *, max_payload: int = (1 << 20) - 4096, rng: random.Random | None = None) -> None:
        self.max_payload = max_payload
        self._rng = rng or random.Random()  # noqa: S311  # load spreading, not a secret
        self._interests: list[Hearer] = []

    def add(self, interest: Hearer) -> None:
        self._interests.append(interest)

    def remove(self, interest: Hearer) -> None:
        if interest in self._interests:
            self._interests.remove(interest)

    def hearers(self, subject: str) -> list[Hearer]:
        """Give all who hear a subject."""
        tokens = subject.split(".")
        return [interest for interest in self._interests if matches(interest.pattern, tokens)]

    def route(self, delivery: Delivery, *, to: str = "") -> None:
        """Hand a message to all who hear its subject, or `to` instead, once per queue group; nobody means a 503 for the asker."""
        hearers = self.hearers(to or delivery.subject)
        groups: dict[str, list[Hearer]] = {}
        for interest in hearers:
            if interest.queue:
                groups.setdefault(f"{interest.subject} {interest.queue}", []).append(interest)
            else:
                interest.arrive(delivery)
        for members in groups.values():
            self._rng.choice(members).arrive(delivery)
        if not hearers and delivery.reply:
            self.route(Delivery(delivery.reply, b"", "", _NO_RESPONDERS))


class _Interest:
    """One subscription: its waiting room, emptied in order by the loop."""

    def __init__(self, bus: MemoryBus, subject: str, handler: Handler, queue: str, pending: int) -> None:
        self.subject = subject
        self.pattern = subject.split(".")
        self.queue = queue
        self._bus = bus
        self._handler = handler
        self._pending = pending
        self._waiting: deque[Delivery] = deque()
        self._scheduled = False

    @property
    def refused(self) -> str:
        """Nothing: everybody may hear everything here."""
        return ""

    def arrive(self, delivery: Delivery) -> None:
        """Take a message into the waiting room, or drop it when that is full."""
        if len(self._waiting) >= self._pending:
            self._bus.counters.dropped += 1
            log.warning("bus.dropped", subject=self.subject)
            return
        self._waiting.append(delivery)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._hand_over_all)

    def _hand_over_all(self) -> None:
        self._scheduled = False
        while self._waiting:
            hand_over(self._bus.counters, self._handler, self._waiting.popleft())

    async def unsubscribe(self) -> None:
        """Take no new messages and forget those that wait."""
        self._bus.forget(self)
        self._waiting.clear()

    async def drain(self) -> None:
        """Take no new messages; return when those that had arrived were handed to the handler."""
        self._bus.forget(self)
        self._hand_over_all()


class MemoryBus:
    """`Bus` over a `MemoryBroker`. Open one with `connect_memory`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.counters = Counters()
        self._broker = broker
        self._connected = True
        self._lost = Hooks("disconnect", self.counters)
        self._found = Hooks("reconnect", self.counters)
        self._questions = Questions("_INBOX")
        self._interests: list[_Interest] = []
        self._add(_Interest(self, self._questions.pattern, self._questions.on_answer, "", 1 << 20))

    @property
    def connected(self) -> bool:
        return self._connected

    @property
    def max_payload(self) -> int:
        """The most bytes that `publish` takes, headers included."""
        return self._broker.max_payload

    @property
    def pending_bytes(self) -> int:
        """Nothing: what is published here has arrived."""
        return 0

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send; the loop delivers. Raises as the real one: `BusDisconnected`, `PayloadTooLarge`, `BadRequest`."""
        self._require_connection()
        _require_subject(subject)
        require_size(subject, data, headers, self.max_payload)
        for name in headers or ():
            if not _HEADER_NAME.fullmatch(name):
                raise errors.BadRequest(f"{name!r} is not a header name")
        self._broker.route(Delivery(subject, data, reply, MappingProxyType(dict(headers)) if headers else _NO_HEADERS))

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = "", pending: int = 65_536
    ) -> Subscription:
        """Hear `subject` until the bus closes, across `disconnect` and `reconnect`."""
        self._require_connection()
        _require_subject(subject, pattern=True)
        interest = _Interest(self, subject, handler, queue, pending)
        self._add(interest)
        return interest

    def _add(self, interest: _Interest) -> None:
        self._interests.append(interest)
        self._broker.add(interest)

    def forget(self, interest: _Interest) -> None:
        """Take an interest off the broker, for good."""
        self._broker.remove(interest)
        if interest in self._interests:
            self._interests.remove(interest)

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """Ask for one reply. Raises `NoResponders`, `BusTimeout`, and `BusDisconnected` when the connection breaks."""
        return await self._questions.ask(self.publish, subject, data, timeout_s, headers)

    async def flush(self, *, timeout_s: float = 5.0) -> None:
        """Give the loop one turn; the broker has routed all that was published already."""
        del timeout_s
        self._require_connection()
        await asyncio.sleep(0)

    def new_inbox(self) -> str:
        """Give a reply subject that nobody else hears."""
        return self._questions.new_inbox()

    def on_disconnect(self, hook: Hook) -> Hook:
        """Have `hook` called by `disconnect`; gives what takes it away again."""
        return self._lost.add(hook)

    def on_reconnect(self, hook: Hook) -> None:
        """Have `hook` called by `reconnect`."""
        self._found.add(hook)

    def disconnect(self) -> None:
        """Lose the connection, as when a cable is pulled: requests fail, and what is published meanwhile is missed."""
        if not self._connected:
            return
        self._connected = False
        for interest in self._interests:
            self._broker.remove(interest)
        self._questions.abandon()
        self._lost.run()

    def reconnect(self) -> None:
        """Come back, with all subscriptions."""
        if self._connected:
            return
        self._connected = True
        for interest in self._interests:
            self._broker.add(interest)
        self.counters.reconnects += 1
        self._found.run()

    def close(self) -> None:
        """End for good; nobody hears of it, since whoever closes knows."""
        self._connected = False
        for interest in tuple(self._interests):
            self.forget(interest)
        self._questions.abandon()

    def _require_connection(self) -> None:
        if not self._connected:
            raise errors.BusDisconnected("there is no connection to the memory broker")


@asynccontextmanager
async def connect_memory(broker: MemoryBroker) -> AsyncIterator[MemoryBus]:
    """Open a client of `broker` for the life of the context."""
    bus = MemoryBus(broker)
    try:
        yield bus
    finally:
        bus.close()
