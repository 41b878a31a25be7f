"""Who looks: streams are let in up to bounds, the first begins the feed, and the last ends it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from common.errors import FleetError, Stopping, TooMany
from common.lifecycle import Stop
from common.logs import get_logger
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.live.feed import Feed, Sources
from dispatcher.bridge.sse import Curfew

log = get_logger("live")

MOST_STREAMS, MOST_OF_USER = 200, 50
"""A browser has one for all its tabs."""

AGAIN_S = 1.0


class Hub:
    """All streams. Open it with `open`; `closing` ends them all."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._feed: Feed | None = None
        self._work: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._users = Counter[tuple[str, str]]()
        self.closing = Curfew()

    @asynccontextmanager
    async def open(self, stop: Stop | None) -> AsyncIterator[None]:
        """Let streams in for the life of the context, or until `stop`: whoever looks loses nothing by coming again, and a bridge
        that ends must not wait for it as for an answer."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            ending = None if stop is None else tasks.create_task(self._end(stop))
            try:
                yield
            finally:
                self._tasks = None
                self.closing.fall()
                for task in (ending, self._work):
                    if task is not None:
                        task.cancel()

    async def _end(self, stop: Stop) -> None:
        await stop.wait()
        self._tasks = None
        self.closing.fall()

    @contextmanager
    def watching(self, caller: Caller, kinds: Sequence[str]) -> Iterator[Feed]:
        """Let a stream in, and give what it is told from. Raises `TooMany`, and `Stopping`."""
        user = (caller.tenant, caller.user)
        if self._users.total() >= MOST_STREAMS or self._users[user] >= MOST_OF_USER:
            raise TooMany(
                f"there are {MOST_STREAMS} streams of events at once, {MOST_OF_USER} of one user: close some",
                retry_after_s=5.0,
            )
        feed = self._begun()
        self._users[user] += 1
        feed.want(caller, kinds, 1)
        try:
            yield feed
        finally:
            feed.want(caller, kinds, -1)
            self._users[user] -= 1
            self._users += Counter()  # drops who has none
            if not self._users and self._work is not None:
                self._work.cancel()

    def _begun(self) -> Feed:
        """Give the feed, begun anew where nobody looked."""
        if self._tasks is None:
            raise Stopping("the bridge is stopping: come again", retry_after_s=AGAIN_S)
        if self._feed is None or self._work is None or self._work.done() or self._work.cancelling():
            self._feed = feed = Feed(self._sources)
            self._work = self._tasks.create_task(self._run(feed))
        return self._feed

    async def _run(self, feed: Feed) -> None:
        """Keep a feed up: while there is no bus it can't hear, and a bug of its own costs those who look, and nobody else."""
        while True:
            try:
                await feed.run()
            except* FleetError as lost:
                log.debug("live.unheard", errors=[str(error) for error in lost.exceptions])
            except* Exception:
                log.exception("live.crashed")
            await asyncio.sleep(AGAIN_S)
