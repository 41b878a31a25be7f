"""What requests use of a budget, through the gate and a real ledger, with a dispatcher whose jobs end when a test says so: whatever
comes twice, hangs up or is told again, each job that ran is paid once."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from common import codec, frames
from common.bus import Delivery, Subscription
from common.bus.memory import MemoryBroker, MemoryBus, connect_memory
from common.client import Drover
from common.errors import BadRequest, FleetError
from common.key_requests import AddKey, Limit, ListKeys
from common.keys import Grant, Unit
from common.messages import ChatRequest, Options, Usage
from common.records import JobEntry
from common.subjects import Subjects
from dispatcher.bridge.asking import Asking
from dispatcher.bridge.callers import granted
from dispatcher.bridge.files.desk import Desk
from dispatcher.bridge.files.sandbox import Sandbox
from dispatcher.bridge.gate import Gate
from dispatcher.bridge.gate.gate import Rules
from dispatcher.fleet import Fleet
from dispatcher.ledger import key_changes, schema
from dispatcher.ledger.database import Database, Place, opened
from dispatcher.ledger.key_desk import KeyDesk
from dispatcher.ledger.store import Store
from dispatcher.ledger.tables import reservations
from tests.integration.ledger.builders import NOON, came, job

SUBJECTS = Subjects()
HANG_S = 30.0
DONE, CUT = 40, 5
"""Tokens of a job that ended, and of one that was cancelled."""


class HandClock:
    def __init__(self) -> None:
        self.now_s = NOON

    def monotonic(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s


class Dispatcher:
    """Lets requests join a job that runs, tells answers again, cancels what nobody waits for, and writes records: but jobs end when
    they are told to."""

    def __init__(self, bus: MemoryBus, tasks: asyncio.TaskGroup) -> None:
        self.running: dict[str, list[str]] = {}
        self.kept: set[str] = set()
        self.records: list[JobEntry] = []
        self.took = 0
        self.silent = False
        """Takes jobs without a word."""
        self.slow = False
        """Tells answers again, but not their ends."""
        self.refusing = False
        self.work: Subscription | None = None
        self.stirred = asyncio.Event()
        """Set when a request comes."""
        self._bus = bus
        self._tasks = tasks

    def hear_job(self, delivery: Delivery) -> None:
        self.stirred.set()
        name = str(codec.decode(delivery.data)["job"])
        if self.refusing:
            self._say(delivery.reply, frames.Err(BadRequest("no")))
        elif name in self.kept:
            told = (frames.Ack(name), frames.Token(0, "hi"), frames.End(tokens=1, route={"replayed": True}))
            self._say(delivery.reply, *told[: 2 if self.slow else 3])
        else:
            self.running.setdefault(name, []).append(delivery.reply)
            if not self.silent:
                self._say(delivery.reply, frames.Ack(name))

    def hear_cancel(self, delivery: Delivery) -> None:
        name, reply = SUBJECTS.tokens(delivery.subject)[1], codec.decode(delivery.data).get("reply")
        waiting = self.running.get(name, [])
        if reply in waiting:
            waiting.remove(reply)
            if not waiting:
                del self.running[name]
                self._record(name, CUT, "cancelled")

    async def leave(self) -> None:
        """Hear no more jobs."""
        assert self.work is not None
        await self.work.unsubscribe()

    def finish(self, name: str) -> None:
        for reply in self.running.pop(name):
            self._say(reply, frames.Token(0, "hi"), frames.End(tokens=1))
        self.kept.add(name)
        self._record(name, DONE, "done")

    def _record(self, name: str, tokens: int, state: str) -> None:
        self.took += tokens
        one = job(len(self.records) + 1, job=name, tenant="acme", state=state, received_unix_s=NOON)
        self.records.append(replace(one, usage=Usage(completion_tokens=tokens), energy=None, cost_usd=None))

    def _say(self, reply: str, *told: frames.Frame) -> None:
        async def say() -> None:
            for one in told:
                await self._bus.publish(reply, codec.encode(frames.to_wire(one)))

        self._tasks.create_task(say())


@dataclass(kw_only=True)
class House:
    """A key with a budget, and the requests that it sends."""

    database: Database
    desk: KeyDesk
    asking: Asking
    dispatcher: Dispatcher
    grant: Grant
    clock: HandClock
    open: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    written: int = 0

    async def ask(self, who: str, name: str, tasks: asyncio.TaskGroup) -> None:
        """Send a request; return when it has gone as far as it can by itself."""
        self.dispatcher.stirred = stirred = asyncio.Event()
        self.open[who] = task = tasks.create_task(self._ask(name))
        task.add_done_callback(lambda _: stirred.set())
        async with asyncio.timeout(HANG_S):
            await stirred.wait()
            if self.dispatcher.refusing or (name in self.dispatcher.kept and not self.dispatcher.slow):
                await task

    async def _ask(self, name: str) -> None:
        chat = ChatRequest(prompt="hi", job=name, options=Options(max_tokens=60))
        try:
            async with aclosing(self.asking.frames(chat, granted(self.grant))) as source:
                async for _ in source:
                    pass
        except FleetError:
            pass  # it is refused, as some are to be

    async def hang_up(self, who: str) -> None:
        task = self.open.pop(who)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)  # the cancel is heard

    async def finish(self, name: str) -> None:
        self.dispatcher.finish(name)
        async with asyncio.timeout(HANG_S):
            for who, task in list(self.open.items()):
                if who.endswith(name):
                    del self.open[who]
                    await task

    async def write(self) -> None:
        """Have the ledger read the records that it has not, and the one before once more."""
        await Store(self.database, clock=self.clock.unix_s).write(
            came(*self.dispatcher.records[max(0, self.written - 1) :])
        )
        self.written = len(self.dispatcher.records)

    async def lapse(self) -> None:
        self.clock.now_s += 7200.0
        await self.desk.reserving.lapse()

    async def used(self) -> tuple[int, int]:
        """Give what is spent and what is set aside."""
        (key,) = await key_changes.found(self.database, ListKeys(which=self.grant.key), self.clock.unix_s())
        return key.budgets[0].spent, key.budgets[0].reserved

    async def accounted(self) -> set[str]:
        """Name the jobs whose records will be spent."""
        async with self.database.reading() as connection:
            return set((await connection.execute(select(reservations.c.job))).scalars())


@pytest.fixture(scope="module")
def made_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the tables, to be copied."""
    file = tmp_path_factory.mktemp("made") / "ledger.db"

    async def make() -> None:
        async with opened(Place(file=file)) as database:
            await schema.upgrade(database)

    asyncio.run(make())
    return file


@asynccontextmanager
async def house(made_file: Path, directory: Path) -> AsyncIterator[House]:
    clock, broker = HandClock(), MemoryBroker(rng=random.Random(1))
    place = Place(file=Path(shutil.copyfile(made_file, directory / "ledger.db")))
    async with (
        opened(place) as database,
        connect_memory(broker) as theirs,
        connect_memory(broker) as ours,
        asyncio.TaskGroup() as tasks,
    ):
        desk = KeyDesk(theirs, SUBJECTS, database, clock=clock.unix_s)
        dispatcher = Dispatcher(theirs, tasks)
        dispatcher.work = await theirs.subscribe(SUBJECTS.work("chat", "*"), dispatcher.hear_job)
        await theirs.subscribe(SUBJECTS.control("*", "cancel", "*"), dispatcher.hear_cancel)
        limit = Limit(unit=Unit.TOKENS, limit=10**6)
        made = await key_changes.add(database, AddKey(name="k", tenant="acme", budgets=(limit,)), NOON)
        gate = Gate(Rules(tenant="acme"), ours, SUBJECTS, clock, lambda: Fleet({}))
        async with desk.open(), Drover.over(ours, tenant="acme", patience_s=0) as drover:
            asking = Asking(drover=drover, gate=gate, files=Desk(Sandbox(), lambda: ours.max_payload))
            yield House(
                database=database, desk=desk, asking=asking, dispatcher=dispatcher, grant=made.grant, clock=clock
            )


Steps = list[tuple[str, ...]]


async def play(h: House, steps: Steps, tasks: asyncio.TaskGroup) -> None:
    for verb, *told in steps:
        match verb:
            case "ask":
                await h.ask(told[0] + told[1], told[1], tasks)
            case "hang up":
                await h.hang_up(told[0] + told[1])
            case "finish":
                await h.finish(told[0])
            case "silent" | "slow" | "refusing":
                setattr(h.dispatcher, verb, True)
            case _:
                actions: dict[str, Callable[[], Awaitable[Any]]] = {
                    "write": h.write,
                    "lapse": h.lapse,
                    "leave": h.dispatcher.leave,
                }
                await actions[verb]()
        assert set(h.dispatcher.running) <= await h.accounted()


ALONE: Steps = [("ask", "a", "x"), ("finish", "x"), ("write",)]


@pytest.mark.parametrize(
    ("steps", "spent", "reserved"),
    [
        (ALONE, DONE, 0),
        ([("ask", "a", "x"), ("ask", "b", "x"), ("hang up", "a", "x"), ("finish", "x"), ("write",)], DONE, 0),
        ([("silent",), ("ask", "a", "x"), ("ask", "b", "x"), ("hang up", "a", "x"), ("finish", "x"), ("write",)], DONE, 0),
        ([("silent",), ("ask", "a", "x"), ("hang up", "a", "x"), ("write",)], CUT, 0),
        ([*ALONE, ("ask", "b", "x")], DONE, 0),
        ([("ask", "a", "x"), ("finish", "x"), ("ask", "b", "x"), ("write",)], DONE, 0),
        ([*ALONE, ("slow",), ("ask", "b", "x"), ("hang up", "b", "x"), ("lapse",)], DONE, 0),
        ([("ask", "a", "x"), ("hang up", "a", "x"), ("ask", "a", "x"), ("write",), ("finish", "x"), ("write",)], CUT + DONE, 0),
        ([("refusing",), ("ask", "a", "x")], 0, 0),
        ([("leave",), ("ask", "a", "x")], 0, 0),
    ],
    ids=[
        "once",
        "the-first-hangs-up",
        "before-it-is-accepted",
        "alone-before-it-is-accepted",
        "told-again",
        "told-again-before-the-record",
        "told-again-in-part",
        "cancelled-and-sent-again",
        "refused",
        "nobody-there",
    ],
)  # fmt: skip
async def test_each_run_is_paid_once(steps: Steps, spent: int, reserved: int, made_file: Path, tmp_path: Path) -> None:
    """However its requests come and go; nothing stays set aside."""
    async with house(made_file, tmp_path) as h, asyncio.TaskGroup() as tasks:
        await play(h, steps, tasks)
        used = await h.used()

    assert (spent, reserved) == used


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_requests_do_all_that_ran_is_paid(seed: int, made_file: Path, tmp_path: Path) -> None:
    """Two ids, three who send them, in any order; in the end what is spent is the sum of all records."""
    chance = random.Random(seed)
    async with house(made_file, tmp_path) as h, asyncio.TaskGroup() as tasks:
        waiting: set[tuple[str, str]] = set()
        for _ in range(25):
            who, name = chance.choice("abc"), chance.choice("xy")
            running = name in h.dispatcher.running
            if chance.random() < 0.25:
                step: tuple[str, ...] = ("write",)
            elif (who, name) in waiting:
                step = ("hang up", who, name)
                waiting.discard((who, name))
            elif running and chance.random() < 0.2:
                step = ("finish", name)
                waiting = {one for one in waiting if one[1] != name}
            else:
                step = ("ask", who, name)
                waiting |= set() if name in h.dispatcher.kept else {(who, name)}
            await play(h, [step], tasks)
        for name in list(h.dispatcher.running):
            await play(h, [("finish", name)], tasks)
        await play(h, [("write",), ("lapse",)], tasks)
        used = await h.used()

    assert (h.dispatcher.took, 0) == used
