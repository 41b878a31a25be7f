"""Connections to a `MemoryBroker` that behave like wires in bad weather: they delay, hold back, swallow and repeat.

Each direction of a connection keeps its order, as TCP does, and with it NATS: only messages of different connections overtake
each other. Faults are set by whoever owns the connection; nothing here is drawn by chance.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Generic, TypeVar

from common.bus import Delivery, Handler, Subscription
from common.bus.callbacks import hand_over
from common.bus.memory import Hearer, MemoryBroker, MemoryBus, matches
from common.errors import BusTimeout

T = TypeVar("T")

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Pipe(Generic[T]):
    """One direction of a connection."""

    def __init__(self, deliver: Callable[[T], None]) -> None:
        self.delay_s = 0.0
        self.cut = False
        """What is under way, and what comes, is lost, and nobody is told."""
        self.drop_next = 0
        self.dropped: Callable[[], None] = lambda: None
        """Called when a message was lost because of `drop_next`."""
        self.repeat_next = 0
        self._held = False
        self._deliver = deliver
        self._under_way: deque[tuple[float, T]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] = []

    async def until_empty(self) -> None:
        """Return when nothing is under way."""
        while self._under_way:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def send(self, item: T) -> None:
        """Take one message."""
        if self.cut:
            return
        if self.drop_next:
            self.drop_next -= 1
            self.dropped()
            return
        at_s = asyncio.get_running_loop().time() + self.delay_s
        if self._under_way:
            at_s = max(at_s, self._under_way[-1][0])
        self._under_way.append((at_s, item))
        if self.repeat_next:
            self.repeat_next -= 1
            self._under_way.append((at_s, item))
        if self._timer is None:
            self._pump()

    def hold(self) -> None:
        """Let all wait, as for a process that is stopped."""
        self._held = True

    def release(self) -> None:
        """Let what waits go on, in order."""
        self._held = False
        if self._timer is None:
            self._pump()

    def lose_all(self) -> None:
        """Forget what is under way: the connection is gone."""
        self._under_way.clear()
        self._wake()

    def _pump(self) -> None:
        """Deliver what is due, and come back for the next."""
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._under_way and not self._held:
            at_s, item = self._under_way[0]
            if at_s > loop.time():
                # One timer for all: timers of one and the same moment run in no order.
                self._timer = loop.call_at(at_s, self._pump)
                return
            self._under_way.popleft()
            if not self.cut:
                self._deliver(item)
        if not self._under_way:
            self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class QuickBroker(MemoryBroker):
    """A broker that looks up who hears a subject, rather than asking everybody: a third of a run's time otherwise."""

    def __init__(self, *, rng: random.Random) -> None:
        super().__init__(rng=rng)
        self._exact: dict[str, list[Hearer]] = {}
        self._patterns: dict[_Shape, list[Hearer]] = {}

    def add(self, interest: Hearer) -> None:
        """Hear a newcomer."""
        self._place(interest).append(interest)

    def remove(self, interest: Hearer) -> None:
        """Forget one that leaves."""
        if interest in (place := self._place(interest)):
            place.remove(interest)

    def _place(self, interest: Hearer) -> list[Hearer]:
        if "*" not in interest.subject and ">" not in interest.subject:
            return self._exact.setdefault(interest.subject, [])
        return self._patterns.setdefault(_shape(interest.pattern), [])

    def hearers(self, subject: str) -> list[Hearer]:
        """Give all who hear a subject: of the patterns only those are looked at that may fit."""
        tokens = subject.split(".")
        found = list(self._exact.get(subject, ()))
        for shape in _shapes(*_shape(tokens)):
            found += (one for one in self._patterns.get(shape, ()) if matches(one.pattern, tokens))
        return found


_Shape = tuple[int, str, str]
"""Of a pattern: its number of tokens, 0 for one that ends in `>`; its second and third token, by which subjects differ most. `*`
where it has none."""

_TELLING = 2


def _shape(pattern: list[str]) -> _Shape:
    second, third = pattern[1:3] if len(pattern) > _TELLING else (*pattern, "*", "*")[1:3]
    if pattern[-1] != ">":
        return len(pattern), second, third
    return 0, second if second != ">" else "*", third if third != ">" else "*"


@lru_cache(maxsize=4096)
def _shapes(length: int, second: str, third: str) -> tuple[_Shape, ...]:
    """Give the shapes of all patterns that a subject of this shape may fit."""
    return tuple({(many, two, three): None for many in (length, 0) for two in (second, "*") for three in (third, "*")})


class Wire(MemoryBus):
    """A client of the broker, on a connection with two pipes. `sent` is called with all that its owner publishes, `heard` with
    all that reaches it."""

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        sent: Callable[[Delivery], None] | None = None,
        heard: Callable[[Delivery], None] | None = None,
    ) -> None:
        super().__init__(broker)
        self.up: Pipe[Delivery] = Pipe(broker.route)
        self.down: Pipe[tuple[_Hearing, Delivery]] = Pipe(lambda pair: pair[0].hand(pair[1]))
        self.closed = False
        self._sent = sent
        self._heard = heard

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send; raises `BusDisconnected`."""
        self._require_connection()
        self.say(Delivery(subject, data, reply, MappingProxyType(dict(headers)) if headers else _NO_HEADERS))

    def say(self, delivery: Delivery) -> None:
        """Send without waiting; for peers that are no coroutines."""
        if self._sent is not None:
            self._sent(delivery)
        if not self.closed:  # whoever dies on the way to a word does not say it
            self.up.send(delivery)

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = "", pending: int = 65_536
    ) -> Subscription:
        """Hear `subject` at the far end of the connection."""
        return await self.hear(subject, handler, queue=queue)

    async def hear(self, subject: str, handler: Handler, *, queue: str = "") -> _Hearing:
        """Subscribe; the pipe stands between the broker and the handler."""
        hearing = _Hearing(self, handler, self._heard)
        hearing.inner = await super().subscribe(subject, lambda one: self.down.send((hearing, one)), queue=queue)
        return hearing

    async def flush(self, *, timeout_s: float = 5.0) -> None:
        """Return when the broker has all that was said. Raises `BusTimeout`, `BusDisconnected`."""
        self._require_connection()
        try:
            async with asyncio.timeout(timeout_s):
                await self.up.until_empty()
        except TimeoutError as error:
            raise BusTimeout(f"the wire was not empty within {timeout_s:g} s") from error

    def disconnect(self) -> None:
        """Lose the connection, and what was under way on it."""
        self.up.lose_all()
        self.down.lose_all()
        super().disconnect()

    def close(self) -> None:
        """End for good: what has arrived and was not read yet is lost, too."""
        self.closed = True
        self.up.lose_all()
        self.down.lose_all()
        super().close()


class _Hearing:
    """A subscription at the far end of a pipe."""

    inner: Subscription

    def __init__(self, wire: Wire, handler: Handler, heard: Callable[[Delivery], None] | None) -> None:
        self._wire = wire
        self._handler = handler
        self._heard = heard
        self._open = True

    def hand(self, delivery: Delivery) -> None:
        if self._open and not self._wire.closed:
            if self._heard is not None:
                self._heard(delivery)
            hand_over(self._wire.counters, self._handler, delivery)

    @property
    def refused(self) -> str:
        """Nothing: everybody may hear everything here."""
        return self.inner.refused

    async def unsubscribe(self) -> None:
        """Take no new messages and forget those that wait."""
        self._open = False
        await self.inner.unsubscribe()

    async def drain(self) -> None:
        """Take no new messages; return when those that were under way were handed to the handler."""
        await self.inner.drain()
        await self._wire.down.until_empty()
        self._open = False
