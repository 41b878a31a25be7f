"""A real dispatcher in the simulated world: it is started, stopped, killed, and looked at for what it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

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

USUAL_FIRST_TOKEN_S = 0.02

PRODUCER = "_INBOX_prod."


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
    def alive(self) -> bool:
        return self._task is not None and not self._task.done()

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
        self.idle_tasks = len(asyncio.all_tasks() - others)

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
        asyncio.get_running_loop().call_later(STOPPING_S, self._check_stopped, self._task)

    async def stopped(self) -> None:
        """Return when it has; one that does not in time is told and killed."""
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=STOPPING_S)
        if not self._task.done():
            self._check_stopped(self._task)
            self.kill()

    def kill(self) -> None:
        """End it, as by SIGKILL: it says nothing any more."""
        self._ledger.excuse(self.name, "killed")
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
            self._ledger.violate("I8", f"{self.name} has not stopped {STOPPING_S:.0f} s after it was asked")

    # -- what passes its wire ------------------------------------------------------------------------------------

    def _sent(self, delivery: Delivery) -> None:
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
