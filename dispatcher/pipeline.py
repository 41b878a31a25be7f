"""The life of a job, on one page: intake → admission → routing → queue and delivery → record.

This module alone knows the order of the steps; none of them knows another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ulid import ULID

from common import codec
from common.bus import Bus, Delivery
from common.clock import Clock
from common.errors import BusError, FleetError, InternalError, Interrupted, Stopping, UnknownJob
from common.logs import get_logger
from common.subjects import Subjects
from dispatcher.admission import Known, admit
from dispatcher.delivery.answer import SharedAnswer
from dispatcher.delivery.courier import Courier
from dispatcher.delivery.kept import Keep
from dispatcher.delivery.listener import Seat, refuse, seat
from dispatcher.delivery.retry import interrupted
from dispatcher.delivery.sink import AnswerSink
from dispatcher.intake import Intake
from dispatcher.outcomes import Admitted, Decision, Delivered, Job, JobState, Rejected
from dispatcher.peers import Word
from dispatcher.record import Recorder, account
from dispatcher.register import Register, Running
from dispatcher.roster import Roster
from dispatcher.routing import Ask, RoutingPolicy, decide, features, nobody
from dispatcher.sharing import AttachRequest, Inquiry, Place, Sharing

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
    policy: RoutingPolicy
    courier: Courier
    recorder: Recorder
    sharing: Sharing
    tally: Tally = field(default_factory=Tally)
    register: Register = field(default_factory=Register)

    @property
    def running(self) -> int:
        """Jobs in the house, waiting ones included."""
        return len(self.register)

    def take(self, delivery: Delivery, spawn: Spawn) -> None:
        """Let one request in or refuse it, at once: a cancel right behind its job must find it. The rest is a task."""
        self.tally.jobs += 1
        try:
            job = self.intake.read(delivery)
            if job.given and self._join(job.tenant, seat(job), job.fingerprint, spawn):
                return
        except FleetError as error:
            spawn(self._refuse(delivery, error))
            return
        except Exception as error:
            log.exception("intake.crashed", size_bytes=len(delivery.data))
            spawn(self._refuse(delivery, _bug("the request", error)))
            return
        self._begin(job, spawn)

    def enter(self, job: Job, out: AnswerSink, spawn: Spawn) -> asyncio.Task[None]:
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

    def lend(self, order: AttachRequest, spawn: Spawn) -> Word:
        """Let a party of another dispatcher hear a job that is here. See `sharing` for who wins when both have just got it."""
        running = self.register.get((order.tenant, order.seat.job))
        if running is not None and running.inquiry is not None and order.asker < self.sharing.peers.me:
            running.inquiry.crossed = True
            return Word.NO
        try:
            return Word.MINE if self._join(order.tenant, order.seat, order.fingerprint, spawn) else Word.NO
        except FleetError:
            return Word.CONFLICT

    def stop_all(self) -> int:
        """End every job, because the process ends; gives their number."""
        for running in self.register:
            stopping = Stopping("the dispatcher is stopping: send it again", retry_after_s=STOPPING_RETRY_S)
            visible = running.out.visible_chars
            error = interrupted(stopping, visible) if visible else stopping
            error.details["cause"] = stopping.code  # a producer goes on elsewhere, with the text that it has
            running.end(error)
        return len(self.register)

    def status(self, job_id: str, *, tenant: str | None = None) -> dict[str, object]:
        """Say what a job does. Raises `UnknownJob`."""
        found = self.register.find(job_id, tenant)
        if found is None and tenant is not None and self.sharing.kept.get((tenant, job_id)) is not None:
            return {"job": job_id, "tenant": tenant, "state": str(JobState.DONE)}
        if found is None:
            raise UnknownJob(f"job {job_id!r} does not run here, or several tenants have one of that name")
        age_s = round(self.clock.monotonic() - found.job.received_s, 3)
        return {"job": job_id, "tenant": found.job.tenant, "state": "running", "age_s": age_s}

    # -- the same job again ----------------------------------------------------------------------------------------

    def _join(self, tenant: str, where: Seat, fingerprint: str, spawn: Spawn) -> bool:
        """Let a party hear a job that runs here, or was answered here lately; True when there is one. Raises `DuplicateJob` when
        the id means another request, or one whose answer goes elsewhere."""
        key = tenant, where.job
        running, kept = self.register.get(key), self.sharing.kept.get(key)
        match admit(where.job, fingerprint, _known(running, kept)):
            case Rejected(error):
                raise error
            case Admitted():
                return False
        if running is not None and isinstance(running.out, SharedAnswer):
            spawn(self._attach(tenant, where, running.out, "attached", running))
        elif kept is not None:
            spawn(self._attach(tenant, where, SharedAnswer.again(where.job, kept.ended), "replayed"))
        return True

    async def _attach(
        self, tenant: str, where: Seat, answer: SharedAnswer, how: str, running: Running | None = None
    ) -> None:
        if answer.at(where.reply) is not None:
            return  # the question for it came twice
        if running is not None:
            running.stay()
        await answer.attach(self.sharing.audience.seated(where, answer))
        await self._tell(tenant, where.job, how)

    async def _tell(self, tenant: str, job: str, how: str) -> None:
        """Say of a request that it was no job of its own."""
        log.info(f"job.{how}", job=job, tenant=tenant)
        try:
            body = codec.encode({"job": job, "tenant": tenant, "state": how})
            await self.bus.publish(self.subjects.job_event(how, job), body)
        except BusError as error:
            log.debug("job.untold", job=job, error=error.code)

    async def _elsewhere(self, running: Running) -> bool:
        """True when another dispatcher has the job, or had it and is done: whoever ran it answers for the record."""
        if running.inquiry is None or not isinstance(running.out, SharedAnswer):
            return False
        try:
            place = await self.sharing.place(running.job, running.out, running.inquiry)
        except FleetError as error:
            running.ended_by = running.ended_by or error
            return False
        except Exception as error:
            log.exception("job.crashed", job=running.job.id)
            running.ended_by = running.ended_by or _bug(f"job {running.job.id}", error)
            return False
        finally:
            running.inquiry = None
        if place is Place.STORED:
            await self._tell(running.job.tenant, running.job.id, "replayed")
        return place is not Place.NOWHERE

    # -- the steps -----------------------------------------------------------------------------------------------

    async def _work(self, running: Running) -> None:
        try:
            if running.inquiry is None or not await self._elsewhere(running):
                await self._run(running)
        finally:
            self.register.remove(running)

    async def _run(self, running: Running) -> None:
        """The border: a bug in a job must neither end the process nor leave its producer waiting."""
        job, out = running.job, running.out
        try:
            delivered = await self._delivered(running)
            running.last_words = True
            await self._answer(job, out, delivered)
        except Exception as error:
            log.exception("job.crashed", job=job.id)
            bug = _bug(f"job {job.id}", error)
            await self._last_word(out, bug)
            await self._write(job, Delivered(error=bug))

    async def _delivered(self, running: Running) -> Delivered:
        """Deliver; an end that somebody asked for, and a bus that fails, are ways to end like others."""
        running.begun = True
        if running.ended_by is not None:
            return Delivered(error=running.ended_by)
        try:
            return await self._deliver(running)
        except asyncio.CancelledError:
            if running.ended_by is None:
                raise
            return Delivered(error=running.ended_by)
        except FleetError as error:
            return Delivered(error=error)

    async def _deliver(self, running: Running) -> Delivered:
        job, out = running.job, running.out
        _require_continuable(job)
        ask = Ask(model=job.model, device=job.device, wanted=features(job.request, job.messages))

        def choose(excluded: Mapping[str, str]) -> Decision:
            return decide(ask, self.roster.fleet, self.policy, excluded)

        await out.ack()
        return await self.courier.deliver(
            job,
            choose,
            lambda decision: nobody(ask, decision, self.roster.fleet),
            out,
            lambda: running.ended_by,
        )

    async def _answer(self, job: Job, out: AnswerSink, delivered: Delivered) -> None:
        """Send the terminal frame, then write the record."""
        total_s = self.clock.monotonic() - job.received_s
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
                delivered = replace(delivered, end=None, error=error)
            await self._last_word(out, error)
        if job.given and isinstance(out, SharedAnswer) and out.ended is not None:
            self.sharing.kept.put((job.tenant, job.id), job.fingerprint, out.ended)
        await self._write(job, delivered)

    async def _write(self, job: Job, delivered: Delivered) -> None:
        total_s = self.clock.monotonic() - job.received_s
        self._count(delivered.error, total_s)
        await self.recorder.write(account.record(job, delivered, total_s=total_s))

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
        record = account.refusal(error, job=job, tenant=tenant, kind=kind, received_unix_s=self.clock.unix_s())
        await self.recorder.write(record)

    def _count(self, error: FleetError | None, total_s: float) -> None:
        self.tally.busy_ns += int(total_s * 1e9)
        if error is not None:
            self.tally.errors += 1
            self.tally.last_error = f"{error.code}: {error.summary}"[:200]


def _known(running: Running | None, kept: Keep | None) -> Known | None:
    """Say what the house has under an id."""
    if running is not None:
        return Known(
            fingerprint=running.job.fingerprint, shared=running.job.given and isinstance(running.out, SharedAnswer)
        )
    return None if kept is None else Known(fingerprint=kept.fingerprint, shared=True)


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
