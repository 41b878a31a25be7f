"""Which attempts run here, which have run, and which were cancelled before they came; it runs none itself.

An attempt is known by its reply subject, of which a dispatcher makes a new one for each. The job's own id says less: whoever
sent the job chose it, so it may come again, from another tenant, or through another dispatcher. The job and its cancellation
travel on two subjects, so either may arrive first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from agents.energy.charge import Charge
from agents.outbox import Outbox
from common.clock import Clock
from common.errors import DeviceBusy, FleetError, JobCancelled
from common.frames import Phase
from common.messages import Dispatch

CANCEL_MEMORY_S = 60.0
"""A job that comes later than this after its cancellation has been under way longer than any dispatcher waits for its accept."""

FINISHED_MEMORY_S = 60.0
"""Of those that ran, and of those that were refused."""


class Repeated(Exception):  # no error: the first delivery of this attempt answers
    """This very attempt was delivered before."""


class Running:
    """An attempt at work, inside its `scope`. `end` stops it from outside, with the error that its stream then closes with.

    `heard_s` is when the backend produced something last, or got the request; `charge` is what it takes of the device.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        outbox: Outbox,
        *,
        phase: Phase,
        now_s: float,
        left_s: float | None,
        charge: Charge | None = None,
    ) -> None:
        self.dispatch = dispatch
        self.outbox = outbox
        self.charge = charge or Charge()
        self.phase = phase
        self.cold = phase is Phase.LOAD
        self.started_s = now_s
        self.heard_s = now_s
        self.first_token_s: float | None = None
        self.verdict: FleetError | None = None
        self.scope = asyncio.timeout(left_s)

    def hear(self, now_s: float, *, visible: bool) -> None:
        """Note that the backend produced something; thoughts and tool calls are work, and only visible text is a first token."""
        self.heard_s = now_s
        self.phase = Phase.DECODE
        if visible and self.first_token_s is None:
            self.first_token_s = now_s - self.started_s

    def end(self, verdict: FleetError) -> None:
        """Stop the work as soon as the loop turns; the first verdict stays."""
        if self.verdict is None and not self.scope.expired():
            self.verdict = verdict
            self.scope.reschedule(asyncio.get_running_loop().time())


class Memory:
    """Reply subjects remembered for a while, oldest forgotten first, and never more than `most`."""

    def __init__(self, clock: Clock, keep_s: float, *, most: int = 10_000) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._most = most
        self._until: dict[str, float] = {}

    def add(self, reply: str) -> None:
        """Remember one from now on."""
        now = self._clock.monotonic()
        self._until.pop(reply, None)
        self._until[reply] = now + self._keep_s
        while len(self._until) > self._most or next(iter(self._until.values())) <= now:
            del self._until[next(iter(self._until))]

    def __contains__(self, reply: str) -> bool:
        return self._until.get(reply, 0.0) > self._clock.monotonic()


class Attempts:
    """The table of one worker."""

    def __init__(self, clock: Clock) -> None:
        self._running: dict[str, Running] = {}
        self._finished = Memory(clock, FINISHED_MEMORY_S)
        self._refused = Memory(clock, FINISHED_MEMORY_S)
        self._cancelled = Memory(clock, CANCEL_MEMORY_S)
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = asyncio.Event()

    def __iter__(self) -> Iterator[Running]:
        return iter(tuple(self._running.values()))

    def __len__(self) -> int:
        return len(self._running)

    def check(self, job: str, reply: str) -> None:
        """Raise `Repeated` for what runs or has run, `DeviceBusy` for what was refused, and `JobCancelled` for what was cancelled
        before it came."""
        if reply in self._running or reply in self._finished:
            raise Repeated
        if reply in self._refused:
            # Its dispatcher has turned elsewhere, and would not hear it; if the refusal was lost, it hears it now.
            raise DeviceBusy(f"the device has refused this attempt of job {job} before: try another one")
        if reply in self._cancelled:
            self._finished.add(reply)
            raise JobCancelled(f"job {job} was cancelled before it reached the device")

    def refuse(self, reply: str) -> None:
        """Never run this attempt, though there may be room when it is delivered again."""
        self._refused.add(reply)

    @contextmanager
    def run(self, running: Running) -> Iterator[None]:
        """Keep an attempt in the table while it is at work."""
        reply = running.outbox.reply
        self._running[reply] = running
        self._idle.clear()
        self._busy.set()
        try:
            yield
        finally:
            del self._running[reply]
            self._finished.add(reply)
            if not self._running:
                self._busy.clear()
                self._idle.set()

    def cancel(self, reply: str) -> bool:
        """End the attempt that answers to `reply`, or remember the cancellation for when it comes; True if it ran."""
        one = self._running.get(reply)
        if one is None:
            self._cancelled.add(reply)
            return False
        one.end(JobCancelled(f"job {one.dispatch.job} was cancelled"))
        return True

    def cancel_job(self, job: str, attempt: int | None = None) -> bool:
        """End what runs of a job, whoever sent it; True if something ran. What may still come is spared: its id says too little."""
        found = [
            one for one in self if one.dispatch.job == job and (attempt is None or one.dispatch.attempt == attempt)
        ]
        for one in found:
            one.end(JobCancelled(f"job {job} was cancelled"))
        return bool(found)

    async def until_idle(self) -> None:
        """Return when nothing runs."""
        await self._idle.wait()

    async def until_busy(self) -> None:
        """Return when something runs."""
        await self._busy.wait()
