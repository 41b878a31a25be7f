"""A NATS server with a store, dispatchers on it (in this process or not), scripted devices, and a producer of durable jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import codec
from common.bus import Delivery
from common.bus.jetstream import JetStream
from common.bus.nats import NatsBus, NatsOptions, connect_nats
from common.bus.streams import Kept
from common.client import chat_request
from common.durable import Letter, Names, Note, read_letter, read_note
from common.durable_client import DurableJobs, Submitted
from common.errors import BusError
from common.messages import Priority
from common.subjects import Subjects
from dispatcher.app import dispatcher
from dispatcher.pipeline import Pipeline
from dispatcher.settings import DurableSection
from tests.commands import Running, running
from tests.integration.dispatcher.house import settings
from tests.integration.dispatcher.scripted import Script, ScriptedDevice, until
from tests.nats_server import NatsServer, nats_server

PATIENT_S = 40.0
"""A hang guard for what takes a redelivery or a start of a process."""

USUAL = {"ack_wait_s": 1.0, "first_delay_s": 0.05, "longest_delay_s": 0.2, "sweep_s": 0.5}
"""Short, so that what needs a redelivery is soon over."""


class World:
    """Everything around the dispatchers."""

    def __init__(self, server: NatsServer, bus: NatsBus, tasks: asyncio.TaskGroup) -> None:
        self.server = server
        self.bus = bus
        self.subjects = Subjects()
        self.names = Names()
        self.streams = JetStream(bus)
        self.jobs = DurableJobs(bus, self.streams, tenant="default", subjects=self.subjects)
        self.devices: list[ScriptedDevice] = []
        self.tasks = tasks

    async def device(self, name: str, *scripts: Script, **beat: Any) -> ScriptedDevice:
        """Bring up a device; whoever runs a dispatcher sees it by its heartbeats."""
        device = ScriptedDevice(self.bus, self.subjects, self.tasks, name, scripts, **beat)
        self.devices.append(device)
        await device.start()
        await device.beat()
        return device

    async def submit(self, prompt: str = "hi", *, priority: Priority = Priority.NORMAL, **fields: Any) -> str:
        """Submit a job; gives its id."""
        return (await self.submitted(prompt, priority=priority, **fields)).job

    async def submitted(self, prompt: str, *, priority: Priority = Priority.NORMAL, **fields: Any) -> Submitted:
        return await self.jobs.submit(chat_request(prompt, **fields), priority=priority)

    async def over(self, job: str) -> Note:
        """Wait for the final note of a job."""
        async with asyncio.timeout(PATIENT_S):
            note = await self.jobs.result(job, wait_s=PATIENT_S)
        assert note.final, note
        return note

    async def notes(self, job: str) -> list[Note]:
        """Give all notes of a job."""
        return [read_note(kept) async for kept in self.kept(self.names.results, self.subjects.result("*", job))]

    async def letters(self) -> list[Letter]:
        """Give all dead letters."""
        return [read_letter(kept) async for kept in self.kept(self.names.dead, self.subjects.dead("*", "*"))]

    async def letter(self) -> Letter:
        """Give the one dead letter; it is written behind the note that says why, so it is waited for."""

        async def written() -> bool:
            return bool(await self.letters())

        await eventually(written, True, "a dead letter is written")
        (letter,) = await self.letters()
        return letter

    async def kept(self, stream: str, subject: str) -> AsyncIterator[Kept]:
        seq = 1
        while (kept := await self.streams.next(stream, subject, seq)) is not None:
            yield kept
            seq = kept.seq + 1

    async def queued(self) -> int:
        """Give the number of jobs that lie in the queue, those that run included.

        They are read: after a kill, what nats-server 2.9.10 says of the number may count a message that it has not.
        """
        return len([kept async for kept in self.kept(self.names.jobs, self.subjects.jobs("*", "*"))])

    async def empty(self) -> None:
        """Wait until the queue is empty: every job was acknowledged."""
        await eventually(self.queued, 0, "the queue is empty")

    async def info(self, priority: Priority = Priority.NORMAL) -> dict[str, Any]:
        """Give what the server says of a class's consumer."""
        return await self.streams._ask(f"CONSUMER.INFO.{self.names.jobs}.{priority}", None)

    async def order(self, job: str) -> dict[str, Any]:
        """Cancel as an operator does, without saying whose job it is."""
        reply: Delivery = await self.bus.request(self.subjects.control(job, "cancel"), b"{}", timeout_s=10.0)
        return codec.decode(reply.data)


async def eventually(ask: Callable[[], Any], wanted: Any, what: str) -> None:
    """Ask until the answer is `wanted`; a server that is away has no answer yet."""
    found = None
    try:
        async with asyncio.timeout(PATIENT_S):
            while found != wanted:
                try:
                    found = await ask()
                except BusError:
                    found = None
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}; at last {found!r}") from None


def durable_settings(**durable: Any) -> Any:
    """Settings of a dispatcher in this process."""
    return replace(settings(grace_s=0.2), durable=DurableSection(**USUAL | durable))


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """A server and everyone but the dispatchers."""
    async with (
        nats_server(jetstream=True) as server,
        connect_nats(NatsOptions(urls=(server.url,), name="test", initial_connect_timeout_s=30.0)) as bus,
        asyncio.TaskGroup() as tasks,
    ):
        here = World(server, bus, tasks)
        try:
            yield here
        finally:
            for device in here.devices:
                try:
                    await device.die()
                except BusError:
                    pass  # the test took the server away


@asynccontextmanager
async def dispatching(world: World, **durable: Any) -> AsyncIterator[Pipeline]:
    """Run a dispatcher in this process; it knows the devices that are up, and its queue is there."""
    async with (
        connect_nats(NatsOptions(urls=(world.server.url,), name="disp", initial_connect_timeout_s=30.0)) as bus,
        dispatcher(durable_settings(**durable), bus) as pipeline,
    ):
        await eventually(lambda: _stream_is_there(world), True, "the queue is declared")
        for device in world.devices:
            await device.beat()
        await until(lambda: len(pipeline.roster.fleet.devices) == len(world.devices), "the roster knows the devices")
        yield pipeline


async def _stream_is_there(world: World) -> bool:
    await world.info(Priority.BATCH)
    await world.streams.progress(world.names.advisories, "janitor")
    return True


def dispatcher_process(world: World, cwd: Path, **environment: str) -> AbstractAsyncContextManager[Running]:
    """Run a dispatcher as a process of its own."""
    usual = {
        "NATS_URL": world.server.url,
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "INFO",
        "DROVER_DURABLE_ACK_WAIT_S": "1",
        "DROVER_DURABLE_FIRST_DELAY_S": "0.05",
        "DROVER_DURABLE_SWEEP_S": "0.5",
        "DROVER_SETTLE_S": "0",
        "DROVER_ACCEPT_S": "3",
    }
    return running("dispatcher", cwd=cwd, **usual | environment)
