"""The producer's end of jobs that survive every process: submit, look, wait, cancel; it knows no dispatcher.

Everything is read from the streams themselves, so it works while no dispatcher runs; only cancelling needs one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from common import codec
from common.bus import Bus, Delivery
from common.bus.streams import Kept, Streams
from common.clock import LoopClock
from common.durable import Names, Note, Stage, read_note
from common.durable_search import QueueSearch
from common.durable_submit import Submission, Submitted
from common.errors import (
    BadRequest,
    BusDisconnected,
    BusTimeout,
    FleetError,
    NoResponders,
    NotPermitted,
    StreamError,
    StreamsUnavailable,
    UnknownJob,
    from_wire,
)
from common.handover import Handover
from common.messages import ChatRequest, Priority
from common.subjects import Subjects, require_token

POLL_S = 5.0
"""Whoever waits for a note is woken by it; what is lost with a connection is found by looking again."""

MOST_POLL_S = 60.0
"""Each look in vain doubles the time until the next, up to this: a thousand who wait in peace must not keep a server busy. A lost
connection begins anew, and as long as it is away nothing is doubled."""


LOOK_S = 1.0
"""Whoever cancels waits so long for what the streams know."""

SILENT_S = 0.25
"""A server says nothing of a stream that it has not, so whoever looks asks after so long whether there is one: a hundred times what
an answer takes, and too short to be felt."""


@dataclass(frozen=True, slots=True)
class Event:
    """A note, and its number in the stream: reading can go on behind it."""

    seq: int
    note: Note


class DurableJobs:
    """Durable jobs of one tenant, as their producer sees them."""

    def __init__(
        self, bus: Bus, streams: Streams, *, tenant: str, subjects: Subjects, newest_only: bool = False
    ) -> None:
        """Speak for `tenant`. With `newest_only` nothing is looked at but the newest note of a job, which is all that the server
        shows to a tenant's own user: the queue and the results are everybody's."""
        self._bus = bus
        self._streams = streams
        self._tenant = tenant
        self._subjects = subjects
        self._names = Names.below(subjects)
        self._search = QueueSearch(streams, self._names, subjects)
        self._newest_only = newest_only
        self._submission = Submission(streams, self._names, subjects, newest_only=newest_only)

    async def submit(
        self,
        request: ChatRequest,
        *,
        priority: Priority | None = None,
        tenant: str | None = None,
        handover: Handover | None = None,
    ) -> Submitted:
        """Put a job into the queue; on return it survives every process. The same job id again adds nothing.

        `priority` None takes the request's own. `handover` tells at any moment, also behind an error, whether this submission may
        have put it there.
        Raises `QueueFull`, `StreamsUnavailable` when nobody keeps a queue, `BadRequest` for a name that can't be or when there is
        nothing to answer, `DuplicateJob` when another request lies in the queue under the id, or its result is kept.
        """
        owner = require_token("tenant", tenant or self._tenant)
        done = await self._submission.submit(request, owner=owner, priority=priority, handover=handover)
        self._search.remember(owner, done.job, done.seq)
        return done

    async def look(self, job: str, *, tenant: str | None = None) -> Note:
        """Say how far a job is. Raises `UnknownJob` when it never was, or is over for longer than results are kept, and
        `StreamsUnavailable` where nobody has made the streams."""
        owner = require_token("tenant", tenant or self._tenant)
        kept = await self._soon(owner, require_token("job", job))
        if (note := _note(kept)) is not None:
            return note
        queued = await self._queued(job, owner)
        if queued is None:
            # It may have been taken, and answered, between the two looks.
            if (note := _note(await self._last(owner, job))) is None:
                raise _unknown(job)
            return note
        return Note(job=job, tenant=owner, state=Stage.QUEUED, at_unix_s=queued)

    async def result(
        self,
        job: str,
        *,
        wait_s: float = 0.0,
        tenant: str | None = None,
        heard: Callable[[Note], None] | None = None,
    ) -> Note:
        """Give the newest note, the final one if it comes within `wait_s`; `heard` gets all others.

        Raises `UnknownJob`.
        """
        note = await self.look(job, tenant=tenant)
        if note.final or wait_s <= 0:
            return note
        try:
            async with asyncio.timeout(wait_s), aclosing(self.events(job, tenant=tenant)) as events:
                async for event in events:
                    note = event.note
                    if heard is not None and not note.final:
                        heard(note)
        except TimeoutError:
            pass  # it is not over: the newest note says how far it is
        return note

    async def events(self, job: str, *, after: int = 0, tenant: str | None = None) -> AsyncGenerator[Event, None]:
        """Give the notes behind number `after`, those to come included, the final one last. The job must be known: `look`. With
        `newest_only` those that were overtaken are left out.

        There are none when `after` is the final one, or behind it.
        """
        owner = require_token("tenant", tenant or self._tenant)
        subject = self._subjects.result(owner, require_token("job", job))
        async with self._woken(subject) as stirred:
            seq, poll_s = after, POLL_S
            while True:
                stirred.clear()
                kept = await self._patient_next(subject, seq + 1)
                if kept is None:
                    if seq == after and await self._ended(owner, job, after):
                        return
                    stirs = await _stirs(stirred, poll_s)
                    poll_s = POLL_S if stirs or not self._bus.connected else min(2 * poll_s, MOST_POLL_S)
                    continue
                seq, poll_s = kept.seq, POLL_S
                if (note := _note(kept)) is None:
                    continue
                yield Event(seq, note)
                if note.final:
                    return

    async def over(self, job: str, *, after: int, tenant: str | None = None) -> bool:
        """True when nothing more will be told of a job behind number `after`."""
        owner = require_token("tenant", tenant or self._tenant)
        return after > 0 and await self._ended(owner, require_token("job", job), after)

    async def cancel(self, job: str, *, tenant: str | None = None, timeout_s: float = 5.0) -> bool:
        """Cancel a job, queued or running; False when it is over. Raises `UnknownJob`, `BusTimeout` when no dispatcher answers.

        Streams that do not say soon how far it is are not waited for: a dispatcher that has the job, durable or not, ends it
        without them.
        """
        owner = require_token("tenant", tenant or self._tenant)
        looked = True
        try:
            async with asyncio.timeout(LOOK_S):
                over = (await self.look(job, tenant=owner)).final
            if over:
                return False
        except UnknownJob:
            if not self._newest_only:
                raise
            # It may wait in the queue, where only the dispatcher may look.
        except (StreamsUnavailable, TimeoutError):
            looked = False
        order = {"tenant": owner, "seq": self._search.place(owner, job)}
        try:
            answer = await self._bus.request(
                self._subjects.control(job, "cancel", owner), codec.encode(order), timeout_s=timeout_s
            )
        except NoResponders as error:
            raise BusTimeout(
                f"no dispatcher is there to cancel job {job}: start one with `drover dispatcher`"
            ) from error
        told = codec.decode(answer.data)
        if not told.get("cancelled") and not looked:
            raise from_wire(told.get("error") or _unknown(job).to_wire())
        return bool(told.get("cancelled"))

    async def find(self, job: str, *, tenant: str, near: int = 0) -> Kept | None:
        """Find a job that lies in the queue; see `QueueSearch.find`."""
        return await self._search.find(job, tenant=tenant, near=near)

    async def at(self, job: str, *, tenant: str, seq: int) -> Kept | None:
        """Give a job that lies in the queue as number `seq`."""
        return await self._search.at(job, tenant=tenant, seq=seq)

    async def _queued(self, job: str, owner: str) -> float | None:
        """Give the time at which a job that lies in the queue was put there. Who may not look into it knows of its own alone."""
        if self._newest_only:
            return LoopClock().unix_s() if self._search.place(owner, job) else None
        found = await self.find(job, tenant=owner)
        return None if found is None else found.stored_unix_s

    async def _soon(self, tenant: str, job: str) -> Kept | None:
        """Give the newest note. Raises `StreamsUnavailable` soon where nobody has made the streams: their server is silent."""
        try:
            async with asyncio.timeout(SILENT_S):
                return await self._last(tenant, job)
        except TimeoutError:
            await self._require_made(job)
        return await self._last(tenant, job)

    async def _require_made(self, job: str) -> None:
        """Ask for the queue, which is made together with the results. Who may not ask has to wait."""
        if self._newest_only:
            return
        try:
            await self._streams.state(self._names.jobs)
        except NotPermitted:
            return
        except StreamError as error:
            raise StreamsUnavailable(
                f"job {job!r} is no durable one: nobody has made a queue for those, as a dispatcher does (DROVER_DURABLE)"
            ) from error

    async def _last(self, tenant: str, job: str) -> Kept | None:
        return await self._streams.last(self._names.results, self._subjects.result(tenant, job))

    async def _ended(self, tenant: str, job: str, seq: int) -> bool:
        """True when the final note stands, and is no newer than `seq`; while the server is away nobody knows."""
        try:
            kept = await self._last(tenant, job)
        except (BusDisconnected, BusTimeout):
            return False
        note = _note(kept)
        return kept is not None and kept.seq <= seq and note is not None and note.final

    async def _patient_next(self, subject: str, seq: int) -> Kept | None:
        """Read on; while the server is away there is nothing yet."""
        try:
            if not self._newest_only:
                return await self._streams.next(self._names.results, subject, seq)
            newest = await self._streams.last(self._names.results, subject)
        except (BusDisconnected, BusTimeout):
            return None
        return newest if newest is not None and newest.seq >= seq else None

    @asynccontextmanager
    async def _woken(self, subject: str) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set when something is published on `subject`, and when the connection is lost, with what would have
        come on it; what there is, the stream says."""
        stirred = asyncio.Event()

        def stir(_: Delivery) -> None:
            stirred.set()

        subscription = await self._bus.subscribe(subject, stir)
        forget = self._bus.on_disconnect(stirred.set)
        try:
            await self._bus.flush()
            yield stirred
        finally:
            forget()
            await subscription.unsubscribe()


def answer_or_raise(note: Note) -> Note:
    """Give a final note that has an answer. Raises the job's own typed error otherwise."""
    failure = note.failure
    if failure is not None:
        raise failure
    if not note.final:
        raise BusTimeout(f"job {note.job} is {note.state} still: ask again later", job=note.job)
    if note.answer is None:
        raise FleetError(f"job {note.job} ended as {note.state} without an answer")
    return note


async def _stirs(stirred: asyncio.Event, wait_s: float) -> bool:
    """Tell whether something was heard in that time; either way it is worth a look."""
    try:
        async with asyncio.timeout(wait_s):
            await stirred.wait()
    except TimeoutError:
        return False
    return True


def _note(kept: Kept | None) -> Note | None:
    """Read a note; what a stranger has put there is none."""
    try:
        return None if kept is None else read_note(kept)
    except BadRequest:
        return None


def _unknown(job: str) -> UnknownJob:
    return UnknownJob(
        f"job {job!r} is not known: the id is wrong, or it is over for longer than results are kept (DROVER_DURABLE_RESULT_AGE_S)"
    )
