"""Producers of durable jobs, and an auditor that reads every note stored of them; same ledger, and they know no fault.

What counts is what the streams hold: a job is answered when one final note stands, and duplicated when two do.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from common.bus.jetstream import JetStream
from common.bus.nats import NatsOptions, connect_nats
from common.bus.streams import ConsumerSpec
from common.client import Drover, chat_request
from common.dead_letters import DeadLetters
from common.durable import JOB_HEADER, Names, Note, Stage, message_id, read_note
from common.errors import FleetError
from common.messages import Priority
from common.subjects import Subjects
from tests.chaos.ledger import ANSWERED, Account, Entry, account
from tests.chaos.load import AGAIN_S, TENANT
from tests.chaos.questions import Question
from tests.commands import GUARD_S

POISON = 100
"""One job in so many can't be read, and must become a dead letter."""

_UNDER_WAY = 128
"""Jobs that are submitted and not over: enough for the fleet, and a fault meets all of them."""

_PRODUCERS = 16
_AUDITOR = "auditor"


class DurableLoad:
    """Submits jobs, each `copies` times at once, over several connections in turn. Open one with `durable_load`."""

    def __init__(self, drovers: Sequence[Drover], streams: JetStream, *, copies: int) -> None:
        self.ledger: list[Entry] = []
        self.finals: dict[str, list[Note]] = {}
        self.known = 0
        """Submissions that the queue had already, and said so."""
        self.left = -1
        """Jobs that lay in the queue in the end; less than none when nobody could look."""
        self.letters: Counter[str] = Counter()
        self._drovers = itertools.cycle(drovers)
        self._streams = streams
        self._copies = copies
        self._names, self._subjects = Names(), Subjects()
        self._seen: set[int] = set()
        self._questions: dict[str, Question] = {}
        self._changed = asyncio.Event()
        self._submitted = False

    def account(self) -> Account:
        """Sum up what became of all jobs."""
        twice = [job for job, notes in self.finals.items() if len(notes) > 1]
        return account(self.ledger, duplicated=twice)

    def complaints(self) -> list[str]:
        """Say what no fault excuses."""
        poison = sum(entry.job.startswith("poison") for entry in self.ledger)
        wrong = [f"{entry.job}: {entry.wrong}" for entry in self.ledger if entry.wrong][:3]
        if self.left:
            wrong.append(f"{self.left} jobs are in the queue still" if self.left > 0 else "the queue could not be read")
        if self.letters["bad_request"] != poison:
            wrong.append(f"{poison} jobs could not be read, and {self.letters['bad_request']} are dead letters for it")
        if failed := [entry for entry in self.ledger if entry.outcome not in (ANSWERED, "bad_request")]:
            wrong.append(f"{failed[0].job} ended as {failed[0].outcome}, and {len(failed) - 1} more did not end well")
        return wrong

    @property
    def open_jobs(self) -> list[Entry]:
        """The jobs that the queue took, or may have taken, and that have no final note yet."""
        return [entry for entry in self.ledger if entry.job not in self.finals]

    async def over(self, count: int) -> None:
        """Return when `count` more jobs are over than now, or all are."""
        goal = len(self.finals) + count
        await self._until(lambda: len(self.finals) >= goal or (self._submitted and not self.open_jobs))

    async def next_final(self) -> None:
        """Return when one more job is over."""
        await self.over(1)

    async def submit(self, questions: Iterator[Question], jobs: int) -> None:
        """Submit so many jobs."""
        numbers = iter(range(jobs))

        async def producer() -> None:
            for number in numbers:  # shared: each takes the next one
                await self._until(lambda: len(self.ledger) - len(self.finals) < _UNDER_WAY)
                await (self._poison(number) if number % POISON == POISON - 1 else self._job(next(questions), number))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_PRODUCERS):
                tasks.create_task(producer())
        self._submitted = True
        self._changed.set()

    async def _job(self, question: Question, number: int) -> None:
        entry = self._enter(question.job, question.expected)
        self._questions[question.job] = question
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._copies):
                tasks.create_task(self._accepted(entry, question, number))
        if self._copies > 1 and number % 10 == 0:
            await self._until(lambda: question.job in self.finals)
            await self._accepted(entry, question, number)

    async def _accepted(self, entry: Entry, question: Question, number: int) -> None:
        """Submit a job until the queue has it: the client's own tries are over when the broker is away for long."""
        request = chat_request(question.prompt, model=question.model, job=question.job, cache="off")
        priority = tuple(Priority)[number % len(Priority)]
        entry.submissions += 1
        async with asyncio.timeout(2 * GUARD_S):
            while True:
                try:
                    taken = await next(self._drovers).durable.submit(request, priority=priority)
                except FleetError as error:
                    if not error.retryable:
                        raise
                    entry.setbacks[error.code] += 1
                    await asyncio.sleep(AGAIN_S)
                else:
                    self.known += taken.known
                    return

    async def _poison(self, number: int) -> None:
        """Store what is no request, as a stranger may: nobody checks it at the door."""
        entry = self._enter(f"poison-{number}", "")
        subject = self._subjects.jobs(TENANT, Priority.NORMAL)
        entry.submissions += 1
        async with asyncio.timeout(2 * GUARD_S):
            while True:
                try:
                    await self._streams.publish(
                        subject,
                        b'{"prompt": 7}',
                        msg_id=message_id(TENANT, entry.job),
                        headers={JOB_HEADER: entry.job},
                    )
                except FleetError as error:
                    entry.setbacks[error.code] += 1
                    await asyncio.sleep(AGAIN_S)
                else:
                    return

    def _enter(self, job: str, expected: str) -> Entry:
        entry = Entry(job=job, expected=expected, sent_s=_now())
        self.ledger.append(entry)
        return entry

    async def audit(self) -> None:
        """Read all notes, for ever; a broker that is away is waited for."""
        results = self._names.results
        spec = ConsumerSpec(
            stream=results, name=_AUDITOR, subject=self._subjects.result(TENANT, "*"), ack_wait_s=5.0, max_deliver=1000
        )
        async with self._streams.puller(results, _AUDITOR) as puller:
            declared = False
            while True:
                try:
                    if not declared:
                        await self._streams.declare_consumer(spec)
                        declared = True
                    for pulled in await puller.fetch(500, wait_s=1.0):
                        self._read(pulled.kept.seq, read_note(pulled.kept))
                        await pulled.ack()
                except FleetError:
                    await asyncio.sleep(AGAIN_S)

    def _read(self, seq: int, note: Note) -> None:
        if seq in self._seen or not note.final:
            return
        self._seen.add(seq)
        self.finals.setdefault(note.job, []).append(note)
        self._changed.set()

    async def settled(self) -> None:
        """Return when all jobs are over and acknowledged, or no more will be; then judge them."""
        try:
            async with asyncio.timeout(GUARD_S):
                await self._until(lambda: not self.open_jobs)
        except TimeoutError:
            pass  # the ledger tells which are lost
        try:
            async with asyncio.timeout(GUARD_S):
                while await self._look():  # noqa: ASYNC110  # a queue has no event for being empty
                    await asyncio.sleep(AGAIN_S)
        except TimeoutError:
            pass  # it is told as it is
        for entry in self.ledger:
            self._judge(entry)

    async def _look(self) -> bool:
        """Count the jobs in the queue and the dead letters; True as long as there is something to wait for.

        The jobs are read: after a kill, the number that nats-server 2.9.10 gives may be wrong.
        """
        seq, left = 1, 0
        try:
            while (kept := await self._streams.next(self._names.jobs, self._subjects.jobs("*", "*"), seq)) is not None:
                left, seq = left + 1, kept.seq + 1
            filed = [filed async for filed in DeadLetters(self._streams, self._subjects).all(tenant=TENANT)]
        except FleetError:
            return True  # the broker is not back yet
        self.left, self.letters = left, Counter(one.letter.reason for one in filed)
        return left > 0

    def _judge(self, entry: Entry) -> None:
        notes = self.finals.get(entry.job)
        if not notes:
            return
        note = notes[0]
        entry.attempts = note.tries
        entry.ended_s = entry.sent_s
        if note.state is Stage.DONE and note.answer is not None:
            entry.outcome, entry.text = ANSWERED, str(note.answer.get("text", ""))
            entry.wrong = self._questions[entry.job].fault_of(entry.text)
        else:
            entry.outcome = note.failure.code if note.failure is not None else str(note.state)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._changed.clear()
            await self._changed.wait()


@asynccontextmanager
async def durable_load(
    url: str, questions: Iterator[Question], *, jobs: int, copies: int = 1, lines: Sequence[str] = ()
) -> AsyncIterator[DurableLoad]:
    """Submit in the background of the context, over `lines` if given; leaving it waits until each job has come to its end."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect_nats(NatsOptions(urls=(url,), name="auditor")))
        drovers = [await stack.enter_async_context(Drover.connect(line, tenant=TENANT)) for line in lines or (url,)]
        asked = DurableLoad(drovers, JetStream(bus), copies=copies)
        async with asyncio.TaskGroup() as tasks:
            auditing = tasks.create_task(asked.audit())
            submitting = tasks.create_task(asked.submit(questions, jobs))
            yield asked
            await asyncio.wait({submitting})
            await asked.settled()
            auditing.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()
