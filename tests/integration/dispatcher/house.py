"""A whole dispatcher on a bus, scripted devices and raw producers around it; what must hold of every job is checked at the end."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from common import codec, frames
from common.bus import Bus, Delivery
from common.bus.memory import MemoryBroker, connect_memory
from common.bus.nats import NatsOptions, connect_nats
from common.codec import Encoding
from common.frames import Ack, End, Err, Token
from common.settings import BusSection, LogSection
from common.subjects import Subjects
from dispatcher.app import dispatcher
from dispatcher.pipeline import Pipeline
from dispatcher.settings import (
    AdmissionSection,
    CacheSection,
    ClockSection,
    DeliverySection,
    DispatcherSection,
    DispatcherSettings,
    DurableSection,
    EmbedSection,
    LedgerSection,
    ReplaySection,
    RosterSection,
    RoutingSection,
)
from tests.integration.dispatcher.scripted import PATIENCE_S, Script, ScriptedDevice, until
from tests.nats_server import nats_server

Connect = Callable[[], AbstractAsyncContextManager[Bus]]


@asynccontextmanager
async def memory_wires() -> AsyncIterator[Connect]:
    """Buses inside this process."""
    broker = MemoryBroker()
    yield lambda: connect_memory(broker)


@asynccontextmanager
async def nats_wires() -> AsyncIterator[Connect]:
    """Buses over a server of their own."""
    async with nats_server() as server:
        yield lambda: connect_nats(NatsOptions(urls=(server.url,), name="drover-test"))


def settings(
    *,
    queue_limit: int = 100,
    grace_s: float = 10.0,
    settle_s: float = 0.0,
    roll_call_s: float = 0.0,
    hedge_share: float = 0.0,
    durable: bool = False,
    ledger: bool = False,
    routing: RoutingSection | None = None,
    cache: CacheSection | None = None,
    embed: EmbedSection | None = None,
    **clocks: float,
) -> DispatcherSettings:
    """Clocks that never strike in a test, unless the test says so."""
    usual = {"accept_s": 20.0, "load_s": 20.0, "first_token_s": 20.0, "stall_s": 20.0, "doubt_s": 20.0}
    return DispatcherSettings(
        bus=BusSection(),
        log=LogSection(),
        dispatcher=DispatcherSection(grace_s=grace_s),
        admission=AdmissionSection(queue_limit=queue_limit, default_timeout_s=60.0),
        replay=ReplaySection(),
        durable=DurableSection(enabled=durable),
        roster=RosterSection(settle_s=settle_s, roll_call_s=roll_call_s),
        clocks=ClockSection(**usual | clocks),
        delivery=DeliverySection(hedge_share=hedge_share),
        routing=routing or RoutingSection(),
        embed=embed or EmbedSection(),
        ledger=LedgerSection(enabled=ledger),
        cache=cache or CacheSection(mode="off"),  # else the second of two equal prompts would see no device
    )


class Stream:
    """What one producer sends and sees."""

    def __init__(self, bus: Bus, inbox: str) -> None:
        self.bus = bus
        self.inbox = inbox
        self.arrived: list[Delivery] = []

    @property
    def frames(self) -> list[frames.Frame]:
        """What has arrived, without the empty payload."""
        return [frames.from_wire(codec.decode(one.data)) for one in self.arrived if one.data]

    @property
    def body(self) -> dict[str, Any]:
        """The one reply of a request that does not stream, or the refusal."""
        return codec.decode(self.arrived[0].data)

    @property
    def text(self) -> str:
        return "".join(frame.text for frame in self.frames if isinstance(frame, Token))

    @property
    def kinds(self) -> list[str]:
        """The frames by their names, repetitions once."""
        return [kind for kind, _ in itertools.groupby(type(frame).__name__ for frame in self.frames)]

    @property
    def ended(self) -> bool:
        return any(not one.data for one in self.arrived)

    async def seen(self, kind: type[frames.Frame], number: int = 1) -> frames.Frame:
        """Wait for the n-th frame of a kind."""
        await until(lambda: sum(isinstance(one, kind) for one in self.frames) >= number, f"{number} {kind.__name__}")
        return [one for one in self.frames if isinstance(one, kind)][number - 1]

    async def end(self) -> End:
        """Wait for the whole stream, which must have succeeded."""
        await until(lambda: self.ended, "the end of the stream")
        last = self.frames[-1]
        assert isinstance(last, End), last
        return last

    async def error(self) -> Err:
        """Wait for the whole stream, which must have failed."""
        await until(lambda: self.ended, "the end of the stream")
        last = self.frames[-1]
        assert isinstance(last, Err), last
        return last

    async def reply(self) -> dict[str, Any]:
        """Wait for the one reply."""
        await until(lambda: bool(self.arrived), "the reply")
        return self.body

    def check(self) -> None:
        """What must hold of every stream: one terminal frame, then the empty payload, nothing behind it, and no gap before."""
        payloads = [bool(one.data) for one in self.arrived]
        terminals = [isinstance(frame, End | Err) for frame in self.frames]
        numbers = [frame.seq for frame in self.frames if isinstance(frame, Token)]

        assert payloads == [True] * (len(payloads) - 1) + [False]
        assert terminals == [False] * (len(terminals) - 1) + [True]
        assert numbers == list(range(len(numbers)))


class House:
    """A dispatcher, and everyone who talks to it."""

    def __init__(self, pipeline: Pipeline, bus: Bus, world: Bus, tasks: asyncio.TaskGroup) -> None:
        self.pipeline = pipeline
        self.bus = bus
        """The dispatcher's own connection."""
        self.world = world
        """The connection of everyone else."""
        self.subjects = Subjects()
        self.streams: list[Stream] = []
        self.replies: list[Stream] = []
        self.job_events: list[dict[str, Any]] = []
        self.device_events: list[tuple[str, str]] = []
        self.job_subjects: list[str] = []
        self.devices: list[ScriptedDevice] = []
        self.sent = 0
        self._tasks = tasks

    async def listen(self) -> None:
        """Hear all events."""
        await self.world.subscribe(f"{self.subjects.prefix}.evt.job.>", self._job_event)
        await self.world.subscribe(f"{self.subjects.prefix}.evt.dev.>", self._device_event)
        await self.world.flush()

    def _job_event(self, delivery: Delivery) -> None:
        self.job_events.append(codec.decode(delivery.data))
        self.job_subjects.append(delivery.subject)

    def _device_event(self, delivery: Delivery) -> None:
        body = codec.decode(delivery.data)
        self.device_events.append((str(body["state"]), str(body["device"])))

    async def device(self, name: str, *scripts: Script, **beat: Any) -> ScriptedDevice:
        """Bring up a device; it is in the roster on return."""
        one = ScriptedDevice(self.world, self.subjects, self._tasks, name, scripts, **beat)
        self.devices.append(one)
        await one.start()
        await self.beat(one)
        return one

    async def beat(self, device: ScriptedDevice, **fields: Any) -> None:
        """Send a heartbeat; the roster has it on return."""
        await device.beat(**fields)
        known = self.pipeline.roster.fleet.devices

        def taken_in() -> bool:
            return device.name in known and (known[device.name].beat.boot, known[device.name].beat.seq) == (
                device.boot,
                device.beats,
            )

        await until(taken_in, f"the roster hears {device.name}")

    async def send(
        self,
        payload: bytes,
        *,
        framed: bool = True,
        tenant: str = "default",
        reply: str | None = None,
        kind: str = "chat",
    ) -> Stream:
        """Send bytes as a request."""
        stream = Stream(self.world, self.world.new_inbox() if reply is None else reply)
        if stream.inbox:
            await self.world.subscribe(stream.inbox, stream.arrived.append)
            (self.streams if framed else self.replies).append(stream)
        self.sent += 1
        await self.world.publish(self.subjects.work(kind, tenant), payload, reply=stream.inbox)
        return stream

    async def stream(self, prompt: str = "hi", *, encoding: Encoding = Encoding.JSON, **fields: Any) -> Stream:
        """Ask for frames."""
        return await self.send(codec.encode({"prompt": prompt, "stream": True, **fields}, encoding))

    async def talk(self, messages: Sequence[Mapping[str, str]], **fields: Any) -> Stream:
        """Ask a conversation's next turn, for frames."""
        return await self.send(codec.encode({"messages": list(messages), "stream": True, **fields}))

    async def ask(self, prompt: str = "hi", *, encoding: Encoding = Encoding.JSON, **fields: Any) -> Stream:
        """Ask for one reply."""
        return await self.send(codec.encode({"prompt": prompt, **fields}, encoding), framed=False)

    async def embed(self, *texts: str, model: str = "embedder", framed: bool = True, **fields: Any) -> Stream:
        """Ask for embeddings."""
        asked = {"inputs": list(texts), "model": model, "stream": framed, **fields}
        return await self.send(codec.encode(asked), framed=framed, kind="embed")

    async def order(self, job: str, verb: str) -> dict[str, Any]:
        """Send a control message and give the answer."""
        answer = await self.world.request(self.subjects.control(job, verb), b"{}", timeout_s=PATIENCE_S)
        return codec.decode(answer.data)

    async def waiting(self, number: int) -> None:
        """Wait until so many jobs stand in the line."""
        await until(lambda: self.pipeline.courier.line.waiting == number, f"{number} jobs wait")

    def own(self) -> dict[str, int]:
        """The attempts that the dispatcher counts on each device."""
        return {name: one.own for name, one in self.pipeline.roster.fleet.devices.items()}

    async def event(self, job: str) -> dict[str, Any]:
        """Wait for a job's event."""
        await until(lambda: any(one["job"] == job for one in self.job_events), f"the event of {job}")
        return next(one for one in self.job_events if one["job"] == job)

    async def settle(self) -> None:
        """Wait until every job is over and told, and all that was published has arrived."""
        await until(lambda: self.pipeline.running == 0, "all jobs are over")
        await until(lambda: len(self.job_events) >= self.sent, f"{self.sent} job events")
        await self.bus.flush()
        await self.world.flush()

    def check(self) -> None:
        """What must hold at the end of every test."""
        for stream in self.streams:
            stream.check()
        for reply in self.replies:
            assert [True] == [bool(one.data) for one in reply.arrived if one.data]
        self.check_slots()

        assert self.sent == len(self.job_events)
        accepted = Counter(frame.job for stream in self.streams for frame in stream.frames if isinstance(frame, Ack))
        assert accepted <= Counter(str(event["job"]) for event in self.job_events)

    def check_slots(self) -> None:
        """Nothing is left behind: no slot, no place in the line, no reply subject."""
        assert set() == {name for name, own in self.own().items() if own}
        courier, waiting = self.pipeline.courier, self.pipeline.sharing.audience
        shared = (
            courier.pulse._answered,
            waiting.hear,
            self.pipeline.sharing.shelf.hear,
        )  # by all jobs, and by all listeners
        of_jobs = [handler for handler in courier.mux._slots.values() if handler not in shared]
        assert (0, 0, 0, []) == (courier.line.waiting, self.pipeline.running, len(waiting), of_jobs)


@asynccontextmanager
async def open_house(wires: Callable[[], AbstractAsyncContextManager[Connect]], **options: Any) -> AsyncIterator[House]:
    """Run a dispatcher; on leaving, every job must be over, told once, and without a trace. `options` are those of `settings`."""
    async with wires() as connect, connect() as bus, connect() as world, asyncio.TaskGroup() as tasks:
        async with dispatcher(settings(**options), bus) as pipeline:
            house = House(pipeline, bus, world, tasks)
            await house.listen()
            yield house
        await house.settle()
        house.check()
        for device in house.devices:
            await device.die()
