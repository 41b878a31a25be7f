"""The life of a job, on one page: intake → admission → cache → routing → queue and delivery → record.

This module alone knows the order of the steps; none of them knows another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from ulid import ULID

from common import codec
from common.bus import Bus, Delivery
from common.clock import Clock
from common.errors import BusError, FleetError, InternalError, Interrupted, Stopping, UnknownJob
from common.logs import get_logger
from common.subjects import Subjects
from dispatcher.again import Again, Offer
from dispatcher.cache import Cache, Serving
from dispatcher.delivery.answer import SharedAnswer
from dispatcher.delivery.courier import Courier
from dispatcher.delivery.listener import refuse, seat
from dispatcher.delivery.retry import interrupted
from dispatcher.delivery.sink import AnswerSink, Followed
from dispatcher.intake import Intake, tried
from dispatcher.outcomes import Delivered, Job, JobState
from dispatcher.record import Recorder, account
from dispatcher.record.energy import accounted
from dispatcher.register import Register, Running
from dispatcher.roster import Roster
from dispatcher.rounds import Rounds
from dispatcher.router import Router
from dispatcher.sharing import AttachRequest, Inquiry, Sharing
from dispatcher.traces import recorded, traced

log = get_logger("pipeline")


STOPPING_RETRY_S = 1.0
"""Another dispatcher takes it at once; a lone one is back in a moment."""


@dataclass(slots=True)
class Tally:
    """What this dispatcher did since its start."""

    jobs: int = 0
    errors: int = 0
    last_error: str = ""
    busy_ns: int = 0


Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Starts a task in the group that owns the jobs."""


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """Runs jobs. `take` is the whole door; it never raises for anything that a job does."""

    bus: Bus
    clock: Clock
    subjects: Subjects
    intake: Intake
    roster: Roster
    router: Router
    courier: Courier
    rounds: Rounds
    cache: Cache
    recorder: Recorder
    sharing: Sharing
    tally: Tally = field(default_factory=Tally)
    register: Register = field(default_factory=Register)
    again: Again = field(init=False)

    def __post_init__(self) -> None:
        self.again = Again(bus=self.bus, subjects=self.subjects, register=self.register, sharing=self.sharing)

    @property
    def running(self) -> int:
        """Jobs in the house, waiting ones included."""
        return len(self.register)

    def take(self, delivery: Delivery, spawn: Spawn) -> None:
        """Let one request in or refuse it, at once: a cancel right behind its job must find it. The rest is a task."""
        self.tally.jobs += 1
        try:
            job = self.intake.read(delivery)
            if job.given and self.again.join(job.tenant, seat(job), job.fingerprint, spawn):
                return
        except FleetError as error:
            spawn(self._refuse(delivery, error))
            return
        except Exception as error:
            log.exception("intake.crashed", size_bytes=len(delivery.data))
            spawn(self._refuse(delivery, _bug("the request", error)))
            return
        self._begin(traced(job, delivery.headers), spawn)

    def enter(self, job: Job, out: Followed, spawn: Spawn) -> asyncio.Task[None]:
        """Run an admitted job, and write its answer to `out`; the task ends when the answer and the record are written."""
        return self._start(Running(job, out), spawn)

    def _begin(self, job: Job, spawn: Spawn) -> None:
        """Run a job that a producer sent."""
        # The answer is made before the job that it leads to.
        answer = SharedAnswer(job.id, lambda keep_s: running.deserted(keep_s), begun=job.request.resume)  # noqa: PLW0108
        running = Running(job, answer, Inquiry() if self.sharing.asks(job) else None)
        answer.add(self.sharing.audience.seated(seat(job), answer))
        self._start(running, spawn)

    def _start(self, running: Running, spawn: Spawn) -> asyncio.Task[None]:
        self.register.add(running)
        running.task = spawn(self._work(running))
        return running.task

    async def idle(self) -> None:
        """Return when no job runs."""
        await self.register.idle()

    def cancel(self, job_id: str, why: str, *, tenant: str | None = None) -> bool:
        """Cancel a job; True when it runs here. An id that several tenants use needs the tenant: nobody's else is touched."""
        return self.register.cancel(job_id, why, tenant=tenant)

    def end(self, job_id: str, error: FleetError, *, tenant: str) -> None:
        """End a job that runs here with this error; nothing happens when it is ending already."""
        found = self.register.find(job_id, tenant)
        if found is not None:
            found.end(error)

    def leave(self, job_id: str, reply: str, *, tenant: str | None = None, keep_s: float = 0.0) -> bool:
        """Let one party go; True when it was here. The last one takes the job with it. See `Register.leave`."""
        return self.register.leave(job_id, reply, tenant=tenant, keep_s=keep_s)

    def offer(self, order: AttachRequest) -> Offer:
        """Say whether a party of another dispatcher may hear a job from here."""
        return self.again.offer(order)

    def lend(self, order: AttachRequest, offer: Offer, spawn: Spawn) -> None:
        """Let it hear the job, as was offered."""
        self.again.lend(order, offer, spawn)

    def stop_all(self) -> int:
        """End every job, because the process ends; gives their number."""
        for running in self.register:
            stopping = Stopping("the dispatcher is stopping: send it again", retry_after_s=STOPPING_RETRY_S)
            visible = running.out.visible_chars
            error = interrupted(stopping, visible) if visible else stopping
            error.details["cause"] = stopping.code  # a producer goes on elsewhere, with the text that it has
            running.end(error)
        return len(self.register)

    async def explain(self, delivery: Delivery) -> dict[str, Any]:
        """Tell where a request would go and why; nothing is run, so that other weights may be tried. Raises what a job would be
        refused with."""
        asked, weights = tried(delivery)
        job = self.intake.read(asked)
        told, cached = await self.rounds.explain(job, weights), await self.cache.explain(job)
        return told if cached is None else {**told, "cache": cached}

    def status(self, job_id: str, *, tenant: str | None = None) -> dict[str, object]:
        """Say what a job does. Raises `UnknownJob`."""
        found = self.register.find(job_id, tenant)
        if found is None and tenant is not None and self.sharing.kept.get((tenant, job_id)) is not None:
            return {"job": job_id, "tenant": tenant, "state": str(JobState.DONE)}
        if found is None:
            raise UnknownJob(f"job {job_id!r} does not run here, or several tenants have one of that name")
        age_s = round(self.clock.monotonic() - found.job.received_s, 3)
        return {"job": job_id, "tenant": found.job.tenant, "state": "running", "age_s": age_s}

    # -- the steps -----------------------------------------------------------------------------------------------

    async def _work(self, running: Running) -> None:
        try:
            if running.inquiry is None or not await self._elsewhere(running):
                await self._run(running)
        finally:
            self.register.remove(running)
            running.job.trace.end()

    async def _elsewhere(self, running: Running) -> bool:
        """True when somebody else answers; what goes wrong on the way is the job's own end."""
        try:
            return await self.again.elsewhere(running)
        except FleetError as error:
            running.ended_by = running.ended_by or error
        except Exception as error:
            log.exception("job.crashed", job=running.job.id)
            running.ended_by = running.ended_by or _bug(f"job {running.job.id}", error)
        return False

    async def _run(self, running: Running) -> None:
        """The border: a bug in a job must neither end the process nor leave its producer waiting."""
        job, out = running.job, running.out
        serving = self.cache.serving(job)
        try:
            delivered = await self._delivered(running, serving)
            running.last_words = True
            await self._answer(job, out, delivered, serving)
        except Exception as error:
            log.exception("job.crashed", job=job.id)
            bug = _bug(f"job {job.id}", error)
            await self._last_word(out, bug)
            await self._write(job, Delivered(error=bug))
        finally:
            await serving.close()

    async def _delivered(self, running: Running, serving: Serving) -> Delivered:
        """Deliver; an end that somebody asked for, and a bus that fails, are ways to end like others."""
        running.begun = True
        if running.ended_by is not None:
            return Delivered(error=running.ended_by)
        try:
            return await self._deliver(running, serving)
        except asyncio.CancelledError:
            if running.ended_by is None:
                raise
            return Delivered(error=running.ended_by)
        except FleetError as error:
            return Delivered(error=error)

    async def _deliver(self, running: Running, serving: Serving) -> Delivered:
        job = running.job
        _require_continuable(job)

        async def run(out: AnswerSink) -> Delivered:
            with job.trace.child("route"):
                ask = await self.router.ask(job)
            await out.ack()
            return await self.rounds.deliver(job, ask, out, lambda: running.ended_by)

        return await serving.answer(running.out, run)

    async def _answer(self, job: Job, out: AnswerSink, delivered: Delivered, serving: Serving) -> None:
        """Send the terminal frame, then write the record."""
        total_s = self.clock.monotonic() - job.received_s
        rate = self.router.rate()  # once: it may change before the record is written, which says the same as the answer
        delivered = accounted(delivered, rate)
        route = account.route(job, delivered, total_s=total_s)
        try:
            if delivered.end is not None:
                if isinstance(out, SharedAnswer):
                    await self.sharing.keep(job, out.ending(delivered.end, route))
                await out.end(delivered.end, route)
            elif delivered.error is not None:
                await out.error(delivered.error, route)
        except FleetError as error:
            # The answer could not be sent: too large for the bus, or no bus. It is then not an answer, unless it can be fetched.
            if not (job.given and isinstance(error, BusError)):
                delivered = accounted(replace(delivered, end=None, error=error), rate)
            await self._last_word(out, error)
        if job.given and isinstance(out, SharedAnswer) and out.ended is not None:
            self.sharing.kept.put((job.tenant, job.id), job.fingerprint, out.ended)
        await serving.finish(delivered, out.text)
        await self._write(job, delivered, out.text)

    async def _write(self, job: Job, delivered: Delivered, text: str = "") -> None:
        total_s = self.clock.monotonic() - job.received_s
        self._count(delivered.error, total_s)
        self.router.note(job, delivered, total_s, text)
        told = account.record(job, delivered, total_s=total_s, record=str(ULID()))
        recorded(job.trace, told)
        await self.recorder.write(told)

    async def _last_word(self, out: AnswerSink, error: FleetError) -> None:
        try:
            await out.error(error)
        except FleetError as again:
            log.warning("job.unanswered", error=error.code, then=again.code)

    async def _refuse(self, delivery: Delivery, error: FleetError) -> None:
        """Answer and record a request that did not become a job."""
        encoding = codec.sniff(delivery.data)
        kind, tenant = self.subjects.tokens(delivery.subject)
        job = str(error.details.get("job") or ULID())
        self._count(error, 0.0)
        try:
            await refuse(self.bus, delivery.reply, error, encoding)
        except FleetError as failed:
            log.warning("refusal.unsent", job=job, error=failed.code)
        record = account.refusal(
            error, record=str(ULID()), job=job, tenant=tenant, kind=kind, received_unix_s=self.clock.unix_s()
        )
        await self.recorder.write(record)

    def _count(self, error: FleetError | None, total_s: float) -> None:
        self.tally.busy_ns += int(total_s * 1e9)
        if error is not None:
            self.tally.errors += 1
            self.tally.last_error = f"{error.code}: {error.summary}"[:200]


def _require_continuable(job: Job) -> None:
    """Raise `Interrupted` for a text that its producer has already and that can't be gone on with."""
    if job.request.resume and (job.request.tools or job.request.format is not None):
        have = len(job.request.resume)
        raise Interrupted(
            f"the answer broke off after {have} characters, and one with tools or a format can't be continued: ask again",
            delivered_chars=have,
        )


def _bug(what: str, error: Exception) -> InternalError:
    """Name the kind of bug; its text may quote a prompt, and stands in the log alone."""
    return InternalError(f"{what} met a bug of ours ({type(error).__name__}): please report it")
