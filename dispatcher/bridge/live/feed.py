"""What all streams are told of, kept while there is one: each subject is heard once, and dispatchers are asked once for all."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from common import codec
from common.bus import Bus, Delivery, Subscription
from common.clock import Clock
from common.errors import BadRequest, FleetError
from common.running import MOST_JOBS, Running, RunningQuery
from common.subjects import Subjects
from dispatcher.bridge import sse
from dispatcher.bridge.backlog import Untaken
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.live.devices import Boards, DeviceBoard
from dispatcher.bridge.live.endings import read_ending
from dispatcher.bridge.live.facts import FleetFacts
from dispatcher.bridge.live.jobs import JobBook
from dispatcher.bridge.live.queue import SILENT_S, Queue, part_of
from dispatcher.bridge.live.writing import Behind, Latest
from dispatcher.bridge.presence import Presence

FLEET, DEVICES, JOBS, QUEUE = "fleet", "devices", "jobs", "queue"

KINDS = (FLEET, DEVICES, JOBS, QUEUE)
"""What may be asked for; `steady` comes always."""

_ASKED = (JOBS, QUEUE)
"""What dispatchers are asked for: one answer tells both."""

TICK_S = 0.5
"""Streams look for news so often, and send no more than one piece each time."""

ASK_S, WORD_S, LIE_S = 1.0, 2.0, 2.0
"""How often dispatchers are asked for their jobs, one of them for its word, and the server for what lies in the durable queue."""

STEADY_S = 5.0
"""How often the bridge tells its clock: by it a page knows what is stale, and that the stream lives."""


class Part(Protocol):
    """What one stream is told of one kind."""

    def news(self) -> bytes:
        """Give what is to be sent now; nothing where nothing is new."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the feed reads."""

    bus: Bus
    subjects: Subjects
    presence: Presence
    untaken: Untaken
    clock: Clock


class Feed:
    """One run of it; `run` is its work."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources
        self._facts = FleetFacts(sources.presence, sources.bus)
        self._boards = Boards(sources.presence)
        self._book = JobBook()
        self._queue = Queue()
        self._wanted = Counter[str]()
        self._look_at_s = self._blind_until_s = 0.0
        self._asked = False
        self.turn = asyncio.Event()
        """Set at the next tick, and another one then."""

    def want(self, caller: Caller, kinds: Iterable[str], number: int) -> None:
        """Count streams that want these kinds: what none does is not asked for, and is begun anew for the next one that does."""
        kinds = tuple(kinds)
        if DEVICES in kinds:
            self._boards.want(caller.part, number)
        if number > 0:
            for kind in kinds:
                if not self._wanted[kind]:
                    self._begin(kind)
        self._wanted.update(dict.fromkeys(kinds, number))

    def _begin(self, kind: str) -> None:
        """Forget what was known of a kind: nobody has heard since how it went on, and it would be told as if it were so now."""
        if kind == FLEET:
            self._facts = FleetFacts(self._from.presence, self._from.bus)
        elif kind == DEVICES:
            self._look_at_s = 0.0
        elif kind == JOBS:
            self._book = JobBook()
            self._asked = False
        if kind in _ASKED and not any(self._wanted[one] for one in _ASKED):
            self._queue = Queue()

    def parts(self, caller: Caller, kinds: Sequence[str]) -> list[Part]:
        """Give what a caller's stream is told."""
        made: dict[str, Callable[[], Part]] = {
            FLEET: lambda: Latest(partial(self._facts.told, caller)),
            DEVICES: lambda: _cards(self._boards.of(caller.part)),
            QUEUE: lambda: Latest(partial(self._queue.told, part_of(caller))),
            JOBS: lambda: Behind(partial(self._book.since, seen=caller.jobs_listed), lambda: self._book.version),
        }
        return [_Steady(self._from.clock), *(make() for kind, make in made.items() if kind in kinds)]

    async def run(self) -> None:
        """Hear, ask and tick, until cancelled; what the bus loses meanwhile is asked for again."""
        asking = self._from.bus.new_inbox()
        async with self._hearing(asking), asyncio.TaskGroup() as tasks:
            tasks.create_task(_again(partial(self._ask, asking), ASK_S))
            tasks.create_task(_again(self._word, WORD_S))
            tasks.create_task(_again(self._lie, LIE_S))
            while True:
                self._tick()
                await asyncio.sleep(TICK_S)

    @asynccontextmanager
    async def _hearing(self, asking: str) -> AsyncIterator[None]:
        bus, subjects = self._from.bus, self._from.subjects
        heard = {asking: self._told, subjects.job_event("*", "*"): self._ended}
        async with AsyncExitStack() as held:
            for subject, handler in heard.items():
                held.push_async_callback(_end, await bus.subscribe(subject, handler, pending=4096))
            yield

    def _told(self, delivery: Delivery) -> None:
        """Take in what a dispatcher has; what can't be read is of another version, and is passed over."""
        if delivery.no_responders or delivery.refused:
            return
        try:
            told = codec.build(Running, codec.decode_request(delivery.data))
        except BadRequest:
            return
        now_s = self._from.clock.monotonic()
        self._queue.take(told, now_s)
        if self._wanted[JOBS]:
            self._book.take(told, now_s)

    def _ended(self, delivery: Delivery) -> None:
        if not self._wanted[JOBS]:
            return
        try:
            ending = read_ending(delivery)
        except BadRequest:
            return
        self._book.end(ending, self._from.clock.monotonic(), self._from.clock.unix_s())

    async def _ask(self, asking: str) -> None:
        if self._asked:
            self._book.begun = True  # who has said nothing by now is not there
        self._asked = bool(self._wanted[JOBS])
        if any(self._wanted[kind] for kind in _ASKED):
            query = RunningQuery(limit=MOST_JOBS if self._wanted[JOBS] else 0)
            await self._from.bus.publish(self._from.subjects.running(), codec.encode(codec.plain(query)), reply=asking)

    async def _word(self) -> None:
        if self._wanted[FLEET]:
            await self._facts.ask()

    async def _lie(self) -> None:
        if self._wanted[QUEUE]:
            self._queue.lie(await self._from.untaken.told())

    def _tick(self) -> None:
        now_s = self._from.clock.monotonic()
        if now_s >= self._look_at_s:
            self._boards.look()
            self._facts.look()
            self._look_at_s = now_s + self._boards.every_s
        if not self._from.bus.connected:
            self._blind_until_s = now_s + SILENT_S  # nobody could be heard: that says nothing of them
        elif now_s >= self._blind_until_s:
            for dispatcher in self._queue.sweep(now_s):
                self._book.silent(dispatcher, now_s)
        turn, self.turn = self.turn, asyncio.Event()
        turn.set()


class _Steady:
    """The bridge's clock, now and then."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due_s = 0.0

    def news(self) -> bytes:
        now_s = self._clock.monotonic()
        if now_s < self._due_s:
            return b""
        self._due_s = now_s + STEADY_S
        return sse.event(codec.encode({"now_unix_s": round(self._clock.unix_s(), 3)}), name="steady")


def _cards(board: DeviceBoard) -> Behind:
    return Behind(board.since, lambda: board.version)


async def _end(heard: Subscription) -> None:
    with suppress(FleetError):  # the connection is gone, and what it heard with it
        await heard.unsubscribe()


async def _again(work: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        with suppress(FleetError):  # there is no connection: the facts say so
            await work()
        await asyncio.sleep(every_s)
