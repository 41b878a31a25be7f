"""One durable job from pull to ack, and all that this dispatcher has; the pipeline runs them, the streams keep them.

The order is what makes a crash harmless: claim, run, store the result, and only then acknowledge. Whatever is interrupted is
delivered again; a job whose result stands is then only acknowledged.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from common.bus.streams import Kept, Pulled, Streams
from common.clock import Clock
from common.durable import RETRY_HEADER, Names, Note, job_id_of
from common.errors import (
    BusError,
    DeadlineExceeded,
    FleetError,
    InternalError,
    JobCancelled,
    RequestError,
    Stopping,
    UnknownJob,
)
from common.logs import get_logger
from common.subjects import Subjects
from dispatcher.durable.answer import HeldAnswer
from dispatcher.durable.claims import Claims
from dispatcher.durable.ending import Ending
from dispatcher.durable.notes import Notes, spent
from dispatcher.durable.reading import Reading
from dispatcher.durable.run import DurableRun
from dispatcher.durable.verdict import EXHAUSTED, Again, last_error, lost_too_often
from dispatcher.outcomes import Job
from dispatcher.pipeline import Pipeline, Spawn
from dispatcher.register import ON_REQUEST

log = get_logger("durable")


@dataclass(slots=True, kw_only=True)
class Lane:
    """Takes pulled jobs to their end. `begin` never raises; nothing that a job does ends the lane."""

    streams: Streams
    names: Names
    subjects: Subjects
    clock: Clock
    pipeline: Pipeline
    claims: Claims
    reading: Reading
    ending: Ending
    ack_wait_s: float
    try_s: float
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there may be room for another job."""
    runs: dict[str, DurableRun] = field(default_factory=dict)
    stopping: bool = False
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _arriving: int = 0

    @property
    def arriving(self) -> int:
        """Jobs that were pulled, and have neither a slot nor a place in the line yet."""
        return self._arriving

    def begin(self, pulled: Pulled, spawn: Spawn) -> None:
        """Take a job that was pulled."""
        self._arriving += 1
        spawn(self._take(pulled, spawn))

    def stop(self) -> None:
        """Begin nothing more; what still comes is handed back at once."""
        self.stopping = True

    async def end(self) -> None:
        """Return when what the pipeline has finished is stored; a server that is away is not waited for much longer."""
        self.ending.stop_s = self.clock.monotonic()
        while self.runs:
            self._idle.clear()
            await self._idle.wait()

    async def _take(self, pulled: Pulled, spawn: Spawn) -> None:
        """The border: a bug in one job must not end the others."""
        try:
            run = self._arrived(pulled)
        except Exception:
            self._arriving -= 1  # a place that nobody gave back would be one job less for ever
            raise
        job = run.job
        try:
            if self.stopping:
                await pulled.nak()
            elif (known := self.runs.get(run.key)) is not None:
                await self._again(known, pulled)
            else:
                await self._keep(run, spawn)
        except BusError as error:
            log.warning("durable.interrupted", job=job, error=error.code)  # it is delivered again
        except Exception as error:
            log.exception("durable.crashed", job=job)
            bug = InternalError(f"job {job} met a bug of ours ({type(error).__name__})")
            await self.ending.quietly(
                self.ending.failed(run, bug)
            )  # what can't even be said is found by the next delivery
        finally:
            self._seat(run)
            self.stirred.set()

    def _arrived(self, pulled: Pulled) -> DurableRun:
        origin, job = self.reading.origin(pulled.kept), job_id_of(pulled.kept)
        notes = Notes(self.streams, self.names, self.subjects, origin.tenant, job, payload=pulled.kept.data)
        return DurableRun(pulled, origin, job, notes)

    async def _again(self, known: DurableRun, pulled: Pulled) -> None:
        """1. The server delivers what runs here: our last sign of life did not arrive. 2. It is a second message for a job that is
        not claimed yet: the claim may turn out to be this one's, and each must not go because of the other. 3. It is one for a job
        that we have."""
        if known.kept.seq == pulled.kept.seq:  # 1
            known.pulled = pulled
            await pulled.in_progress()
        elif known.claim is None:  # 2
            await pulled.nak(self.ack_wait_s)
        else:  # 3
            await self._twice(pulled, await self._lying(known.kept.seq), known.job)

    async def _lying(self, seq: int) -> Kept | None:
        """Give message `seq` of the queue, if it is still there."""
        kept = await self.streams.next(self.names.jobs, self.subjects.jobs("*", "*"), seq)
        return kept if kept is not None and kept.seq == seq else None

    async def _twice(self, pulled: Pulled, other: Kept | None, job: str) -> None:
        """A second message for a job that somebody has: the first will be answered, and is delivered again until it is.

        One that was taken from the dead letters again begins another life, and waits for the end of the one before.
        """
        if other is None or other.headers.get(RETRY_HEADER) != pulled.kept.headers.get(RETRY_HEADER):
            await pulled.nak(self.ack_wait_s)
            return
        log.info("durable.twice", job=job, seq=pulled.kept.seq, first=other.seq)
        await pulled.ack()

    async def _keep(self, run: DurableRun, spawn: Spawn) -> None:
        self.runs[run.key] = run
        try:
            await self._claim(run, spawn)
        finally:
            del self.runs[run.key]
            if not self.runs:
                self._idle.set()
            if run.claim is not None and not run.lost:
                await self.ending.quietly(self.claims.release(run.claim))

    async def _claim(self, run: DurableRun, spawn: Spawn) -> None:
        """Claim it, unless 1. another dispatcher works on it, or 2. its result stands."""
        if not await self._claimed(run):  # 1
            return
        newest = await run.notes.look()
        if newest is not None and newest.final:  # 2
            log.info("durable.known", job=run.job, state=str(newest.state), tries=run.tries)
            if run.pulled.deliveries > 1:
                await self.ending.letters.again(run.kept, run.origin, newest)
            await run.pulled.ack()
            return
        if not await self._counted(run, newest):
            await run.pulled.nak(self.ack_wait_s)
        elif (fault := self._exhausted(run, newest)) is not None:
            run.tries -= 1
            await self.ending.bury(run, EXHAUSTED, fault)
        else:
            await self._run(run, spawn)

    def _exhausted(self, run: DurableRun, newest: Note | None) -> FleetError | None:
        """Give what is known of a job that may not be tried again."""
        policy = self.ending.policy
        if run.tries > policy.tries:
            return last_error(newest, run.tries - 1)
        losses = 0 if run.claim is None else run.claim.losses
        return lost_too_often(losses) if losses >= policy.losses else None

    async def _claimed(self, run: DurableRun) -> bool:
        """Claim it, also from one whose message is gone: he is done with it, and could only not say so."""
        seq = run.kept.seq
        run.claim = await self.claims.take(run.key, seq=seq)
        if run.claim is not None:
            return True
        holder = await self.claims.holder(run.key)
        other = None if holder is None else await self._lying(holder.seq)
        if holder is not None and other is None:
            run.claim = await self.claims.take(run.key, seq=seq, gone=holder.seq)
        if run.claim is None:
            await self._twice(run.pulled, None if other is None or other.seq == seq else other, run.job)
        return run.claim is not None

    async def _counted(self, run: DurableRun, newest: Note | None) -> bool:
        """Number the try, by the claim of the one before and by what was told; False when the claim is another's by now."""
        claim = run.claim
        if claim is None:
            return False
        run.tries = max(claim.tries, spent(newest) + 1)
        return run.tries == claim.tries or await self.claims.recount(claim, tries=run.tries)

    async def _run(self, run: DurableRun, spawn: Spawn) -> None:
        try:
            job = self.reading.job(run.kept)
        except (DeadlineExceeded, RequestError) as error:
            await self.ending.failed(run, error)
            return
        if run.cancelled:
            await self.ending.called_off(run, JobCancelled(f"job {run.job} was cancelled: {ON_REQUEST}"))
            return
        if self._runs_here(job):
            # A live job of the same tenant has this id: its answer is not ours.
            await run.pulled.nak(self.ack_wait_s)
            return
        if self.stopping:
            # Whoever waits for the last job must not find one that begins after it.
            await self.ending.hand_back(run, Stopping("the dispatcher is stopping"), Again(0.0, counts=False))
            return
        run.answer = HeldAnswer(job, run.tries, self.clock, lambda: self._seat(run))
        await self.pipeline.enter(job, run.answer, spawn)
        if run.lost:
            return  # another dispatcher has it: nothing of ours may be told any more
        await self.ending.conclude(run, run.answer)

    def _runs_here(self, job: Job) -> bool:
        try:
            return self.pipeline.status(job.id, tenant=job.tenant)["state"] == "running"
        except UnknownJob:
            return False

    def _seat(self, run: DurableRun) -> None:
        if not run.seated:
            run.seated = True
            self._arriving -= 1
