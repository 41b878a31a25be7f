"""The jobs in the house: which run, and how one of them is ended or left from outside; it runs none, and knows no step."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from common.errors import FleetError, JobCancelled
from dispatcher.delivery.answer import SharedAnswer
from dispatcher.delivery.kept import Key
from dispatcher.delivery.sink import Followed
from dispatcher.outcomes import Job
from dispatcher.sharing import Inquiry

ON_REQUEST = "its user, or an administrator, asked for that"
"""Why a job ends that somebody cancels: whoever reads it may be another than who did so, and no order says who it is."""


@dataclass(slots=True, eq=False)
class Running:
    """A job in the house. `ended_by` is set when somebody ends it; `last_words` from its last words on; `inquiry` while another
    dispatcher, or the store, may have it; `leaving` ends it for want of listeners."""

    job: Job
    out: Followed
    inquiry: Inquiry | None = None
    task: asyncio.Task[None] | None = None
    begun: bool = False
    last_words: bool = False
    ended_by: FleetError | None = None
    leaving: asyncio.TimerHandle | None = None

    @property
    def answering(self) -> bool:
        """True when it is too late to end it: its answer is on its way."""
        return self.last_words or (self.inquiry is not None and self.inquiry.telling)

    def end(self, error: FleetError) -> None:
        """End it with this error; nothing happens when it is ending already."""
        # Once, and not while the last words are sent: a second cancel would cost the job its terminal frame and its record.
        if self.ended_by is None and not self.answering:
            self.ended_by = error
            if self.inquiry is not None:
                self.inquiry.ended = True
            # A task that is cancelled before its first step never takes it; it then finds `ended_by` by itself.
            if self.begun and self.task is not None:
                self.task.cancel()

    def deserted(self, keep_s: float) -> None:
        """Nobody listens any more: end it, now or when nobody has come by then."""
        self.stay()
        if keep_s > 0:
            self.leaving = asyncio.get_running_loop().call_later(keep_s, self._give_up)
        else:
            self._give_up()

    def _give_up(self) -> None:
        if isinstance(self.out, SharedAnswer) and self.out.deserted:
            self.end(JobCancelled(f"job {self.job.id} was cancelled: nobody waits for it any more"))

    def stay(self) -> None:
        """Forget that nobody listened: somebody comes, or the job is over."""
        if self.leaving is not None:
            self.leaving.cancel()
            self.leaving = None


class Register:
    """All of them, by tenant and id."""

    def __init__(self) -> None:
        self._jobs: dict[Key, Running] = {}
        self._idle = asyncio.Event()

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Running]:
        return iter(list(self._jobs.values()))

    def add(self, running: Running) -> None:
        """Let a job in."""
        self._jobs[running.job.tenant, running.job.id] = running

    def remove(self, running: Running) -> None:
        """Let a job go: it is over."""
        running.stay()
        del self._jobs[running.job.tenant, running.job.id]
        if not self._jobs:
            self._idle.set()

    async def idle(self) -> None:
        """Return when there is none."""
        while self._jobs:
            self._idle.clear()
            await self._idle.wait()

    def get(self, key: Key) -> Running | None:
        """Give a job by its whole name."""
        return self._jobs.get(key)

    def find(self, job_id: str, tenant: str | None) -> Running | None:
        """Give a job by its id. One that several tenants use needs the tenant: nobody's else is touched."""
        if tenant is not None:
            return self._jobs.get((tenant, job_id))
        found = [running for (_, name), running in self._jobs.items() if name == job_id]
        return found[0] if len(found) == 1 else None

    def cancel(self, job_id: str, why: str, *, tenant: str | None) -> bool:
        """Cancel a job; True when it is here, and not just being answered."""
        found = self.find(job_id, tenant)
        if found is None or found.answering:
            return False
        found.end(JobCancelled(f"job {job_id} was cancelled: {why}"))
        return True

    def leave(self, job_id: str, reply: str, *, tenant: str | None, keep_s: float) -> bool:
        """Let one party go, known by where it listens; True when it was here. The last one takes the job with it, after the time
        that it, or the request, asked for."""
        found = self.find(job_id, tenant)
        if found is None or not isinstance(found.out, SharedAnswer):
            return False
        listener = found.out.at(reply)
        if listener is not None:
            found.out.leave(listener, keep_s=keep_s)
        return listener is not None
