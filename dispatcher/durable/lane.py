"""One durable job from pull to ack, and all that this dispatcher has; the pipeline runs them, the streams keep them.

The order is what makes a crash harmless: claim, run, store the result, and only then acknowledge. Whatever is interrupted is
delivered again; a job whose result stands is then only acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from common.bus.streams import Kept, Pulled, Streams
from common.clock import Clock
from common.durable import RETRY_HEADER, Names, Note, Stage, job_id_of
from common.errors import (
    BusError,
    CapacityError,
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
from dispatcher.durable.claims import Claim, Claims, claim_key
from dispatcher.durable.letters import Letters
from dispatcher.durable.notes import Notes, spent
from dispatcher.durable.reading import Place, Reading
from dispatcher.durable.verdict import EXHAUSTED, Again, Bury, CallOff, Limits, after, last_error
from dispatcher.outcomes import Job
from dispatcher.pipeline import Pipeline, Spawn

log = get_logger("durable")

T = TypeVar("T")

PAUSE_S = 0.25
"""Between two tries to store a result while the server is away."""

FAREWELL_S = 5.0
"""After the stop a result is tried to be stored for so long; then the job is another dispatcher's."""


@dataclass(slots=True, eq=False)
class Run:
    """One durable job in the house."""

    pulled: Pulled
    place: Place
    job: str
    notes: Notes
    claim: Claim | None = None
    answer: HeldAnswer | None = None
    cancelled: bool = False
    lost: bool = False
    seated: bool = False
    tries: int = 1
    """Number of this try: of those before, only such count as reached a device, or ended with their dispatcher."""

    @property
    def kept(self) -> Kept:
        return self.pulled.kept

    @property
    def reached(self) -> bool:
        """A device got it in this try."""
        return self.answer is not None and self.answer.reached_s is not None

    @property
    def key(self) -> str:
        return claim_key(self.place.tenant, self.job)

    @property
    def retry(self) -> str:
        return self.kept.headers.get(RETRY_HEADER, "")


@dataclass(slots=True, kw_only=True)
class Lane:
    """Takes pulled jobs to their end. `begin` never raises; nothing that a job does ends the lane."""

    streams: Streams
    names: Names
    subjects: Subjects
    clock: Clock
    pipeline: Pipeline
    claims: Claims
    letters: Letters
    reading: Reading
    limits: Limits
    ack_wait_s: float
    try_s: float
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there may be room for another job."""
    runs: dict[str, Run] = field(default_factory=dict)
    stopping: bool = False
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _arriving: int = 0
    _stop_s: float | None = None

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
        self._stop_s = self.clock.monotonic()
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
            await self._quietly(self._failed(run, bug))  # what can't even be said is found by the next delivery
        finally:
            self._seat(run)
            self.stirred.set()

    def _arrived(self, pulled: Pulled) -> Run:
        place, job = self.reading.place(pulled.kept), job_id_of(pulled.kept)
        return Run(pulled, place, job, Notes(self.streams, self.names, self.subjects, place.tenant, job))

    async def _again(self, known: Run, pulled: Pulled) -> None:
        """The server delivers what runs here: our last sign of life did not arrive. Or it is a second message for the same job."""
        if known.kept.seq == pulled.kept.seq:
            known.pulled = pulled
            await pulled.in_progress()
        else:
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

    async def _keep(self, run: Run, spawn: Spawn) -> None:
        self.runs[run.key] = run
        try:
            await self._claim(run, spawn)
        finally:
            del self.runs[run.key]
            if not self.runs:
                self._idle.set()
            if run.claim is not None and not run.lost:
                await self._quietly(self.claims.release(run.claim))

    async def _claim(self, run: Run, spawn: Spawn) -> None:
        """Claim it, unless 1. another dispatcher works on it, or 2. its result stands."""
        if not await self._claimed(run):  # 1
            return
        newest = await run.notes.look()
        if newest is not None and newest.final:  # 2
            log.info("durable.known", job=run.job, state=str(newest.state), tries=run.tries)
            if run.pulled.deliveries > 1:
                await self.letters.again(run.kept, run.place, newest)
            await run.pulled.ack()
            return
        if not await self._counted(run, newest):
            await run.pulled.nak(self.ack_wait_s)
        elif run.tries > self.limits.max_deliver:
            run.tries -= 1
            await self._bury(run, EXHAUSTED, last_error(newest, run.tries))
        else:
            await self._run(run, spawn)

    async def _claimed(self, run: Run) -> bool:
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

    async def _counted(self, run: Run, newest: Note | None) -> bool:
        """Number the try, by the claim of the one before and by what was told; False when the claim is another's by now."""
        claim = run.claim
        if claim is None:
            return False
        run.tries = max(claim.tries, spent(newest) + 1)
        return run.tries == claim.tries or await self.claims.recount(claim, seq=run.kept.seq, tries=run.tries)

    async def _run(self, run: Run, spawn: Spawn) -> None:
        try:
            job = self.reading.job(run.kept)
        except (DeadlineExceeded, RequestError) as error:
            await self._failed(run, error)
            return
        if run.cancelled:
            await self._called_off(run, JobCancelled(f"job {run.job} was cancelled: on request"))
            return
        if self._runs_here(job):
            # A live job of the same tenant has this id: its answer is not ours.
            await run.pulled.nak(self.ack_wait_s)
            return
        if self.stopping:
            # Whoever waits for the last job must not find one that begins after it.
            await self._hand_back(run, Stopping("the dispatcher is stopping"), Again(0.0, counts=False))
            return
        run.answer = HeldAnswer(job, run.tries, self.clock, lambda: self._seat(run))
        await self.pipeline.enter(job, run.answer, spawn)
        if run.lost:
            return  # another dispatcher has it: nothing of ours may be told any more
        await self._conclude(run, run.answer)

    def _runs_here(self, job: Job) -> bool:
        try:
            return self.pipeline.status(job.id, tenant=job.tenant)["state"] == "running"
        except UnknownJob:
            return False

    async def _conclude(self, run: Run, answer: HeldAnswer) -> None:
        answer.progress = None  # what is told from here on is newer
        if answer.answer is None:
            await self._failed(run, answer.failure or Stopping("the dispatcher is stopping"))
            return
        note = self._note(run, Stage.DONE, answer=answer.answer)
        try:
            stored = await self._patiently(run, lambda: run.notes.finish(note, retry=run.retry))
        except RequestError as error:  # too large for the bus: it would be again
            await self._failed(run, error)
            return
        await run.pulled.ack()
        log.debug("durable.done", job=run.job, tries=run.tries, first=stored)

    async def _failed(self, run: Run, error: FleetError) -> None:
        overdue = isinstance(error, DeadlineExceeded) and self._overdue(run)
        verdict = after(
            error,
            tries=run.tries,
            deliveries=run.pulled.deliveries,
            limits=self.limits,
            overdue=overdue,
            reached=run.reached,
        )
        match verdict:
            case CallOff():
                await self._called_off(run, error)
            case Bury(reason):
                await self._bury(run, reason, error)
            case Again():
                await self._hand_back(run, error, verdict)

    async def _bury(self, run: Run, reason: str, error: FleetError) -> None:
        await self._patiently(
            run, lambda: self.letters.bury(run.kept, run.place, reason, error, tries=run.tries, notes=run.notes)
        )
        await run.pulled.term()

    async def _hand_back(self, run: Run, error: FleetError, again: Again) -> None:
        """Give it to whoever takes it next.

        Told is 1. that a try failed, 2. that one which was told of does not count, and 3. why the job waits, once for each reason:
        one that waits for a day is handed back a thousand times.
        """
        before = run.notes.newest
        why = before.failure.code if before is not None and before.failure is not None else ""
        waits = not isinstance(error, Stopping) and error.code != why
        if again.counts or run.reached or waits:
            if not again.counts:
                run.tries -= 1
            note = self._note(run, Stage.RETRYING, again_s=again.delay_s, error=error.to_wire())
            await self._quietly(run.notes.tell(note))
            log.info("durable.again", job=run.job, tries=run.tries, error=error.code, delay_s=again.delay_s)
        # The claim goes first: whoever gets the job next must not find it taken.
        if run.claim is not None:
            await self._quietly(self.claims.release(run.claim))
            run.claim = None
        await run.pulled.nak(again.delay_s)

    async def _called_off(self, run: Run, error: FleetError) -> None:
        note = self._note(run, Stage.CANCELLED, error=error.to_wire())
        await self._patiently(run, lambda: run.notes.finish(note, retry=run.retry))
        await run.pulled.ack()

    def _overdue(self, run: Run) -> bool:
        """True when the job's own deadline has passed, and not only the time of one try."""
        try:
            self.reading.job(run.kept)
        except DeadlineExceeded:
            return True
        except RequestError:
            return False
        return False

    async def _patiently(self, run: Run, work: Callable[[], Awaitable[T]]) -> T:
        """Do what must be done, however long the server is away; done twice it has one effect.

        Gives up, raising, when the job is another dispatcher's by now, or this process must end.
        """
        while True:
            try:
                return await work()
            except (BusError, CapacityError):
                if run.lost or self._must_end():
                    raise
            await asyncio.sleep(PAUSE_S)

    def _must_end(self) -> bool:
        return self._stop_s is not None and self.clock.monotonic() - self._stop_s > FAREWELL_S

    async def _quietly(self, work: Awaitable[object]) -> None:
        """Do what only makes things quicker for others."""
        try:
            await work
        except FleetError as error:
            log.debug("durable.unsaid", error=error.code)

    def _seat(self, run: Run) -> None:
        if not run.seated:
            run.seated = True
            self._arriving -= 1

    def _note(self, run: Run, state: Stage, **known: object) -> Note:
        return Note(
            job=run.job,
            tenant=run.place.tenant,
            state=state,
            at_unix_s=self.clock.unix_s(),
            tries=run.tries,
            **known,  # type: ignore[arg-type]  # the fields of a note
        )
