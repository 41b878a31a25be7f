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
    ClockSection,
    DeliverySection,
    DispatcherSection,
    DispatcherSettings,
    RosterSection,
    RoutingSection,
)
from tests.simulation import loop
from tests.simulation.devices import Device
from tests.simulation.hosts import Build, Host
from tests.simulation.ledger import GRACE_S, WIRES_S, Ledger, Violation
from tests.simulation.mischief import Mischief
from tests.simulation.network import QuickBroker
from tests.simulation.node import Node
from tests.simulation.producers import DEFAULT_TIMEOUT_S, NAMES, Producers
from tests.simulation.schedule import Action, Kind, Schedule

REPLAYS = "replay" in DispatcherSettings.__dataclass_fields__
"""Whether a job that comes again gets the answer that it had."""

REST_S = 1.6
"""After the last answer, until everybody must have let go."""

LOOK_S = 0.25

SETTINGS = load(
    DispatcherSettings,
    bus=BusSection(),
    log=LogSection(),
    dispatcher=DispatcherSection(id="d1", grace_s=2.0),
    admission=AdmissionSection(queue_limit=4, default_timeout_s=DEFAULT_TIMEOUT_S),
    roster=RosterSection(settle_s=0.5),
    clocks=ClockSection(accept_s=0.5, load_s=3.0, first_token_s=2.0, between_tokens_s=2.5, stall_s=2.0, doubt_s=0.8),
    delivery=DeliverySection(hedge_share=0.5),
    routing=RoutingSection(),
)
"""Clocks short enough that each strikes within a job's time."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the dispatchers are built with, and how; the tests of the checks change it."""

    build: Build = dispatcher
    device: type[Node] = Device


RULES = Rules()

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
            Host(self.broker, self.subjects, ledger, _named(f"d{n + 1}"), slots=self.slots, build=rules.build)
            for n in range(layout.dispatchers)
        ]
        everybody: list[Host | Node] = [*self.hosts, *self.devices]
        for one, delay_s in zip(everybody, layout.delays_s, strict=False):
            one.delay_s = delay_s
        self.producers = Producers(self.broker, self.subjects, ledger)

    async def play(self) -> None:
        """Start everybody, let the actions happen, wait until all is over, and look at what is left."""
        async with asyncio.TaskGroup() as group:
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
            await self._settle()
            await self._end()
        self.ledger.check_end()

    def _verbs(self, group: asyncio.TaskGroup) -> dict[Kind, Verb]:
        """Give what each kind of action does."""
        mischief = Mischief(self.hosts, self.devices, self.ledger, group, stranger=self.producers.wire)
        return {kind: getattr(self.producers, f"do_{kind}", None) or getattr(mischief, f"do_{kind}") for kind in Kind}

    async def _settle(self) -> None:
        """Wait until nothing is owed any more, but no longer than anybody may take; then give them time to let go."""
        owed_s = max((one.deadline_s for one in self.ledger.submissions.values()), default=0.0) + GRACE_S + 2 * WIRES_S
        left_s = owed_s - asyncio.get_running_loop().time()
        for _ in range(max(0, math.ceil(left_s / LOOK_S))):
            if self._quiet():
                break
            await asyncio.sleep(LOOK_S)
        self.ledger.note("--", "rest")
        await asyncio.sleep(REST_S)

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
        tasks = asyncio.all_tasks()
        if len(tasks) > expected:
            names = sorted(task.get_coro().__qualname__ for task in tasks)  # type: ignore[union-attr]
            self.ledger.violate("I9", f"{len(tasks)} tasks are left of {expected}: {names}")
        for host in self.hosts:
            host.stop()
        for host in self.hosts:
            await host.stopped()


def _named(name: str) -> DispatcherSettings:
    return _NAMED[name]


_NAMED = {
    name: replace(SETTINGS, dispatcher=DispatcherSection(id=name, grace_s=SETTINGS.dispatcher.grace_s))
    for name in ("d1", "d2")
}
