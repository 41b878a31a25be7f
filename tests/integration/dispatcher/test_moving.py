"""Jobs that another dispatcher has, that are left and come back to, or whose dispatcher goes: none is lost, none runs twice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from common import codec
from common.bus.memory import MemoryBroker, MemoryBus, connect_memory
from common.frames import Ack, Token
from dispatcher.app import dispatcher
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import House, Stream, settings
from tests.integration.dispatcher.neighbour import Neighbour
from tests.integration.dispatcher.scripted import Hold, answer, go_on, stall, until


def waiting(house: House) -> int:
    """Count those who wait for an answer here."""
    return len(house.pipeline.sharing.audience)


async def test_who_comes_during_a_move_moves_too(a_house: OpenHouse) -> None:
    """A third party that joins while the second is handed over is handed over like it."""
    async with a_house() as house:
        neighbour = Neighbour(house)
        await neighbour.move_in()
        streams = []
        for number in (1, 2):
            streams.append(await house.stream(job="j1"))
            await until(lambda number=number: waiting(house) == number, "it waits")  # type: ignore[misc]  # bound per round
        await neighbour.say(1, "mine")
        await neighbour.question(2)
        streams.append(await house.stream(job="j1"))
        await until(lambda: waiting(house) == 2, "the third waits beside the second")
        await neighbour.say(2, "mine")
        await neighbour.say(3, "mine")
        await until(lambda: house.pipeline.running == 0, "the job has moved")
        asked = [(await neighbour.question(number))["reply"] for number in (1, 2, 3)]
        house.streams.clear()
        house.sent = len(house.job_events)

        assert ([stream.inbox for stream in streams], 0) == (asked, waiting(house))


async def test_a_connection_that_breaks_during_a_move_leaves_nobody_seated() -> None:
    """The first party that can't be told costs those behind it nothing: all are let go."""
    broker = MemoryBroker()
    async with (
        connect_memory(broker) as bus,
        connect_memory(broker) as world,
        asyncio.TaskGroup() as tasks,
        dispatcher(settings(), bus) as pipeline,
    ):
        house = House(pipeline, bus, world, tasks)
        neighbour = Neighbour(house)
        await neighbour.move_in()
        for number in (1, 2, 3):
            await house.stream(job="j1")
            await until(lambda number=number: waiting(house) == number, "it waits")  # type: ignore[misc]  # bound per round
        await neighbour.say(1, "mine")
        await neighbour.question(2)
        bus.disconnect()
        await until(lambda: pipeline.running == 0, "the job has moved")
        bus.reconnect()

        assert 0 == waiting(house)


async def test_who_comes_back_starts_the_grace_anew(a_house: OpenHouse) -> None:
    """Left, back, left again: the job lives on for the second grace, however soon the first one would have ended."""
    async with a_house() as house:
        nano = await house.device("nano", Hold("Once ", then=go_on("upon")), slots=2)
        first = await house.stream(job="j1")
        await first.seen(Token)
        now_s = asyncio.get_running_loop().time
        await leave(house, first, keep_s=0.3)
        await until(lambda: waiting(house) == 0, "it has left")
        due_s = now_s() + 0.3
        second = await house.stream(job="j1")
        await second.seen(Token)
        await leave(house, second, keep_s=50.0)
        await until(lambda: waiting(house) == 0, "it has left again")
        await until(lambda: now_s() > due_s + 0.05, "the first grace is over")
        script = nano._scripts[0]
        assert isinstance(script, Hold)
        script.released.set()
        third = await house.stream(job="j1")
        await third.end()
        house.streams = [third]
        house.sent = len(house.job_events)

        assert ("Once upon", 1, []) == (third.text, len(nano.attempts), nano.cancels)


async def leave(house: House, stream: Stream, *, keep_s: float) -> None:
    """Hang up, and say for how long the job is to live on."""
    body = codec.encode({"tenant": "default", "reply": stream.inbox, "keep_s": keep_s})
    await house.world.publish(house.subjects.control("j1", "cancel"), body)


async def test_a_retry_during_the_grace_joins_the_job_of_the_one_that_goes() -> None:
    """A dispatcher that takes no new jobs still answers for those it has: in a rolling restart no job runs twice."""
    broker = MemoryBroker()
    async with (
        connect_memory(broker) as one,
        connect_memory(broker) as other,
        connect_memory(broker) as world,
        asyncio.TaskGroup() as tasks,
    ):
        goes, gone = asyncio.Event(), asyncio.Event()
        started: list[House] = []

        async def first() -> None:
            async with dispatcher(settings(), one) as pipeline:
                started.append(House(pipeline, one, world, tasks))
                await goes.wait()
            gone.set()

        tasks.create_task(first())
        await until(lambda: bool(started), "the first is up")
        (house,) = started
        script = Hold("Once ", then=go_on("upon"))
        nano = await house.device("nano", script, slots=2)
        before = await house.stream(job="j1")
        await before.seen(Token)
        async with dispatcher(settings(), other) as second:
            me = house.pipeline.sharing.peers.me
            await until(lambda: me in second.sharing.peers.others, "the second knows the first")
            await nano.beat()
            await until(lambda: "nano" in second.roster.fleet.devices, "the second knows the device")
            goes.set()
            jobs = house.subjects.work("chat", "*")
            doors = lambda: sum(interest.subject == jobs for interest in broker._interests)  # noqa: E731
            await until(lambda: doors() == 1, "the first takes no jobs")
            again = await house.stream(job="j1")
            await again.seen(Ack)
            await again.seen(Token)
            script.released.set()
            for stream in (before, again):
                await stream.end()
            await gone.wait()
            await until(lambda: not second.sharing.peers.others, "it says goodbye when it is done")
        await nano.die()

        assert ("Once upon", "Once upon", 1) == (before.text, again.text, len(nano.attempts))


class Rotten(MemoryBus):
    """A bus with a bug of its own: once, on a subject that a test names, it raises what no bus should."""

    bad = ""

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        if self.bad and subject.startswith(self.bad):
            self.bad = ""
            raise RuntimeError("a bug")
        await super().publish(subject, data, reply=reply, headers=headers)


@pytest.mark.parametrize("where", ["a refusal", "an unknown job", "an event", "a question", "an order's answer"])
async def test_a_bug_in_one_task_ends_no_other_job(where: str) -> None:
    """It is logged; the dispatcher goes on, and the next job is answered."""
    broker = MemoryBroker()
    bus = Rotten(broker)
    async with connect_memory(broker) as world, asyncio.TaskGroup() as tasks:
        async with dispatcher(settings(), bus) as pipeline:
            house = House(pipeline, bus, world, tasks)
            nano = await house.device("nano", stall("Once "), answer("fine"), slots=4)
            running = await house.stream(job="j1")
            await running.seen(Token)
            victim = Stream(world, world.new_inbox())
            match where:
                case "a refusal":
                    bus.bad = victim.inbox
                    await house.send(b"\xff", reply=victim.inbox)
                case "an unknown job":
                    bus.bad = victim.inbox
                    await world.publish("llm.v1.ctl.nobody.status", b"{}", reply=victim.inbox)
                case "an order's answer":
                    bus.bad = victim.inbox
                    await world.publish("llm.v1.ctl.j1.status", b"{}", reply=victim.inbox)
                case "an event":
                    bus.bad = "llm.v1.evt.job.attached"
                    await house.stream(job="j1")
                case _:
                    await Neighbour(house).move_in()
                    bus.bad = f"llm.v1.peer.{pipeline.sharing.peers.me}.attach"
                    await house.stream(job="j2")
            await until(lambda: not bus.bad, "the bug is met")
            after = await house.stream()
            await after.end()
            await house.order("j1", "cancel")
        await nano.die()

        assert "fine" == after.text
