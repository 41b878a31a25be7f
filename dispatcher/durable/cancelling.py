"""Cancelling a durable job that no dispatcher runs: it is looked for in the queue, and gets its final note there.

Running jobs are cancelled at the dispatcher's own door. Each dispatcher looks for what is on its way there; of all of them one
looks through the queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from common import codec
from common.bus import Delivery
from common.bus.streams import Kept
from common.durable import RETRY_HEADER, Note, Stage
from common.durable_client import DurableJobs
from common.errors import BadRequest, FleetError, JobCancelled
from common.logs import get_logger
from common.subjects import is_inbox, is_token
from dispatcher.durable.claims import claim_key
from dispatcher.durable.lane import Lane
from dispatcher.durable.notes import Notes
from dispatcher.durable.run import DurableRun
from dispatcher.pipeline import Spawn
from dispatcher.register import ON_REQUEST
from dispatcher.unknown import OTHERS_FIRST_S, unknown

log = get_logger("durable")


QUEUE_CANCEL = "durable-cancel"


@dataclass(frozen=True, slots=True)
class _Wish:
    """Whose job is meant, None for whosever it is, and where it lay when it was seen, 0 when that is not known."""

    tenant: str | None
    near: int


Search = Callable[[str, _Wish], Awaitable[bool]]


class Cancelling:
    """Hears orders to cancel."""

    def __init__(self, lane: Lane, queue: DurableJobs, spawn: Spawn) -> None:
        self._lane = lane
        self._queue = queue
        self._spawn = spawn
        self._turn = asyncio.Lock()

    def hear_own(self, delivery: Delivery) -> None:
        """Take in an order as every dispatcher does: only the one that has claimed a job knows that it is about to begin."""
        if is_inbox(delivery.reply):
            self._spawn(self._first_word(delivery))

    def hear(self, delivery: Delivery) -> None:
        """Take in an order as one dispatcher of all does.

        One without a reply comes from a live stream that was closed, and means no durable job.
        """
        if is_inbox(delivery.reply):
            self._spawn(self._last_word(delivery))

    async def _first_word(self, delivery: Delivery) -> None:
        await self._cancel(delivery, self._on_its_way)

    async def _last_word(self, delivery: Delivery) -> None:
        """Say that nobody knows the job, after the queue was looked through, however long that takes; the first answer is the one
        that counts, and whoever has the job answers at once."""
        if await self._cancel(delivery, self._queued):
            return
        await asyncio.sleep(OTHERS_FIRST_S)
        try:
            await self._say(delivery, unknown(self._job(delivery)))
        except FleetError as error:
            log.debug("durable.unsaid", error=error.code)

    async def _cancel(self, delivery: Delivery, found: Search) -> bool:
        job = self._job(delivery)
        try:
            if await found(job, self._wish(delivery)):
                await self._say(delivery, {"job": job, "cancelled": True})
                return True
        except FleetError as error:
            log.warning("durable.not_cancelled", job=job, error=error.code)
        return False

    def _job(self, delivery: Delivery) -> str:
        return self._lane.subjects.tokens(delivery.subject)[1]

    def _wish(self, delivery: Delivery) -> _Wish:
        """Read an order, of which operators leave out what they don't know; what can't be read says nothing."""
        try:
            wire = codec.decode_request(delivery.data)
        except BadRequest:
            wire = {}
        owner = self._lane.subjects.tokens(delivery.subject)[3:]
        tenant = owner[0] if owner else wire.get("tenant")
        near = wire.get("seq")
        return _Wish(
            tenant if isinstance(tenant, str) and is_token(tenant) else None,
            near if isinstance(near, int) and near > 0 else 0,
        )

    async def _say(self, delivery: Delivery, body: dict[str, object]) -> None:
        await self._lane.pipeline.bus.publish(delivery.reply, codec.encode(body))

    async def _on_its_way(self, job: str, wish: _Wish) -> bool:
        """Cancel what was taken here, and has not begun."""
        run = self._here(job, wish)
        if run is None:
            return False
        run.cancelled = True
        return run.answer is None

    def _here(self, job: str, wish: _Wish) -> DurableRun | None:
        runs = self._lane.runs.values()
        return next((run for run in runs if run.job == job and wish.tenant in {None, run.origin.tenant}), None)

    async def _queued(self, job: str, wish: _Wish) -> bool:
        """Cancel what lies in the queue, and is nobody's."""
        if self._here(job, wish) is not None:
            return False  # whoever asks is told already
        tenant = wish.tenant or "*"
        kept = await self._queue.at(job, tenant=tenant, seq=wish.near)
        if kept is None:
            async with self._turn:  # one search at a time: it asks for every queued job
                kept = await self._queue.find(job, tenant=tenant)
        return kept is not None and await self._call_off(job, kept)

    async def _call_off(self, job: str, kept: Kept) -> bool:
        lane = self._lane
        tenant = lane.reading.origin(kept).tenant
        if await lane.claims.holder(claim_key(tenant, job)) is not None:
            return False  # its dispatcher hears the same order, and answers
        notes = Notes(lane.streams, lane.names, lane.subjects, tenant, job, payload=kept.data)
        newest = await notes.look()
        if newest is not None and newest.final:
            return newest.state is Stage.CANCELLED  # an order that comes again: the answer to the first may be lost
        error = JobCancelled(f"job {job} was cancelled before it ran: {ON_REQUEST}")
        note = Note(job=job, tenant=tenant, state=Stage.CANCELLED, at_unix_s=lane.clock.unix_s(), error=error.to_wire())
        # It stays in the queue, and whoever takes it finds the final note, at the latest when it wants to store its own. A server
        # of 2.9 that is told to delete what was not delivered yet skips as many of the others (see `Streams.delete`).
        stored = await notes.finish(note, retry=kept.headers.get(RETRY_HEADER, ""))
        if stored:
            log.info("durable.cancelled", job=job, tenant=tenant)
        return stored
