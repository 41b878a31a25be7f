"""A dispatcher that stops: it takes no new jobs, lets the running ones finish, and gives the others a last word."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from common import codec, frames
from common.bus import Bus
from common.bus.memory import MemoryBroker, MemoryBus, connect_memory
from common.frames import Err
from dispatcher.app import dispatcher
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import House, Stream, settings
from tests.integration.dispatcher.scripted import PATIENCE_S, Hold, answer, go_on, stall, until


async def test_running_jobs_finish(a_house: OpenHouse) -> None:
    """Within the grace a running job, and one that waits, are answered; new ones find nobody meanwhile."""
    hold = Hold("Once ", then=go_on("upon"))
    streams: list[Stream] = []

    async def release(house: House) -> None:
        await shut(house)
        hold.released.set()

    async with asyncio.TaskGroup() as tasks, a_house() as house:
        await house.device("nano", hold, answer("ok"))
        streams.append(await house.stream())
        await hold.reached.wait()
        streams.append(await house.stream())
        await house.waiting(1)
        tasks.create_task(release(house))

    assert ["Once upon", "ok"] == [stream.text for stream in streams]


async def shut(house: House) -> None:
    """Knock until nobody opens; who is let in before that is a guest like others."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            knock = await house.stream()
            await until(lambda knock=knock: bool(knock.arrived), "an answer, or nobody")  # type: ignore[misc]  # bound per round
            if knock.arrived[0].no_responders:
                house.streams.remove(knock)
                house.sent -= 1
                return


async def test_the_rest_gets_a_last_word(a_house: OpenHouse) -> None:
    """After the grace what still runs or waits is ended: each with a terminal frame that tells to send it again, a record, and a
    cancel for the device."""
    streams: list[Stream] = []
    async with a_house(grace_s=0.1) as house:
        nano = await house.device("nano", stall("Once "))
        streams.append(await house.stream())
        await until(lambda: streams[0].text == "Once ", "the text is visible")
        streams.append(await house.stream())
        await house.waiting(1)
    ends = [stream.frames[-1] for stream in streams]

    told = [(one.error.code, one.error.retryable) for one in ends if isinstance(one, Err)]
    assert [("interrupted", True), ("stopping", True)] == told  # the first has shown text already
    assert (1, {"failed"}) == (len(nano.cancels), {str(event["state"]) for event in house.job_events})


class Tap(MemoryBus):
    """A bus that notes errors and flushes in their order, and can hold an error back."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.noted: list[str] = []
        self.reached = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        if b'"t":"err"' in data:
            self.reached.set()
            await self.released.wait()
            self.noted.append("err")
        await super().publish(subject, data, reply=reply, headers=headers)

    async def flush(self, *, timeout_s: float = 5.0) -> None:
        self.noted.append("flush")
        await super().flush(timeout_s=timeout_s)


async def test_the_doors_and_the_last_words_are_flushed() -> None:
    """A dispatcher is ready when the server knows its doors, and gone when the server has the terminal frames of cut jobs."""
    broker = MemoryBroker()
    bus = Tap(broker)
    async with connect_memory(broker) as world, asyncio.TaskGroup() as tasks:
        async with dispatcher(settings(grace_s=0.05), bus) as pipeline:
            ready = list(bus.noted)
            house = House(pipeline, bus, world, tasks)
            nano = await house.device("nano", stall("Once "))
            stream = await house.stream()
            await until(lambda: stream.text == "Once ", "the text is visible")
        await nano.die()
    bus.close()

    assert (["flush"], ["err", "flush"]) == (ready, bus.noted[1:])


async def test_a_cancel_does_not_reach_the_last_words() -> None:
    """A second cancel, while the terminal frame of the first is on its way, costs the job neither that frame nor its record."""
    broker = MemoryBroker()
    bus = Tap(broker)
    async with connect_memory(broker) as world, asyncio.TaskGroup() as tasks:
        async with dispatcher(settings(), bus) as pipeline:
            house = House(pipeline, bus, world, tasks)
            await house.listen()
            nano = await house.device("nano", stall("Once "))
            bus.released.clear()
            stream = await house.stream(job="j1")
            await until(lambda: stream.text == "Once ", "the text is visible")
            first = pipeline.cancel("j1", "once")
            await bus.reached.wait()
            second = pipeline.cancel("j1", "twice")
            pipeline.stop_all()
            bus.released.set()
            last = await stream.error()
            event = await house.event("j1")
        await nano.die()
    bus.close()

    assert (True, False, "cancelled", "cancelled") == (first, second, last.error.code, event["state"])


async def test_an_idle_dispatcher_stops_at_once(a_house: OpenHouse) -> None:
    """Nothing runs, nothing is waited for."""
    async with a_house(grace_s=60.0) as house:
        await house.device("nano", answer("ok"))
        await (await house.stream()).end()

    assert 1 == len(house.job_events)


async def test_nothing_is_heard_after_the_end() -> None:
    """A dispatcher that is gone leaves no subscription on a bus that lives on."""
    broker = MemoryBroker()
    async with connect_memory(broker) as bus:
        before = len(bus._interests)
        async with dispatcher(settings(), bus):
            during = len(bus._interests)
        after = len(bus._interests)

    assert (True, before) == (during > before, after)


async def test_a_lost_connection_ends_a_job_with_a_record() -> None:
    """When the bus goes in the middle of a job, no device is blamed, the process lives, and serves again when the bus is back."""
    broker = MemoryBroker()
    async with (
        connect_memory(broker) as bus,
        connect_memory(broker) as world,
        asyncio.TaskGroup() as tasks,
        dispatcher(settings(), bus) as pipeline,
    ):
        house = House(pipeline, bus, world, tasks)
        hold = Hold("some", then=go_on("more"))
        nano = await house.device("nano", hold, answer("again"))
        stream = await house.stream()
        await until(lambda: stream.text == "some", "the text is visible")
        bus.disconnect()
        pipeline.stop_all()
        await until(lambda: pipeline.running == 0, "the job is over")
        blamed = pipeline.roster.fleet.devices["nano"].track.error_rate
        bus.reconnect()
        second = await house.stream()
        await second.end()
        await until(lambda: pipeline.running == 0, "the second job is over")  # its last frame is not its end
        house.check_slots()
        await nano.die()

    assert (0.0, "again") == (blamed, second.text)


async def test_a_bus_that_fails_blames_no_device() -> None:
    """A job that can't be published ends with the bus's error: devices are not tried one after the other, and not held to it."""
    broker = MemoryBroker()
    async with (
        connect_memory(broker) as bus,
        connect_memory(broker) as world,
        asyncio.TaskGroup() as tasks,
        dispatcher(settings(), bus) as pipeline,
    ):
        house = House(pipeline, bus, world, tasks)
        for name in ("a", "b", "c"):
            await house.device(name, answer("never"))
        pipeline.bus = _Mute(bus)  # type: ignore[assignment]  # it only publishes
        pipeline.courier.bus = _Mute(bus)  # type: ignore[assignment]
        reply = Stream(world, world.new_inbox())
        await world.subscribe(reply.inbox, reply.arrived.append)
        await world.publish(house.subjects.work("chat", "default"), b'{"prompt":"hi"}', reply=reply.inbox)
        body = await reply.reply()
        await until(lambda: pipeline.running == 0, "the job is over")
        rates = {one.track.error_rate for one in pipeline.roster.fleet.devices.values()}
        house.check_slots()
        for device in house.devices:
            await device.die()

    assert ("disconnected", {0.0}) == (body["error"]["code"], rates)


class _Mute:
    """A bus that carries everything but dispatches."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.connected = True

    async def publish(self, subject: str, data: bytes, **more: str) -> None:
        if ".dev." in subject:
            raise frames.errors.BusDisconnected("the line is cut")
        await self._bus.publish(subject, data, **more)  # type: ignore[arg-type]

    async def flush(self, *, timeout_s: float = 5.0) -> None:
        await self._bus.flush(timeout_s=timeout_s)


def test_the_words_of_a_stop_can_be_read() -> None:
    """The terminal frame of a cut job reads back as what it is."""
    frame = Err(frames.errors.JobCancelled("the dispatcher is stopping; send it again"))
    read = frames.from_wire(codec.decode(codec.encode(frames.to_wire(frame))))

    assert isinstance(read, Err)
    assert ("cancelled", frame.error.message) == (read.error.code, read.error.message)
