"""A real dispatcher in the simulated world: it is started, stopped, killed, and looked at for what it holds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from common.bus import Bus, Delivery
from common.bus.memory import MemoryBroker
from common.subjects import Subjects
from dispatcher.app import dispatcher
from dispatcher.delivery.hedge import SAMPLES
from dispatcher.pipeline import Pipeline
from dispatcher.settings import DispatcherSettings
from tests.simulation.ledger import OFFLINE, Ledger
from tests.simulation.network import Wire
from tests.simulation.node import MODEL

Build = Callable[[DispatcherSettings, Bus], AbstractAsyncContextManager[Pipeline]]
"""`dispatcher.app.dispatcher`, or one with a bug in it."""

STOPPING_S = 6.0
"""The grace of the settings, the last words, and what the wires take."""

FAREWELL_S = 15.0
"""What the durable lane may take beyond that to store a result while the server is silent: its own limit, and two questions."""

USUAL_FIRST_TOKEN_S = 0.02

PRODUCER = "_INBOX_prod."
ACK = "$JS.ACK."
DURABLE = f"{os.sep}dispatcher{os.sep}durable{os.sep}"


class Host:
    """One dispatcher, through all its lives."""

    def __init__(
        self,
        broker: MemoryBroker,
        subjects: Subjects,
        ledger: Ledger,
        settings: DispatcherSettings,
        *,
        slots: Mapping[str, int],
        build: Build = dispatcher,
    ) -> None:
        self.name = settings.dispatcher.id
        self.delay_s = 0.0
        self.wire: Wire
        self.pipeline: Pipeline | None = None
        self.idle_tasks = 0
        self.settling: Callable[[Host], bool] = lambda host: False  # nobody is in wait
        """Asked when it is about to say what becomes of a durable job; True when it was killed instead."""
        self._own_slots = 0
        self._broker = broker
        self._ledger = ledger
        self._settings = settings
        self._slots = slots
        self._build = build
        self._work = subjects.work("chat", "")
        self._device = subjects.device("", "")[:-1]
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def stopping_s(self) -> float:
        """Give the seconds from a request to stop until it has."""
        return STOPPING_S + (FAREWELL_S if self._settings.durable.enabled else 0.0)

    @property
    def alive(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def ending(self) -> bool:
        """It was asked to stop, or killed, and is not gone yet."""
        return self.alive and (self._stop.is_set() or self.wire.closed)

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Begin a new life; on return it hears jobs."""
        self.wire = Wire(self._broker, sent=self._sent, heard=self._heard)
        self.wire.up.delay_s = self.wire.down.delay_s = self.delay_s
        self._stop = asyncio.Event()
        ready = asyncio.Event()
        others = asyncio.all_tasks()
        self._task = group.create_task(self._live(ready))
        await ready.wait()
        await asyncio.sleep(0)  # its services have begun
        self._own_slots = len(self.pipeline.courier.mux._slots) if self.pipeline else 0
        self.idle_tasks = len(counted(asyncio.all_tasks() - others))

    async def _live(self, ready: asyncio.Event) -> None:
        try:
            async with self._build(self._settings, self.wire) as self.pipeline:
                self._experience(self.pipeline)
                ready.set()
                await self._stop.wait()
        finally:
            self.pipeline = None
            if self.wire.counters.handler_failures:
                self._ledger.violate("I0", f"{self.name}: {self.wire.counters.handler_failures} handlers crashed")
            self.wire.close()

    def _experience(self, pipeline: Pipeline) -> None:
        """Let it know how fast these devices usually speak: a hedge needs more first tokens than a short run has."""
        for device in self._slots:
            for _ in range(SAMPLES):
                pipeline.courier._first_tokens.note(device, MODEL, USUAL_FIRST_TOKEN_S)

    def stop(self) -> None:
        """Ask it to stop, as by SIGTERM."""
        self._stop.set()
        asyncio.get_running_loop().call_later(self.stopping_s, self._check_stopped, self._task)

    async def stopped(self) -> None:
        """Return when it has; one that does not in time is told and killed."""
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=self.stopping_s)
        if not self._task.done():
            self._check_stopped(self._task)
            self.kill()

    def kill(self) -> None:
        """End it, as by SIGKILL: it says nothing any more."""
        self._ledger.excuse(self.name, "killed")
        self._ledger.frozen.discard(self.name)
        self.wire.close()
        if self._task is not None:
            self._task.cancel()

    def offline(self) -> None:
        """Take its connection; what it sends meanwhile is lost."""
        self._ledger.excuse(self.name, OFFLINE)
        self.wire.disconnect()

    def back(self) -> None:
        """Give the connection back. Until now it could neither answer nor cancel."""
        if self.alive and not self.wire.connected and self.pipeline is not None:
            self._ledger.excuse(self.name, OFFLINE)
            self.wire.reconnect()

    def freeze(self, for_s: float) -> None:
        """Let all that it hears and says wait; then it arrives, in order."""
        self._ledger.excuse(self.name, OFFLINE)
        self._ledger.frozen.add(self.name)
        wire = self.wire
        wire.up.hold()
        wire.down.hold()
        asyncio.get_running_loop().call_later(for_s, self._thaw, wire)

    def _thaw(self, wire: Wire) -> None:
        if not wire.closed and self.name in self._ledger.frozen:
            self._ledger.excuse(self.name, OFFLINE)
            self._ledger.frozen.discard(self.name)
            wire.up.release()
            wire.down.release()

    def thaw(self) -> None:
        """End that at once."""
        if self.alive:
            self._thaw(self.wire)

    def asked(self, reply: str) -> bool:
        """Tell whether a question is one of its own."""
        return reply.startswith(self.wire._questions._root)

    def check_idle(self) -> None:
        """I9: without jobs it holds nothing."""
        if self.pipeline is None:
            return
        held = {
            "running": self.pipeline.running,
            "waiting": self.pipeline.courier.line.waiting,
            "reply slots": max(0, len(self.pipeline.courier.mux._slots) - self._own_slots),
            "runs on devices": sum(map(len, self.pipeline.courier._runs.values())),
        }
        held |= {f"own on {name}": one.own for name, one in self.pipeline.roster.fleet.devices.items()}
        left = {what: number for what, number in held.items() if number}
        if left:
            self._ledger.violate("I9", f"{self.name} is idle and holds {left}")

    def _check_stopped(self, task: asyncio.Task[None] | None) -> None:
        if task is not None and not task.done():
            self._ledger.violate("I8", f"{self.name} has not stopped {self.stopping_s:.0f} s after it was asked")

    # -- what passes its wire ------------------------------------------------------------------------------------

    def _sent(self, delivery: Delivery) -> None:
        if delivery.subject.startswith(ACK) and delivery.data != b"+WPI" and self.settling(self):
            return
        if delivery.subject.startswith(PRODUCER):
            if delivery.subject in self._ledger.submissions:
                self._ledger.answered(self.name, delivery)
        elif delivery.subject.startswith(self._device):
            device, _, verb = delivery.subject[len(self._device) :].partition(".")
            self._ledger.note(self.name, f"{verb} to", device)
            if verb == "job":
                self._check_room(device)

    def _heard(self, delivery: Delivery) -> None:
        if delivery.subject.startswith(self._work):
            self._ledger.accepted(delivery.reply, self.name)

    def _check_room(self, device: str) -> None:
        """I6, as far as this dispatcher can know: it never has more attempts on a device than that has slots."""
        known = self.pipeline.roster.fleet.devices.get(device) if self.pipeline else None
        if known is not None and known.own > self._slots[device]:
            self._ledger.crowded(
                f"{self.name} has {known.own} attempts on {device}, which has {self._slots[device]} slots"
            )


def counted(tasks: Iterable[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    """Give the tasks of which an idle dispatcher has always as many: not those that a pull from the durable queue needs."""
    return [task for task in tasks if not _pulls(task.get_coro())]


def _pulls(work: Any) -> bool:
    return DURABLE in work.cr_code.co_filename or work.__qualname__ == "Event.wait"
