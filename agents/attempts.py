"""Which attempts run here, which have run, and which were cancelled before they came; it runs none itself.

The job and its cancellation travel on two subjects, so either may arrive first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from agents.outbox import Outbox
from common.clock import Clock
from common.errors import FleetError, JobCancelled
from common.frames import Phase
from common.messages import Dispatch

Key = tuple[str, int]
"""Job and attempt."""

ANY_ATTEMPT = 0
"""Stands for all attempts of a job in a cancellation; real ones count from 1."""

CANCEL_MEMORY_S = 60.0
"""A job that comes later than this after its cancellation has been under way longer than any dispatcher waits for its accept."""

FINISHED_MEMORY_S = 60.0


class Repeated(Exception):  # no error: the first delivery of this attempt answers
    """This very attempt was delivered before."""


class Running:
    """An attempt at work, inside its `scope`. `end` stops it from outside, with the error that its stream then closes with."""

    def __init__(self, dispatch: Dispatch, outbox: Outbox, *, phase: Phase, now_s: float, left_s: float | None) -> None:
        self.dispatch = dispatch
        self.outbox = outbox
        self.phase = phase
        self.cold = phase is Phase.LOAD
        self.started_s = now_s
        self.first_token_s: float | None = None
        self.verdict: FleetError | None = None
        self.scope = asyncio.timeout(left_s)

    def see_token(self, now_s: float) -> None:
        """Note that the model has begun to answer."""
        if self.first_token_s is None:
            self.first_token_s = now_s - self.started_s
            self.phase = Phase.DECODE

    def end(self, verdict: FleetError) -> None:
        """Stop the work as soon as the loop turns; the first verdict stays."""
        if self.verdict is None and not self.scope.expired():
            self.verdict = verdict
            self.scope.reschedule(asyncio.get_running_loop().time())


class Memory:
    """Keys remembered for a while, oldest forgotten first, and never more than `most`."""

    def __init__(self, clock: Clock, keep_s: float, *, most: int = 10_000) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._most = most
        self._until: dict[Key, float] = {}

    def add(self, key: Key) -> None:
        """Remember a key from now on."""
        now = self._clock.monotonic()
        self._until.pop(key, None)
        self._until[key] = now + self._keep_s
        while len(self._until) > self._most or next(iter(self._until.values())) <= now:
            del self._until[next(iter(self._until))]

    def __contains__(self, key: Key) -> bool:
        return self._until.get(key, 0.0) > self._clock.monotonic()


class Attempts:
    """The table of one worker."""

    def __init__(self, clock: Clock) -> None:
        self._running: dict[Key, Running] = {}
        self._finished = Memory(clock, FINISHED_MEMORY_S)
        self._cancelled = Memory(clock, CANCEL_MEMORY_S)
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = asyncio.Event()

    def __iter__(self) -> Iterator[Running]:
        return iter(tuple(self._running.values()))

    def __len__(self) -> int:
        return len(self._running)

    def check(self, job: str, attempt: int) -> None:
        """Raise `Repeated` for what runs or has run, `JobCancelled` for what was cancelled before it came."""
        key = (job, attempt)
        if key in self._running or key in self._finished:
            raise Repeated
        if key in self._cancelled or (job, ANY_ATTEMPT) in self._cancelled:
            self._finished.add(key)
            raise JobCancelled(f"job {job} was cancelled before it reached the device")

    @contextmanager
    def run(self, running: Running) -> Iterator[None]:
        """Keep an attempt in the table while it is at work."""
        key = (running.dispatch.job, running.dispatch.attempt)
        self._running[key] = running
        self._idle.clear()
        self._busy.set()
        try:
            yield
        finally:
            del self._running[key]
            self._finished.add(key)
            if not self._running:
                self._busy.clear()
                self._idle.set()

    def cancel(self, job: str, attempt: int = ANY_ATTEMPT) -> bool:
        """End what runs of a job, or remember the cancellation for what may still come; True if something ran."""
        found = [
            one for (name, number), one in self._running.items() if name == job and attempt in (ANY_ATTEMPT, number)
        ]
        for one in found:
            one.end(JobCancelled(f"job {job} was cancelled"))
        if not found:
            self._cancelled.add((job, attempt))
        return bool(found)

    async def until_idle(self) -> None:
        """Return when nothing runs."""
        await self._idle.wait()

    async def until_busy(self) -> None:
        """Return when something runs."""
        await self._busy.wait()
