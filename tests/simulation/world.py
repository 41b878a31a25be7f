"""Runs one schedule: dispatchers, devices and producers on one broker in virtual time, and everything that happens to them."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from common import codec
from common.bus import Delivery, Subscription
from common.codec import Encoding
from common.messages import ChatRequest
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
from tests.simulation.hosts import PRODUCER, Build, Host
from tests.simulation.ledger import GRACE_S, WIRES_S, Ledger, Submission, Violation
from tests.simulation.moods import MOODS
from tests.simulation.network import QuickBroker, Wire
from tests.simulation.node import MODEL, RARE_MODEL, Node
from tests.simulation.schedule import DELAYS_S, Action, Kind, Schedule

TENANTS = ("acme", "zeta")
PRIORITIES = ("interactive", "normal", "batch") if "priority" in ChatRequest.__dataclass_fields__ else ()
REPLAYS = "replay" in DispatcherSettings.__dataclass_fields__
"""Whether a job that comes again gets the answer that it had."""

NAMES = ("ant", "bee", "cat")
MODELS = (*(MODEL,) * 12, *("auto",) * 6, RARE_MODEL, "unknown")
TIMEOUTS_S = (6.0, 6.0, 3.0, 0.6)
DEFAULT_TIMEOUT_S = 6.0
REST_S = 1.6
LOOK_S = 0.25
"""After the last answer, until everybody must have let go."""

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


def simulate(schedule: Schedule, *, tracing: bool = False, rules: Rules = RULES) -> Ledger:
    """Run a schedule to its end; what was violated stands in the ledger."""
    ledger = Ledger(tracing=tracing, replays=REPLAYS)
    try:
        loop.run(World(schedule, ledger, rules).play())
    except loop.Stuck as stuck:
        ledger.violations.append(Violation("I0", 0.0, str(stuck)))
    return ledger


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as it may come again."""

    job: str
    tenant: str
    body: dict[str, Any]
    encoding: Encoding
    timeout_s: float


class World:
    """Everybody, and what may happen to them. Each action has a verb of the same name."""

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
        self._asked: list[Asked] = []
        self._inboxes: dict[str, Subscription] = {}
        self._verbs: dict[Kind, Callable[[Action], Awaitable[None]]] = {
            kind: getattr(self, f"_{kind}") for kind in Kind
        }

    async def play(self) -> None:
        """Start everybody, let the actions happen, wait until all is over, and look at what is left."""
        async with asyncio.TaskGroup() as self.group:
            self.producers = Wire(self.broker, heard=self._arrived)
            for host in self.hosts:
                await host.start(self.group)
            for device in self.devices:
                await device.start(self.group)
            await asyncio.sleep(0.2)
            for action in self.schedule.actions:
                await asyncio.sleep(action.pause_s)
                self.ledger.note("--", str(action))
                await self._verbs[action.kind](action)
            await self._settle()
            await self._end()
        self.ledger.check_end()

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
        owed = any(one.open and not one.gone for one in self.ledger.submissions.values())
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

    # -- producers -----------------------------------------------------------------------------------------------

    def _arrived(self, delivery: Delivery) -> None:
        if delivery.no_responders and delivery.subject in self.ledger.submissions:
            self.ledger.nobody(delivery.subject)

    async def _ask(self, asked: Asked) -> None:
        inbox = f"{PRODUCER}{len(self.ledger.submissions) + 1}"
        now_s = asyncio.get_running_loop().time()
        submission = Submission(
            inbox=inbox,
            job=asked.job,
            framed=asked.body["stream"],
            deadline_s=now_s + asked.timeout_s,
        )
        self._inboxes[inbox] = await self.producers.subscribe(inbox, _nothing)
        self.ledger.asked(submission)
        subject = self.subjects.work("chat", asked.tenant)
        await self.producers.publish(subject, codec.encode(asked.body, asked.encoding), reply=inbox)

    async def _submit(self, action: Action) -> None:
        """Bits of `who`: a pin, a model. Bits of `how`: stream, hold or single; the time; tools; the encoding."""
        job = f"j{len(self.ledger.submissions) + 1}"
        way, timeout_s = action.how % 4, TIMEOUTS_S[action.how // 4 % 4]
        body: dict[str, Any] = {"prompt": "hi", "job": job, "stream": way != 3, "hold": way == 2}
        body["model"] = MODELS[action.who % len(MODELS)]
        if action.who % 64 >= 56:
            body["device"] = NAMES[action.who // 64 % 3]
        if action.how // 16 % 8 == 7:
            body["tools"] = [{"type": "function", "function": {"name": "look"}}]
        if timeout_s != DEFAULT_TIMEOUT_S:
            body |= _limit(timeout_s, absolute=bool(action.who % 2))
        if PRIORITIES:
            body["priority"] = PRIORITIES[action.who // 4 % len(PRIORITIES)]
        asked = Asked(job, TENANTS[action.who // 16 % 2], body, _encoding(action), timeout_s)
        self._asked.append(asked)
        self._count(action)
        await self._ask(asked)

    async def _resubmit(self, action: Action) -> None:
        if self._asked:
            self._count(action)
            asked = self._earlier(action)
            body = {key: value for key, value in asked.body.items() if key != "deadline_ms"} | _limit(asked.timeout_s)
            await self._ask(replace(asked, body=body))

    def _earlier(self, action: Action) -> Asked:
        return self._asked[-1 - action.who % len(self._asked)]

    async def _cancel(self, action: Action) -> None:
        if self._asked:
            self._count(action)
            asked = self._earlier(action)
            self.ledger.cancelled(asked.job)
            body = codec.encode({"tenant": asked.tenant}) if action.how % 2 else b""
            await self.producers.publish(self.subjects.control(asked.job, "cancel"), body)

    async def _status(self, action: Action) -> None:
        if self._asked:
            self._count(action)
            subject = self.subjects.control(self._earlier(action).job, "status")
            await self.producers.publish(subject, b"", reply=f"{PRODUCER}status")

    async def _hang_up(self, action: Action) -> None:
        waiting = [one for one in self.ledger.submissions.values() if one.open and not one.gone]
        if waiting:
            self._count(action)
            one = waiting[action.who % len(waiting)]
            one.gone = True
            await self._inboxes[one.inbox].unsubscribe()

    # -- devices -------------------------------------------------------------------------------------------------

    def _device(self, action: Action) -> Node:
        return self.devices[action.who % len(self.devices)]

    async def _wait(self, action: Action) -> None:
        self._count(action)

    async def _mood(self, action: Action) -> None:
        self._count(action)
        device = self._device(action)
        device.mood = MOODS[action.how % len(MOODS)]
        self.ledger.note(device.name, "mood:", device.mood.name)

    async def _kill(self, action: Action) -> None:
        device = self._device(action)
        if device.alive:
            self._count(action)
            device.kill()

    async def _restart(self, action: Action) -> None:
        """Start what is dead; a device that lives is killed first half of the times, and spared the other half."""
        device = self._device(action)
        if device.alive and action.how % 2:
            device.kill()
        if not device.alive:
            self._count(action)
            device.mood = MOODS[0]
            await device.start(self.group)

    async def _stop(self, action: Action) -> None:
        device = self._device(action)
        if device.alive and not device.stopped:
            self._count(action)
            device.stop()

    async def _continue(self, action: Action) -> None:
        stopped = [device for device in self.devices if device.alive and device.stopped]
        if stopped:
            self._count(action)
            stopped[action.who % len(stopped)].go_on()

    async def _cut(self, action: Action) -> None:
        device = self._device(action)
        if device.alive and not device.cut:
            self._count(action)
            device.sever(up=True, down=True)

    async def _cut_one_way(self, action: Action) -> None:
        device = self._device(action)
        if device.alive and not device.cut:
            self._count(action)
            device.sever(up=bool(action.how % 2), down=not action.how % 2)

    async def _heal(self, action: Action) -> None:
        """Join what is cut; the connection of a device that has noticed comes back as a new one."""
        cut = [device for device in self.devices if device.alive and device.cut]
        if cut:
            self._count(action)
            cut[action.who % len(cut)].join()

    async def _delay(self, action: Action) -> None:
        self._count(action)
        everybody: list[Host | Node] = [*self.hosts, *self.devices]
        one = everybody[action.who % len(everybody)]
        one.delay_s = DELAYS_S[action.how % len(DELAYS_S)]
        if one.alive:
            one.wire.up.delay_s = one.wire.down.delay_s = one.delay_s

    async def _drop(self, action: Action) -> None:
        device = self._device(action)
        if device.alive:
            self._count(action)
            pipe = device.wire.up if action.how % 2 else device.wire.down
            pipe.drop_next = 1 + action.how // 2 % 3

    async def _repeat(self, action: Action) -> None:
        device = self._device(action)
        if device.alive:
            self._count(action)
            pipe = device.wire.up if action.how % 2 else device.wire.down
            pipe.repeat_next = 1 + action.how // 2 % 3

    async def _replay_beat(self, action: Action) -> None:
        """Send a heartbeat that is old: those that waited in a network come late."""
        device = self._device(action)
        if device.last_beat:
            self._count(action)
            payload = device.last_beat
            asyncio.get_running_loop().call_later(
                0.5 + action.how % 4, self.producers.say, Delivery(self.subjects.heartbeat(device.name), payload)
            )

    async def _drain(self, action: Action) -> None:
        device = self._device(action)
        if device.alive:
            self._count(action)
            device.drain(on=not device.draining)

    async def _faulty(self, action: Action) -> None:
        device = self._device(action)
        if device.alive:
            self._count(action)
            device.fault(on=not device.faulty)

    # -- dispatchers ---------------------------------------------------------------------------------------------

    def _host(self, action: Action) -> Host:
        return self.hosts[action.who % len(self.hosts)]

    async def _dispatcher_stop(self, action: Action) -> None:
        host = self._host(action)
        if host.alive:
            self._count(action)
            self.ledger.replays = False
            host.stop()

    async def _dispatcher_kill(self, action: Action) -> None:
        host = self._host(action)
        if host.alive:
            self._count(action)
            self.ledger.replays = False
            host.kill()

    async def _dispatcher_offline(self, action: Action) -> None:
        host = self._host(action)
        if host.alive and host.wire.connected:
            self._count(action)
            self.ledger.replays = False
            host.offline()
            asyncio.get_running_loop().call_later(0.3 + action.how % 4, host.back)

    async def _dispatcher_start(self, action: Action) -> None:
        host = self._host(action)
        if not host.alive:
            self._count(action)
            self.ledger.replays = False
            await host.start(self.group)

    def _count(self, action: Action) -> None:
        self.ledger.counts[str(action.kind)] += 1


def _named(name: str) -> DispatcherSettings:
    return _NAMED[name]


_NAMED = {
    name: replace(SETTINGS, dispatcher=DispatcherSection(id=name, grace_s=SETTINGS.dispatcher.grace_s))
    for name in ("d1", "d2")
}


def _encoding(action: Action) -> Encoding:
    return Encoding.MSGPACK if action.how >= 128 else Encoding.JSON


def _limit(timeout_s: float, *, absolute: bool = False) -> dict[str, Any]:
    if absolute:
        return {"deadline_ms": int((loop.EPOCH_S + asyncio.get_running_loop().time() + timeout_s) * 1000)}
    return {"timeout_s": timeout_s}


def _nothing(delivery: Delivery) -> None:
    """The ledger reads what dispatchers send before it is on its way."""
