"""Dispatchers with a bug in them, to prove that each invariant is looked at: a real dispatcher on a bus that betrays it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from common import codec
from common.bus import Bus, Delivery, Handler, Subscription
from common.codec import Encoding
from dispatcher.app import dispatcher
from dispatcher.pipeline import Pipeline
from dispatcher.settings import DispatcherSettings
from tests.simulation.agents import RealDevice
from tests.simulation.hosts import ACK, PRODUCER, Build

Publish = Callable[[Delivery], list[Delivery]]
"""What is sent instead of a message."""


class Treacherous:
    """A bus that changes what its dispatcher sends and hears; all else is the bus below."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    def sends(self, delivery: Delivery) -> list[Delivery]:
        """Give what is sent instead."""
        return [delivery]

    def hears(self, delivery: Delivery) -> list[Delivery]:
        """Give what is heard instead."""
        return [delivery]

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send something else."""
        for one in self.sends(Delivery(subject, data, reply, headers or {})):
            await self._bus.publish(one.subject, one.data, reply=one.reply, headers=one.headers or None)

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = "", pending: int = 65_536
    ) -> Subscription:
        """Hear something else."""

        def betray(delivery: Delivery) -> None:
            for one in self.hears(delivery):
                handler(one)

        return await self._bus.subscribe(subject, betray, queue=queue, pending=pending)


def _frame(delivery: Delivery) -> dict[str, Any]:
    return codec.decode(delivery.data) if delivery.data and delivery.subject.startswith(PRODUCER) else {}


def _with(delivery: Delivery, wire: Mapping[str, Any], subject: str | None = None) -> Delivery:
    data = codec.encode(wire, codec.sniff(delivery.data))
    return Delivery(subject or delivery.subject, data, delivery.reply, delivery.headers)


class Honest(Treacherous):
    """Changes nothing: what the others are measured against."""


class LosesTheEnd(Treacherous):
    """Every tenth answer never ends."""

    lost = 0

    def sends(self, delivery: Delivery) -> list[Delivery]:
        if _frame(delivery).get("t") == "end" or not delivery.data:
            self.lost += 1
            return [] if self.lost % 10 == 1 else [delivery]
        return [delivery]


class TalksOn(Treacherous):
    """Says something more after the end."""

    def sends(self, delivery: Delivery) -> list[Delivery]:
        if _frame(delivery).get("t") == "end":
            return [delivery, _with(delivery, {"t": "ka", "phase": "decode"})]
        return [delivery]


class SkipsAToken(Treacherous):
    """Loses the third piece of text."""

    def sends(self, delivery: Delivery) -> list[Delivery]:
        return [] if _frame(delivery).get("s") == 2 else [delivery]


class BeginsAnew(Treacherous):
    """Continues without telling the device what the producer has already."""

    def sends(self, delivery: Delivery) -> list[Delivery]:
        if not delivery.subject.endswith(".job"):
            return [delivery]
        wire = codec.decode(delivery.data)
        if wire["messages"][-1]["role"] == "assistant":
            wire["messages"] = wire["messages"][:-1]
        return [Delivery(delivery.subject, codec.encode(wire, Encoding.MSGPACK), delivery.reply)]


class NoFence(Treacherous):
    """Takes what any attempt of a job says for the newest one's, and numbers it as if it were one stream."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self._newest: dict[str, str] = {}
        self._count: dict[str, int] = {}

    def sends(self, delivery: Delivery) -> list[Delivery]:
        if delivery.subject.endswith(".job"):
            root, _, attempt = delivery.reply.rpartition(".")
            self._newest[root] = attempt
            self._count.pop(delivery.reply, None)
        return [] if delivery.subject.endswith(".cancel") else [delivery]

    def hears(self, delivery: Delivery) -> list[Delivery]:
        root = delivery.subject.rpartition(".")[0]
        if root not in self._newest or not delivery.data:
            return [delivery]
        subject = f"{root}.{self._newest[root]}"
        try:
            wire = codec.decode(delivery.data)
        except Exception:  # noqa: BLE001  # garbage stays garbage
            return [delivery]
        if wire.get("t") == "tok":
            wire["s"] = self._count.get(subject, 0)
            self._count[subject] = wire["s"] + 1
        elif wire.get("t") == "end":
            wire["s"] = self._count.get(subject, 0)
        elif wire.get("t") == "err" and subject != delivery.subject:
            return []
        return [_with(delivery, wire, subject)]


class AsksTwice(Treacherous):
    """Gives each job to its device a second time, and does not say so."""

    def sends(self, delivery: Delivery) -> list[Delivery]:
        if delivery.subject.endswith(".job"):
            return [delivery, Delivery(delivery.subject, delivery.data, f"{delivery.reply}000", delivery.headers)]
        return [delivery]


class SeesMoreSlots(Treacherous):
    """Believes that devices have more slots than they say."""

    def hears(self, delivery: Delivery) -> list[Delivery]:
        if ".hb." not in delivery.subject:
            return [delivery]
        wire = codec.decode(delivery.data)
        return [_with(delivery, wire | {"slots": wire["slots"] + 2, "jobs_by_dispatcher": {}})]


class NeverStopsDevices(Treacherous):
    """Sends no cancel to devices."""

    def sends(self, delivery: Delivery) -> list[Delivery]:
        return [] if delivery.subject.endswith(".cancel") else [delivery]


class DeafToCancel(Treacherous):
    """Hears no cancel of producers."""

    def hears(self, delivery: Delivery) -> list[Delivery]:
        return [] if ".ctl." in delivery.subject else [delivery]


class NoSenseOfTime(Treacherous):
    """Reads no deadline."""

    def hears(self, delivery: Delivery) -> list[Delivery]:
        if ".chat." not in delivery.subject:
            return [delivery]
        wire = {key: value for key, value in codec.decode(delivery.data).items() if key != "deadline_ms"}
        return [_with(delivery, wire | {"timeout_s": 60.0})]


class Clumsy(Treacherous):
    """Stumbles over a heartbeat of a device that drains."""

    def hears(self, delivery: Delivery) -> list[Delivery]:
        if b'"draining"' in delivery.data:
            raise RuntimeError("stumbled")
        return [delivery]


def _is_note(delivery: Delivery, *states: str) -> bool:
    """Tell whether a message is a note with one of these states."""
    return ".result." in delivery.subject and any(f'"state":"{state}"'.encode() in delivery.data for state in states)


class AcksFirst(Treacherous):
    """Takes a job out of the queue as soon as a device has it."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self._acks: list[str] = []

    def hears(self, delivery: Delivery) -> list[Delivery]:
        if delivery.reply.startswith(ACK):
            self._acks.append(delivery.reply)
        return [delivery]

    def sends(self, delivery: Delivery) -> list[Delivery]:
        if delivery.subject.endswith(".job"):
            acks, self._acks = self._acks, []
            return [*(Delivery(ack, b"+ACK") for ack in acks), delivery]
        return [delivery]


class LeavesAll(Treacherous):
    """Stores results, and takes nothing out of the queue, neither by an ack nor as the janitor."""

    def sends(self, delivery: Delivery) -> list[Delivery]:
        return [] if delivery.subject.startswith(ACK) and delivery.data == b"+ACK" else [delivery]

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """Ask; what was to be deleted stays."""
        if subject.endswith("MSG.DELETE.LLM_JOBS"):
            return Delivery("", b'{"success":true}')
        answer: Delivery = await self._bus.request(subject, data, timeout_s=timeout_s, headers=headers)
        return answer


class TellsTwice(Treacherous):
    """Stores each result a second time, under no id and whatever stands there: as one would whose claim nobody checks."""

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """Ask, and say it again."""
        answer: Delivery = await self._bus.request(subject, data, timeout_s=timeout_s, headers=headers)
        if _is_note(Delivery(subject, data), "done"):
            await self._bus.publish(subject, data)
        return answer


class NoCompareAndSet(Treacherous):
    """Expects nothing of what stands there already, and gives its results no id."""

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """Ask, without what protects the answer."""
        kept = {} if ".result." in subject else dict(headers or {})
        answer: Delivery = await self._bus.request(subject, data, timeout_s=timeout_s, headers=kept or None)
        return answer


class BuriesSilently(Treacherous):
    """Writes no dead letters."""

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """Ask; a letter is said to be stored, and is not."""
        if ".dlq." in subject:
            return Delivery("", b'{"stream":"LLM_DLQ","seq":1}')
        answer: Delivery = await self._bus.request(subject, data, timeout_s=timeout_s, headers=headers)
        return answer


class LosesText(Treacherous):
    """Stores results without their last letters."""

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """Ask for something else to be stored."""
        if _is_note(Delivery(subject, data), "done"):
            data = data.replace(b'.2>"', b'"')
        answer: Delivery = await self._bus.request(subject, data, timeout_s=timeout_s, headers=headers)
        return answer


class CountsLosses(Treacherous):
    """Claims each job as if a device had it already: its death is a try of all that it has."""

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """Ask for another claim."""
        data = data.replace(b'"reached":false', b'"reached":true')
        answer: Delivery = await self._bus.request(subject, data, timeout_s=timeout_s, headers=headers)
        return answer


class StoresNoAnswers(Treacherous):
    """Tells answers, and keeps them in memory alone."""

    def sends(self, delivery: Delivery) -> list[Delivery]:
        return [] if delivery.subject.startswith("$KV.LLM_ANSWERS.") else [delivery]


class SaysCancelled(Treacherous):
    """Says of each job that it is cancelled, and goes on."""

    def hears(self, delivery: Delivery) -> list[Delivery]:
        if ".ctl." not in delivery.subject or not delivery.reply:
            return [delivery]
        self._bus.say(Delivery(delivery.reply, b'{"cancelled":true}'))  # type: ignore[attr-defined]  # it is a wire
        return []


def betrayed(kind: type[Treacherous]) -> Build:
    """Build a dispatcher on such a bus."""

    @asynccontextmanager
    async def build(settings: DispatcherSettings, bus: Bus) -> AsyncIterator[Pipeline]:
        async with dispatcher(settings, kind(bus)) as pipeline:
            yield pipeline

    return build


def changed(change: Callable[[Pipeline], None]) -> Build:
    """Build a dispatcher, and change something inside."""

    def build(settings: DispatcherSettings, bus: Bus) -> AbstractAsyncContextManager[Pipeline]:
        return _changed(settings, bus, change)

    return build


@asynccontextmanager
async def _changed(
    settings: DispatcherSettings, bus: Bus, change: Callable[[Pipeline], None]
) -> AsyncIterator[Pipeline]:
    async with dispatcher(settings, bus) as pipeline:
        change(pipeline)
        yield pipeline


def keeps_slots(pipeline: Pipeline) -> None:
    """Give no slot back."""
    pipeline.courier.line.give_back = lambda device: None  # type: ignore[method-assign]  # the bug


class Overbooked(RealDevice):
    """Offers more slots than its board has."""

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Let the worker take whatever comes."""
        await super().start(group)
        self._agent._worker.slots.total = 99


class DeafDevice(RealDevice):
    """Runs on when it is told to stop."""

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Take every cancel for one that came too late."""
        await super().start(group)
        self._agent._worker.attempts.cancel = lambda reply: False  # type: ignore[method-assign]  # the bug
