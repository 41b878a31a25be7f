"""Producers that ask through the public client and keep a ledger of every job; they know no fault.

Each job has an id of its producer's choice. The client itself sends it again when the way there or back breaks; an error that a
later try may mend, as a fleet without a device, is met here, as `drover ask --file` does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from common import frames
from common.bus.nats import NatsOptions, connect_nats
from common.client import Drover, chat_request
from common.errors import DuplicateJob, FleetError
from common.subjects import own_inbox
from tests.chaos.ledger import ANSWERED, Account, Entry, account
from tests.chaos.questions import Question
from tests.chaos.wiretap import Wiretap
from tests.commands import GUARD_S

TENANT = "chaos"
SILENCE_S = 60.0
"""A hang guard: the client must have found out long before."""

AGAIN_S = 0.1
"""The pause before a job is sent again: a killed process has been replaced, or its fellows are there."""


LINGER_S = 10.0
"""So long a crowd that is not through yet is waited for when the fault is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Short jobs beside the others, so that a fault meets thousands: at least `jobs`, as long as it lasts, and no more than `per_s`
    in a second."""

    questions: Iterator[Question]
    jobs: int
    per_s: float
    concurrency: int = 16


class Load:
    """Asks questions, so many at once. Open one with `load`."""

    def __init__(self, drover: Drover, questions: Iterator[Question], tap: Wiretap, *, patience_s: float) -> None:
        self.ledger: list[Entry] = []
        self.tap = tap
        self.patience_s = patience_s
        self._drover = drover
        self.questions = questions
        self._running: set[int] = set()
        self._stopped = False
        self._answered = 0
        self._changed = asyncio.Event()
        self.crowded = asyncio.Event()
        """Set when a crowd has asked as much as it should."""

    @property
    def in_flight(self) -> list[Entry]:
        """The jobs under way now."""
        return [entry for entry in self.ledger[-2000:] if id(entry) in self._running]

    def account(self) -> Account:
        """Sum up what became of all jobs."""
        return account(self.ledger, duplicated=self.tap.duplicated(), resent=self.tap.resent())

    def complaints(self) -> list[str]:
        """Say what no fault excuses."""
        wrong = [f"{entry.job}: {entry.wrong}" for entry in self.ledger if entry.wrong][:3]
        doubled = [f"more than one end for {job}" for job in sorted(self.tap.duplicated())[:3]]
        garbled = [f"{self.tap.garbled} frames could not be read"] if self.tap.garbled else []
        return [*wrong, *doubled, *garbled]

    def stop(self) -> None:
        """Begin no new job; those under way are brought to their end."""
        self._stopped = True

    async def answered(self, count: int) -> None:
        """Return when `count` more jobs were answered than now, or no more will be; a crowd does not count."""
        goal = self._answered + count
        async with asyncio.timeout(4 * GUARD_S):
            while self._answered < goal and not self._stopped:
                self._changed.clear()
                await self._changed.wait()

    async def ended(self, entries: Sequence[Entry]) -> None:
        """Return when these jobs have come to their ends."""
        async with asyncio.timeout(self.patience_s + GUARD_S):
            while any(id(entry) in self._running for entry in entries):
                self._changed.clear()
                await self._changed.wait()

    async def work(self, jobs: int | None, concurrency: int) -> None:
        """Ask `jobs` questions, or as many as there is time for until `stop`."""
        numbers = iter(range(jobs)) if jobs is not None else iter(int, 1)

        async def worker() -> None:
            for number in numbers:  # shared: each takes the next one
                if self._stopped:
                    return
                await self.ask(next(self.questions), hold=number % 2 == 1)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(concurrency):
                tasks.create_task(worker())
        self._stopped = True
        self._changed.set()

    async def linger(self) -> None:
        """Give a crowd some time to have asked as much as it should."""
        try:
            async with asyncio.timeout(LINGER_S):
                await self.crowded.wait()
        except TimeoutError:
            pass  # the number of jobs tells

    async def crowd(self, crowd: Crowd) -> None:
        """Ask the questions of a crowd, so many a second, or as fast as they are answered."""
        began_s = _now()
        numbers = itertools.count()

        async def worker() -> None:
            for number in numbers:  # shared: each takes the next one
                if number >= crowd.jobs:
                    self.crowded.set()
                await asyncio.sleep(max(0.0, began_s + number / crowd.per_s - _now()))
                if self._stopped:
                    return
                await self._bring(next(crowd.questions), {"hold": number % 2 == 1})

        async with asyncio.TaskGroup() as tasks:
            for _ in range(crowd.concurrency):
                tasks.create_task(worker())

    async def ask(self, question: Question, **fields: object) -> Entry:
        """Bring one job to its end, however often it must be sent."""
        entry = await self._bring(question, fields)
        self._answered += entry.outcome == ANSWERED
        self._changed.set()
        return entry

    async def _bring(self, question: Question, fields: dict[str, object]) -> Entry:
        entry = Entry(job=question.job, expected=question.expected, sent_s=_now())
        self.ledger.append(entry)
        self._running.add(id(entry))
        try:
            await self._persist(entry, question, fields)
        finally:
            self._running.discard(id(entry))
            entry.ended_s = _now()
            if entry.outcome == ANSWERED:
                entry.wrong = question.fault_of(entry.text)
            self._changed.set()
        return entry

    async def _persist(self, entry: Entry, question: Question, fields: dict[str, object]) -> None:
        while True:
            entry.submissions += 1
            wait_s = AGAIN_S
            try:
                await self._once(entry, question, fields)
            except TimeoutError:
                entry.outcome = "silence"
            except FleetError as error:
                entry.outcome = error.code
                if not (error.retryable or isinstance(error, DuplicateJob)):
                    return
                wait_s = max(wait_s, min(error.retry_after_s or 0.0, 2.0))
            else:
                return
            entry.wrong = entry.wrong or question.fault_of(entry.text, whole=False)
            if _now() + wait_s > entry.sent_s + self.patience_s:
                return
            entry.setbacks[entry.outcome] += 1
            await asyncio.sleep(wait_s)

    async def _once(self, entry: Entry, question: Question, fields: dict[str, object]) -> None:
        """Send the job and read its stream. Raises what the stream ends with, or `TimeoutError` when it ends with nothing."""
        entry.text = ""
        # Every job is to meet the fleet and its faults.
        request = chat_request(question.prompt, model=question.model, job=question.job, cache="off", **fields)
        async with aclosing(self._drover.frames(request)) as stream:
            while True:
                async with asyncio.timeout(SILENCE_S):
                    frame = await anext(stream)
                match frame:
                    case frames.Token():
                        entry.text += frame.text
                    case frames.Err():
                        raise frame.error
                    case frames.End():
                        entry.outcome = ANSWERED
                        attempts = (frame.route or {}).get("attempts", ())
                        entry.attempts += len(attempts)
                        entry.beside += sum(bool(attempt.get("beside")) for attempt in attempts)
                        return


@asynccontextmanager
async def load(
    url: str,
    questions: Iterator[Question],
    *,
    jobs: int | None = None,
    concurrency: int = 16,
    patience_s: float = 45.0,
    crowd: Crowd | None = None,
) -> AsyncIterator[Load]:
    """Ask in the background of the context; leaving it waits until each job has come to its end, after `jobs` or at once."""
    tap = Wiretap()
    options = NatsOptions(urls=(url,), name="wiretap")
    async with Drover.connect(url, tenant=TENANT) as drover, connect_nats(options) as spy:
        # A connection of its own: what is sent to a producer that has lost its own must be heard as well.
        await spy.subscribe(f"{own_inbox('producer', TENANT)}.*.i.>", tap)
        await spy.subscribe(f"{own_inbox('bridge')}.*.i.>", tap)
        await spy.flush()
        asked = Load(drover, questions, tap, patience_s=patience_s)
        async with asyncio.TaskGroup() as tasks:
            if concurrency:
                tasks.create_task(asked.work(jobs, concurrency))
            if crowd is not None:
                tasks.create_task(asked.crowd(crowd))
            yield asked
            if crowd is not None:
                await asked.linger()
            if jobs is None:
                asked.stop()
        await spy.flush()


def _now() -> float:
    return asyncio.get_running_loop().time()
