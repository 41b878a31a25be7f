"""Several dispatchers on one bus: a job whose id a client chose runs once, whichever of them gets it, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from common import codec
from common.bus import Delivery
from common.frames import Token
from dispatcher.app import dispatcher
from dispatcher.pipeline import Pipeline
from tests.integration.dispatcher.house import House, Stream, memory_wires, nats_wires, settings
from tests.integration.dispatcher.scripted import Hold, answer, go_on, stall, until


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two dispatchers that know one another, the first by name before the second; the house is the first one's."""

    house: House
    first: Pipeline
    second: Pipeline
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

    async def take(self, pipeline: Pipeline, **fields: Any) -> Stream:
        """Send a job to this very dispatcher, as the queue group might."""
        stream = await self.inbox()
        self.push(pipeline, stream, **fields)
        return stream

    async def inbox(self) -> Stream:
        """Open an inbox."""
        world = self.house.world
        stream = Stream(world, world.new_inbox())
        await world.subscribe(stream.inbox, stream.arrived.append)
        await world.flush()
        return stream

    def push(self, pipeline: Pipeline, stream: Stream, **fields: Any) -> None:
        """Put a job into a dispatcher, now."""
        body = {"prompt": "hi", "stream": True, "job": "j1", **fields}
        pipeline.take(
            Delivery(self.house.subjects.work("chat", "default"), codec.encode(body), stream.inbox), self.spawn
        )


OpenPair = Callable[[], AbstractAsyncContextManager[Pair]]


@pytest.fixture(params=["memory", "nats"])
def a_pair(request: pytest.FixtureRequest) -> OpenPair:
    """Opens two dispatchers."""
    wires: Any = memory_wires if request.param == "memory" else nats_wires

    @asynccontextmanager
    async def opened() -> AsyncIterator[Pair]:
        async with (
            wires() as connect,
            connect() as one,
            connect() as other,
            connect() as world,
            asyncio.TaskGroup() as tasks,
        ):
            async with (
                dispatcher(settings(), one) as a,
                dispatcher(settings(), other) as b,
                asyncio.TaskGroup() as jobs,
            ):
                first, second = sorted((a, b), key=lambda pipeline: pipeline.sharing.peers.me)
                house = House(first, one, world, tasks)
                await house.listen()
                names = {pipeline.sharing.peers.me for pipeline in (a, b)}
                await until(
                    lambda: all({p.sharing.peers.me, *p.sharing.peers.others} == names for p in (a, b)), "they meet"
                )
                yield Pair(house=house, first=first, second=second, spawn=jobs.create_task)
            for device in house.devices:
                await device.die()

    return opened


async def both_know(pair: Pair) -> None:
    """Wait until both have heard of the devices."""
    names = {device.name for device in pair.house.devices}
    await until(lambda: names <= set(pair.second.roster.fleet.devices), "the second knows the devices")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["the first by name first", "the second first"])
async def test_an_id_at_two_dispatchers_in_one_moment_runs_once(a_pair: OpenPair, order: tuple[int, int]) -> None:
    """Both get it before either has heard of the other's: the one whose name comes first runs it, and both parties are answered."""
    async with a_pair() as pair:
        nano = await pair.house.device("nano", answer("a", "b"), slots=4)
        await both_know(pair)
        both = (pair.first, pair.second)
        texts = []
        for round_number in range(10):
            streams = [await pair.inbox() for _ in order]
            for index, stream in zip(order, streams, strict=True):
                pair.push(both[index], stream, job=f"j{round_number}")
            for stream in streams:
                await stream.end()
                stream.check()
                texts.append(stream.text)

        assert (["ab"] * 20, 10) == (texts, len(nano.attempts))


@pytest.mark.parametrize("running_at", [0, 1])
async def test_a_retry_that_lands_elsewhere_joins_the_running_job(a_pair: OpenPair, running_at: int) -> None:
    """The other dispatcher lets its party hear the one that has the job: text so far, then live."""
    async with a_pair() as pair:
        script = Hold("Once ", then=go_on("upon"))
        nano = await pair.house.device("nano", script, slots=4)
        await both_know(pair)
        both = (pair.first, pair.second)
        here = await pair.take(both[running_at])
        await here.seen(Token)
        there = await pair.take(both[1 - running_at])
        await there.seen(Token)
        script.released.set()
        for stream in (here, there):
            await stream.end()
            stream.check()

        assert ("Once upon", "Once upon", 1) == (here.text, there.text, len(nano.attempts))


async def test_a_finished_answer_is_replayed_from_where_it_is(a_pair: OpenPair) -> None:
    """The retry comes late and elsewhere: the same text, marked, and no device hears of it."""
    async with a_pair() as pair:
        nano = await pair.house.device("nano", answer("Once"))
        await both_know(pair)
        await (await pair.take(pair.first)).end()
        again = await pair.take(pair.second)
        end = await again.end()

        assert ("Once", True, 1) == (again.text, (end.route or {}).get("replayed"), len(nano.attempts))


async def test_an_id_means_one_request_everywhere(a_pair: OpenPair) -> None:
    """Another request under an id that the other dispatcher has is refused by name."""
    async with a_pair() as pair:
        nano = await pair.house.device("nano", answer("Once"))
        await both_know(pair)
        await (await pair.take(pair.first)).end()
        last = await (await pair.take(pair.second, prompt="other")).error()

        assert ("duplicate_job", 1) == (last.error.code, len(nano.attempts))


async def test_a_first_sending_asks_nobody(a_pair: OpenPair) -> None:
    """A producer that has just made up its id, and says so, does not wait for other dispatchers."""
    async with a_pair() as pair:
        asked: list[Delivery] = []
        await pair.house.world.subscribe("llm.v1.peer.*.attach", asked.append)
        await pair.house.world.flush()
        await pair.house.device("nano", answer("Once"))
        await both_know(pair)
        await (await pair.take(pair.second, job="fresh", resends=0)).end()
        await (await pair.take(pair.second, job="known")).end()
        await until(lambda: bool(asked), "the second one is asked for")

        assert ["known"] == [codec.decode(one.data)["job"] for one in asked]


async def test_a_party_that_joined_from_elsewhere_can_hang_up(a_pair: OpenPair) -> None:
    """Its leaving is heard by the one that has the job; the last one to leave cancels."""
    async with a_pair() as pair:
        nano = await pair.house.device("nano", stall("Once"))
        await both_know(pair)
        streams = [await pair.take(pair.first), await pair.take(pair.second)]
        for stream in streams:
            await stream.seen(Token)
        for stream in streams:
            order = codec.encode({"tenant": "default", "reply": stream.inbox})
            await pair.house.world.publish("llm.v1.ctl.j1.cancel", order)
        await until(nano.attempts[0].cancelled.is_set, "the device hears of it")

        assert [("j1", 1)] == nano.cancels


async def test_the_owner_s_answer_comes_before_the_others_ignorance(a_pair: OpenPair) -> None:
    """Who cancels by hand hears the one that has the job; an id that nobody has is said to be unknown."""
    async with a_pair() as pair:
        await pair.house.device("nano", stall("Once"))
        await both_know(pair)
        stream = await pair.take(pair.second)
        await stream.seen(Token)
        mine, nobody = await pair.house.order("j1", "cancel"), await pair.house.order("j2", "cancel")
        await stream.error()

        assert (True, False, "unknown") == (mine["cancelled"], nobody["cancelled"], nobody["state"])


async def test_a_dispatcher_that_leaves_is_not_asked(a_pair: OpenPair) -> None:
    """It says that it goes; the other is then alone, and waits for nobody."""
    async with a_pair() as pair:
        await pair.second.sharing.peers.leave()
        await until(lambda: not pair.first.sharing.peers.others, "the first is alone")
        await pair.house.device("nano", answer("Once"))
        stream = await pair.take(pair.first)
        await stream.end()

        assert "Once" == stream.text
