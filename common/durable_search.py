"""Where a job lies in the durable queue: remembered, or found by looking through it; what is done with it is not known here."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from common.bus.streams import Kept, Streams
from common.durable import Names, job_id_of
from common.errors import FleetError
from common.subjects import Subjects

_SEARCHERS = 32
_REMEMBERED = 10_000


class QueueSearch:
    """Finds jobs, and remembers the places of those that it was told of."""

    def __init__(self, streams: Streams, names: Names, subjects: Subjects) -> None:
        self._streams = streams
        self._names = names
        self._subjects = subjects
        self._places: OrderedDict[tuple[str, str], int] = OrderedDict()

    def place(self, tenant: str, job: str) -> int:
        """Give the number in the stream where a job was put or seen; 0 when that is not known."""
        return self._places.get((tenant, job), 0)

    async def find(self, job: str, *, tenant: str, near: int = 0) -> Kept | None:
        """Find a job that lies in the queue: where it was put, or else by looking through the queue, 20,000 jobs in about a second.

        The tenant `*` finds it whosever it is.
        """
        for seq in {near, self.place(tenant, job)}:
            if (kept := await self.at(job, tenant=tenant, seq=seq)) is not None:
                return kept
        kept = await self._through(job, tenant)
        if kept is not None:
            self.remember(tenant, job, kept.seq)  # whoever looks at it is likely to look again, or to cancel it
        return kept

    async def at(self, job: str, *, tenant: str, seq: int) -> Kept | None:
        """Give a job that lies in the queue as number `seq`."""
        kept = await self._streams.next(self._names.jobs, self._subjects.jobs(tenant, "*"), seq) if seq > 0 else None
        return kept if kept is not None and kept.seq == seq and job_id_of(kept) == job else None

    async def _through(self, job: str, tenant: str) -> Kept | None:
        state = await self._streams.state(self._names.jobs)
        if not state.messages:
            return None
        end = state.last_seq
        step = max(1, -(-(end - state.first_seq + 1) // _SEARCHERS))
        async with asyncio.TaskGroup() as tasks:
            parts = [
                tasks.create_task(self._through_part(job, tenant, first, min(first + step, end + 1)))
                for first in range(state.first_seq, end + 1, step)
            ]
        return _found([part.result() for part in parts])

    async def _through_part(self, job: str, tenant: str, first: int, end: int) -> Kept | FleetError | None:
        """Look from `first` to before `end`; an error is given, since raised in the group it would come wrapped."""
        subject, seq = self._subjects.jobs(tenant, "*"), first
        try:
            while (kept := await self._streams.next(self._names.jobs, subject, seq)) is not None and kept.seq < end:
                if job_id_of(kept) == job:
                    return kept
                seq = kept.seq + 1
        except FleetError as error:
            return error
        return None

    def remember(self, tenant: str, job: str, seq: int) -> None:
        """Note where a job was put, or seen."""
        self._places[tenant, job] = seq
        if len(self._places) > _REMEMBERED:
            self._places.popitem(last=False)


def _found(parts: Iterable[Kept | FleetError | None]) -> Kept | None:
    """Give what one part of a search has found, whatever the others met. Raises the first error, if none has found it."""
    failure: FleetError | None = None
    for part in parts:
        if isinstance(part, Kept):
            return part
        failure = failure or part
    if failure is not None:
        raise failure
    return None
