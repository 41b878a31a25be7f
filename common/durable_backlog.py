"""How many durable jobs no dispatcher has taken yet, and since when: read off the queue, whose readers it leaves as they are.

A work queue lets nobody read beside its consumers; but they say how many messages they have still to deliver, and which came last.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.bus.streams import Streams
from common.durable import Names
from common.messages import Count, Number, Priority
from common.subjects import Subjects


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Durable jobs of all tenants that lie in the queue, and that no dispatcher has taken yet; `oldest_unix_s` is when the one came
    that waits for longest."""

    waiting: Count = 0
    oldest_unix_s: Number | None = None


class BacklogReader:
    """Looks at one queue. A job is looked at once, however long it waits: it may be large."""

    def __init__(self, streams: Streams, subjects: Subjects) -> None:
        self._streams = streams
        self._subjects = subjects
        self._queue = Names.below(subjects).jobs
        self._first: dict[Priority, tuple[int, float]] = {}

    async def look(self) -> Backlog:
        """Look now. Raises `StreamsUnavailable`, `StreamError` where nobody has made a queue, and `BusError`."""
        if not (await self._streams.state(self._queue)).messages:
            return Backlog()
        waiting, since = 0, list[float]()
        for priority in Priority:
            there = await self._streams.progress(self._queue, priority)
            waiting += there.pending
            if there.pending and (came := await self._came(priority, there.delivered)) is not None:
                since.append(came)
        return Backlog(waiting=waiting, oldest_unix_s=min(since, default=None))

    async def _came(self, priority: Priority, delivered: int) -> float | None:
        """Say when the first job behind the last one came that was delivered; None when it was taken meanwhile."""
        known = self._first.get(priority)
        if known is not None and known[0] == delivered:
            return known[1]
        kept = await self._streams.next(self._queue, self._subjects.jobs("*", priority), delivered + 1)
        if kept is None:
            return None
        self._first[priority] = delivered, kept.stored_unix_s
        return kept.stored_unix_s
