"""How a try of a durable job ends: its result is stored, or it is handed back, called off or buried; it runs no job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from common.clock import Clock
from common.durable import Note, Stage
from common.errors import (
    BusError,
    CapacityError,
    DeadlineExceeded,
    FleetError,
    RequestError,
    Stopping,
    UnknownDevice,
    UnknownModel,
)
from common.logs import get_logger
from dispatcher.durable.answer import HeldAnswer
from dispatcher.durable.claims import Claims
from dispatcher.durable.letters import Letters
from dispatcher.durable.reading import Reading
from dispatcher.durable.run import DurableRun
from dispatcher.durable.sightings import Sightings
from dispatcher.durable.verdict import (
    DEADLINE,
    Again,
    Bury,
    CallOff,
    RetryPolicy,
    after,
    never_comes,
    no_such,
    none_will_have,
    too_late,
    waiting,
    waiting_for,
)
from dispatcher.fleet import Fleet

log = get_logger("durable")

T = TypeVar("T")

PAUSE_S = 0.25
"""Between two tries to store a result while the server is away."""

FAREWELL_S = 5.0
"""After the stop a result is tried to be stored for so long; then the job is another dispatcher's."""


@dataclass(slots=True, kw_only=True)
class Ending:
    """Ends tries. What must be stored is stored however long the server is away; what only helps others is tried once."""

    clock: Clock
    claims: Claims
    letters: Letters
    reading: Reading
    policy: RetryPolicy
    fleet: Callable[[], Fleet]
    began_s: float
    """When the dispatcher began to hear devices."""
    steady_s: float = 300.0
    """So long the fleet must have been the same, and whole, before a model that it lacks counts as misspelt: after a power cut the
    slowest device may take minutes until its engine answers."""
    sightings: Sightings = field(default_factory=Sightings)
    stop_s: float | None = None
    """When the dispatcher was told to end; not much later it gives up."""

    async def conclude(self, run: DurableRun, answer: HeldAnswer) -> None:
        """Store what the pipeline has left, and acknowledge the job. Raises `BusError` when it must be given up."""
        answer.progress = None  # what is told from here on is newer
        if answer.answer is None:
            await self.failed(run, answer.failure or Stopping("the dispatcher is stopping"))
            return
        note = self._note(run, Stage.DONE, answer=answer.answer)
        try:
            stored = await self._patiently(run, lambda: run.notes.finish(note, retry=run.retry))
        except RequestError as error:  # too large for the bus: it would be again
            await self.failed(run, error)
            return
        await run.pulled.ack()
        log.debug("durable.done", job=run.job, tries=run.tries, first=stored)

    async def failed(self, run: DurableRun, error: FleetError) -> None:
        """Do what follows a try that failed."""
        overdue = isinstance(error, DeadlineExceeded) and self._overdue(run)
        self.sightings.look(self.fleet(), self.clock.monotonic())
        verdict = after(
            error,
            tries=run.tries,
            deliveries=run.pulled.deliveries,
            policy=self.policy,
            overdue=overdue,
            reached=run.reached,
            misnamed=self._misnamed(run, error),
        )
        match verdict:
            case CallOff():
                await self.called_off(run, error)
            case Bury(reason):
                await self.bury(run, reason, self._final(run, reason, error))
            case Again():
                await self.hand_back(run, self._wanting(run, error), verdict)

    async def bury(self, run: DurableRun, reason: str, error: FleetError) -> None:
        """Make it a dead letter."""
        await self._patiently(
            run, lambda: self.letters.bury(run.kept, run.origin, reason, error, tries=run.tries, notes=run.notes)
        )
        await run.pulled.term()

    async def hand_back(self, run: DurableRun, error: FleetError, again: Again) -> None:
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
            await self.quietly(run.notes.tell(note))
            log.info("durable.again", job=run.job, tries=run.tries, error=error.code, delay_s=again.delay_s)
        # The claim goes first: whoever gets the job next must not find it taken.
        if run.claim is not None:
            await self.quietly(self.claims.release(run.claim))
            run.claim = None
        await run.pulled.nak(again.delay_s)

    async def called_off(self, run: DurableRun, error: FleetError) -> None:
        """Store that somebody wanted it no more."""
        note = self._note(run, Stage.CANCELLED, error=error.to_wire())
        await self._patiently(run, lambda: run.notes.finish(note, retry=run.retry))
        await run.pulled.ack()

    def _misnamed(self, run: DurableRun, error: FleetError) -> bool:
        """True when nobody will have what was asked for: 1. The model: the fleet is whole, was so for long, and no device that was
        ever seen has it, as far as is known of it. 2. The device: it was never seen, and the fleet is the same for long."""
        if run.answer is None:
            return False
        job, fleet, seen = run.answer.job, self.fleet(), self.sightings
        match error:
            case UnknownModel():  # 1
                steady = self._steady(job.device)
                return steady and none_will_have(fleet, job.device) and not seen.had(job.model, job.device)
            case UnknownDevice() if job.device is not None:  # 2
                return self._steady(None) and never_comes(fleet, job.device) and not seen.knows(job.device)
            case _:
                return False

    def _steady(self, device: str | None) -> bool:
        """True when one device, or all, are for long as they are."""
        return self.clock.monotonic() - max(self.began_s, self.sightings.since_s(device)) >= self.steady_s

    def _wanting(self, run: DurableRun, error: FleetError) -> FleetError:
        """Give what is told of a job that is handed back: one whose model or device is not there waits for it."""
        if run.answer is None:
            return error
        job, fleet = run.answer.job, self.fleet()
        if isinstance(error, UnknownModel):
            return waiting(fleet, job.model, job.device)
        if isinstance(error, UnknownDevice) and job.device is not None:
            return waiting_for(fleet, job.device)
        return error

    def _final(self, run: DurableRun, reason: str, error: FleetError) -> FleetError:
        """Give what is told of a job that is given up."""
        if reason == DEADLINE:
            return too_late(error, run.notes.newest)
        if reason == UnknownDevice.code and run.answer is not None and run.answer.job.device is not None:
            return no_such(self.fleet(), run.answer.job.device)
        return error

    def _overdue(self, run: DurableRun) -> bool:
        """True when the job's own deadline has passed, and not only the time of one try."""
        try:
            self.reading.job(run.kept)
        except DeadlineExceeded:
            return True
        except RequestError:
            return False
        return False

    async def _patiently(self, run: DurableRun, work: Callable[[], Awaitable[T]]) -> T:
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
        return self.stop_s is not None and self.clock.monotonic() - self.stop_s > FAREWELL_S

    async def quietly(self, work: Awaitable[object]) -> None:
        """Do what only makes things quicker for others."""
        try:
            await work
        except FleetError as error:
            log.debug("durable.unsaid", error=error.code)

    def _note(self, run: DurableRun, state: Stage, **known: object) -> Note:
        return Note(
            job=run.job,
            tenant=run.origin.tenant,
            state=state,
            at_unix_s=self.clock.unix_s(),
            tries=run.tries,
            **known,  # type: ignore[arg-type]  # the fields of a note
        )
