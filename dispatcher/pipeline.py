"""The life of a job, on one page: intake → admission → routing → queue and delivery → record.

This module alone knows the order of the steps; none of them knows another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ulid import ULID

from common import codec
from common.bus import Bus, Delivery
from common.clock import Clock
from common.errors import FleetError, InternalError, JobCancelled, UnknownJob
from common.logs import get_logger
from common.subjects import Subjects
from dispatcher.admission import House, admit
from dispatcher.delivery.courier import Courier
from dispatcher.delivery.producer import Producer, refuse
from dispatcher.intake import Intake, wanted_model
from dispatcher.outcomes import Decision, Delivered, Job, Rejected
from dispatcher.record import Recorder, account
from dispatcher.roster import Roster
from dispatcher.routing import Ask, RoutingPolicy, decide, features, nobody

log = get_logger("pipeline")


@dataclass(slots=True)
class Tally:
    """What this dispatcher did since its start."""

    jobs: int = 0
    errors: int = 0
    last_error: str = ""
    busy_ns: int = 0


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[None]
    job: Job
    cancelled: JobCancelled | None = None
    answering: bool = False


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """Runs jobs. `handle` is the whole door; it never raises for anything that a job does."""

    bus: Bus
    clock: Clock
    subjects: Subjects
    intake: Intake
    roster: Roster
    policy: RoutingPolicy
    courier: Courier
    recorder: Recorder
    queue_limit: int
    tally: Tally = field(default_factory=Tally)
    _running: dict[tuple[str, str], _Running] = field(default_factory=dict)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def running(self) -> int:
        """Jobs in the house, waiting ones included."""
        return len(self._running)

    async def handle(self, delivery: Delivery) -> None:
        """Take one request through all steps. Run it as a task of its own."""
        self.tally.jobs += 1
        try:
            job = self._admit(delivery)
        except FleetError as error:
            await self._refuse(delivery, error)
            return
        except Exception as error:
            log.exception("intake.crashed", size_bytes=len(delivery.data))
            await self._refuse(
                delivery, InternalError(f"the request met a bug of ours ({type(error).__name__}): report it")
            )
            return
        task = asyncio.current_task()
        if task is None:
            raise InternalError("a job was handled outside a task")
        running = _Running(task, job)
        self._running[job.tenant, job.id] = running
        try:
            await self._run(running)
        finally:
            del self._running[job.tenant, job.id]
            if not self._running:
                self._idle.set()

    async def idle(self) -> None:
        """Return when no job runs."""
        while self._running:
            self._idle.clear()
            await self._idle.wait()

    def cancel(self, job_id: str, why: str) -> bool:
        """Cancel a job; True when it runs here."""
        found = [running for (_, name), running in self._running.items() if name == job_id and not running.answering]
        for running in found:
            self._cancel(running, why)
        return bool(found)

    def cancel_all(self, why: str) -> int:
        """Cancel every job; gives their number."""
        for running in list(self._running.values()):
            self._cancel(running, why)
        return len(self._running)

    def status(self, job_id: str) -> dict[str, object]:
        """Say what a job does. Raises `UnknownJob`."""
        for (tenant, name), running in self._running.items():
            if name == job_id:
                age_s = round(self.clock.monotonic() - running.job.received_s, 3)
                return {"job": job_id, "tenant": tenant, "state": "running", "age_s": age_s}
        raise UnknownJob(f"job {job_id!r} does not run here")

    # -- the steps -----------------------------------------------------------------------------------------------

    def _admit(self, delivery: Delivery) -> Job:
        job = self.intake.read(delivery)
        house = House(self.courier.line.waiting, self.queue_limit, self._running.keys())
        admission = admit(job, house)
        if isinstance(admission, Rejected):
            raise admission.error
        return job

    async def _run(self, running: _Running) -> None:
        """The border: a bug in a job must neither end the process nor leave its producer waiting."""
        job, out = running.job, Producer(self.bus, running.job)
        try:
            delivered = await self._delivered(running, out)
            running.answering = True
            await self._answer(job, out, delivered)
        except Exception as error:
            log.exception("job.crashed", job=job.id)
            bug = InternalError(f"job {job.id} met a bug of ours ({type(error).__name__}: {error}): report it")
            await self._last_word(out, bug)
            await self._write(job, Delivered(error=bug))

    async def _delivered(self, running: _Running, out: Producer) -> Delivered:
        """Deliver; a cancel on request, a pin on no name, and a bus that fails, are ways to end like others."""
        try:
            return await self._deliver(running, out)
        except asyncio.CancelledError:
            if running.cancelled is None:
                raise
            return Delivered(error=running.cancelled)
        except FleetError as error:
            return Delivered(error=error)

    async def _deliver(self, running: _Running, out: Producer) -> Delivered:
        job = running.job
        model, device = wanted_model(job.request)
        ask = Ask(model=model, device=device, wanted=features(job.request, job.messages))

        def choose(excluded: Mapping[str, str]) -> Decision:
            return decide(ask, self.roster.fleet, self.policy, excluded)

        await out.ack()
        return await self.courier.deliver(
            job,
            choose,
            lambda decision: nobody(ask, decision, self.roster.fleet),
            out,
            lambda: running.cancelled,
        )

    async def _answer(self, job: Job, out: Producer, delivered: Delivered) -> None:
        """Send the terminal frame, then write the record."""
        total_s = self.clock.monotonic() - job.received_s
        route = account.route(job, delivered, total_s=total_s)
        try:
            if delivered.end is not None:
                await out.end(delivered.end, route)
            elif delivered.error is not None:
                await out.error(delivered.error, route)
        except FleetError as error:
            # The answer could not be sent: too large for the bus, or no bus. It is then not an answer.
            delivered = replace(delivered, end=None, error=error)
            await self._last_word(out, error)
        await self._write(job, delivered)

    async def _write(self, job: Job, delivered: Delivered) -> None:
        total_s = self.clock.monotonic() - job.received_s
        self._count(delivered.error, total_s)
        await self.recorder.write(account.record(job, delivered, total_s=total_s))

    async def _last_word(self, out: Producer, error: FleetError) -> None:
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
            self.tally.last_error = f"{error.code}: {error.message}"[:200]

    def _cancel(self, running: _Running, why: str) -> None:
        # Once, and not while the last words are sent: a second cancel would cost the job its terminal frame and its record.
        if running.cancelled is None and not running.answering:
            running.cancelled = JobCancelled(f"job {running.job.id} was cancelled: {why}")
            running.task.cancel()
