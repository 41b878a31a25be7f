"""Runs one schedule: dispatchers, devices and producers on one broker in virtual time, and everything that happens to them."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from common.settings import BusSection, LogSection, load
from common.subjects import Subjects
from dispatcher.app import dispatcher
from dispatcher.settings import (
    AdmissionSection,
    CacheSection,
    ClockSection,
    DeliverySection,
    DispatcherSection,
    DispatcherSettings,
    DurableSection,
    LedgerSection,
    RosterSection,
    RoutingSection,
)
from tests.simulation import loop
from tests.simulation.ambush import Ambush
from tests.simulation.devices import Device
from tests.simulation.hosts import Build, Host, counted
from tests.simulation.ledger import GRACE_S, WIRES_S, Ledger, Violation
from tests.simulation.mischief import Mischief
from tests.simulation.network import QuickBroker
from tests.simulation.node import Node
from tests.simulation.producers import DEFAULT_TIMEOUT_S, NAMES, Producers
from tests.simulation.queue_ledger import QueueLedger
from tests.simulation.queuers import Queuers
from tests.simulation.schedule import Action, Kind, Schedule
from tests.simulation.weather import Weather

REPLAYS = "replay" in DispatcherSettings.__dataclass_fields__
"""Whether a job that comes again gets the answer that it had."""

REST_S = 1.6
"""After the last answer, until everybody must have let go."""

QUESTION_S = 5.5
"""What a dispatcher waits for an answer of the streams that was lost."""

LOOK_S = 0.25

SETTINGS = load(
    DispatcherSettings,
    bus=BusSection(),
    log=LogSection(),
    dispatcher=DispatcherSection(id="d1", grace_s=2.0),
    admission=AdmissionSection(queue_limit=4, default_timeout_s=DEFAULT_TIMEOUT_S),
    roster=RosterSection(settle_s=0.5, roll_call_s=0.0),
    clocks=ClockSection(accept_s=0.5, load_s=3.0, first_token_s=2.0, between_tokens_s=2.5, stall_s=2.0, doubt_s=0.8),
    delivery=DeliverySection(hedge_share=0.5),
    routing=RoutingSection(),
    cache=CacheSection(verifier="rules"),  # no job here wants the cache; reading the shipped judge is a fifth of a life
    ledger=LedgerSection(enabled=False),
    durable=DurableSection(enabled=False),
)
"""Clocks short enough that each strikes within a job's time."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the dispatchers are built with, and how; the tests of the checks change it."""

    build: Build = dispatcher
    device: type[Node] = Device


RULES = Rules()

DURABLE = DurableSection(
    queue_limit=6,
    ack_wait_s=2.0,
    tries=3,
    try_s=9.0,
    first_delay_s=0.3,
    longest_delay_s=2.0,
    life_s=25.0,
    steady_s=4.0,
    sweep_s=2.5,
)
"""Short, so that each of them strikes, too."""

DRAINED_S = 60.0
"""A durable job lives for 25 s at most, and a submission is repeated for 15 s; then it is buried or answered."""

Verb = Callable[[Action], Awaitable[None]]


def simulate(schedule: Schedule, *, tracing: bool = False, rules: Rules = RULES) -> Ledger:
    """Run a schedule to its end; what was violated stands in the ledger."""
    ledger = Ledger(tracing=tracing, replays=REPLAYS)
    try:
        loop.run(World(schedule, ledger, rules).play())
    except loop.Stuck as stuck:
        ledger.violations.append(Violation("I0", 0.0, str(stuck)))
    return ledger


class World:
    """Everybody, from the start to the end."""

    def __init__(self, schedule: Schedule, ledger: Ledger, rules: Rules) -> None:
        self.ledger = ledger
        self.schedule = schedule
        layout = schedule.layout
        self.subjects = Subjects()
        self.broker = QuickBroker(rng=random.Random(layout.seed))
        self.slots = dict(zip(NAMES, layout.slots, strict=False))
        self.devices = [
            rules.device(self.broker, self.subjects, ledger, name, slots=slots, continues=name != "cat")
            for name, slots in self.slots.items()
        ]
        self.hosts = [
            Host(
                self.broker,
                self.subjects,
                ledger,
                _named(f"d{n + 1}", durable=layout.durable),
                slots=self.slots,
                build=rules.build,
            )
            for n in range(layout.dispatchers)
        ]
        everybody: list[Host | Node] = [*self.hosts, *self.devices]
        for one, delay_s in zip(everybody, layout.delays_s, strict=False):
            one.delay_s = delay_s
        self.producers = Producers(self.broker, self.subjects, ledger)
        self.producers.may_keep = layout.durable
        self.lane: LaneWorld | None = None

    async def play(self) -> None:
        """Start everybody, let the actions happen, wait until all is over, and look at what is left."""
        async with asyncio.TaskGroup() as group:
            self.lane = LaneWorld(self, group) if self.schedule.layout.durable else None
            for host in self.hosts:
                await host.start(group)
            for device in self.devices:
                await device.start(group)
            await asyncio.sleep(0.2)
            verbs = self._verbs(group)
            for action in self.schedule.actions:
                await asyncio.sleep(action.pause_s)
                self.ledger.note("--", str(action))
                await verbs[action.kind](action)
            if self.lane is not None:
                await self.lane.ambush.mend()
                await self._mend(group)
                await self.lane.drain()
            await self._settle()
            await self._end()
        self.ledger.check_end()
        if self.lane is not None:
            self.lane.end()

    def _verbs(self, group: asyncio.TaskGroup) -> dict[Kind, Verb]:
        """Give what each kind of action does."""
        mischief = Mischief(self.hosts, self.devices, self.ledger, group, stranger=self.producers.wire)
        actors: list[object] = [self.producers, mischief, *(self.lane.actors if self.lane else ())]
        return {kind: getattr(actor, f"do_{kind}") for kind in Kind for actor in actors if hasattr(actor, f"do_{kind}")}

    async def _mend(self, group: asyncio.TaskGroup) -> None:
        """Have everybody work again: what lies in the queue has a way out now."""
        self.ledger.note("--", "mend")
        self.ledger.replays = False
        for device in self.devices:
            if not device.alive:
                await device.start(group)
            device.mend()
        for host in self.hosts:
            host.thaw()
            if host.ending:
                await host.stopped()
            if not host.alive:
                await host.start(group)

    async def _settle(self) -> None:
        """Wait until nothing is owed any more, but no longer than anybody may take; then give them time to let go."""
        owed_s = max((one.deadline_s for one in self.ledger.submissions.values()), default=0.0) + GRACE_S + 2 * WIRES_S
        left_s = owed_s - asyncio.get_running_loop().time()
        for _ in range(max(0, math.ceil(left_s / LOOK_S))):
            if self._quiet():
                break
            await asyncio.sleep(LOOK_S)
        self.ledger.note("--", "rest")
        await asyncio.sleep(REST_S + (QUESTION_S if self.lane is not None else 0.0))

    def _quiet(self) -> bool:
        # A producer may hang up before its request has arrived; the job begins all the same.
        owed = any(one.open and not (one.gone and one.owner) for one in self.ledger.submissions.values())
        return not owed and not any(host.pipeline.running for host in self.hosts if host.pipeline)

    async def _end(self) -> None:
        """Look at the idle dispatchers, and stop them; they must leave no task behind."""
        for host in self.hosts:
            host.check_idle()
        for device in self.devices:
            if device.alive:
                device.kill()
        await asyncio.sleep(0.1)
        expected = 1 + sum(host.idle_tasks for host in self.hosts if host.alive)
        tasks = counted(asyncio.all_tasks())
        if len(tasks) > expected:
            names = sorted(task.get_coro().__qualname__ for task in tasks)  # type: ignore[union-attr]
            self.ledger.violate("I9", f"{len(tasks)} tasks are left of {expected}: {names}")
        for host in self.hosts:
            host.stop()
        for host in self.hosts:
            await host.stopped()


class LaneWorld:
    """The durable part of a world: its streams, its producers, and what befalls them."""

    def __init__(self, world: World, group: asyncio.TaskGroup) -> None:
        self.queue = QueueLedger(world.ledger, world.subjects)
        self.weather = Weather(world.broker, self.queue)
        self.queuers = Queuers(world.broker, world.subjects, self.queue, group)
        self.ambush = Ambush(world.hosts, self.weather, self.queuers, self.queue)

    @property
    def actors(self) -> tuple[object, ...]:
        return self.queuers, self.ambush

    async def drain(self) -> None:
        """Wait until the queue is empty, and nobody submits any more, but no longer than a job lives."""
        for _ in range(math.ceil(DRAINED_S / LOOK_S)):
            if not self.queuers.busy and not any(self.queue.lying.values()):
                break
            await asyncio.sleep(LOOK_S)

    def end(self) -> None:
        """Check what is left, and stop the timers."""
        self.queue.check_end()
        self.weather.close()


def _named(name: str, *, durable: bool) -> DispatcherSettings:
    return _NAMED[name, durable]


_NAMED = {
    (name, durable): replace(
        SETTINGS,
        dispatcher=DispatcherSection(id=name, grace_s=SETTINGS.dispatcher.grace_s),
        durable=DURABLE if durable else SETTINGS.durable,
    )
    for name in ("d1", "d2")
    for durable in (False, True)
}
