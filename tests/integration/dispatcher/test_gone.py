"""A producer that is gone without a word: NATS says so when a frame finds nobody, and the job ends for want of listeners."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from common.bus.nats import NatsOptions, connect_nats
from common.frames import KeepAlive, Phase, Token
from dispatcher.app import dispatcher
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import House, settings
from tests.integration.dispatcher.scripted import Hold, go_on, stall, until
from tests.nats_server import nats_server

ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def killed_producer(url: str, job: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A producer of its own process, which is killed at the latest with the context."""
    command = (sys.executable, "-m", "tests.producer_process", url, job)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_killed_producer_s_job_is_cancelled() -> None:
    """SIGKILL on a real process: nobody unsubscribes, nobody hangs up, and the device stops all the same."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        bus, world = [
            await stack.enter_async_context(connect_nats(NatsOptions(urls=(server.url,), name=name)))
            for name in ("dispatcher", "world")
        ]
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        pipeline = await stack.enter_async_context(dispatcher(settings(), bus))
        house = House(pipeline, bus, world, tasks)
        await house.listen()
        nano = await house.device("nano", stall("Once"))
        producer = await stack.enter_async_context(killed_producer(server.url, "j1"))
        assert producer.stdout is not None
        heard = await producer.stdout.readline()
        loop = asyncio.get_running_loop()
        killed_s = loop.time()
        producer.kill()
        await until(nano.attempts[0].cancelled.is_set, "the device hears of it")
        took_s = loop.time() - killed_s
        event = await house.event("j1")
        await nano.die()

        assert (b"Once\n", "cancelled", True) == (heard, event["state"], took_s < 10.0)


@pytest.mark.parametrize("hold", [False, True])
async def test_a_stream_that_nobody_hears_any_more_is_found(a_house: OpenHouse, hold: bool) -> None:
    """The inbox is closed while the device is silent, and while it speaks to one that holds."""
    async with a_house() as house:
        nano = await house.device("nano", stall("Once"))
        stream = await house.stream(job="j1", hold=hold)
        await nano.attempt()
        house.streams.remove(stream)
        subscriptions = [
            one for one in house.world._interests if getattr(one, "_handler", None) == stream.arrived.append
        ]  # type: ignore[attr-defined]  # both buses have it
        for subscription in subscriptions:
            await subscription.unsubscribe()
        await until(nano.attempts[0].cancelled.is_set, "the device hears of it")

        assert (1, "cancelled") == (len(subscriptions), (await house.event("j1"))["state"])


async def test_one_that_is_gone_leaves_the_others(a_house: OpenHouse) -> None:
    """Of two listeners one vanishes; the other has the whole answer."""
    async with a_house() as house:
        script = Hold("Once ", then=go_on("upon"))
        nano = await house.device("nano", script)
        stays, goes = await house.stream(job="j1"), await house.stream(job="j1")
        await goes.seen(Token)
        house.streams.remove(goes)
        for one in [one for one in house.world._interests if getattr(one, "_handler", None) == goes.arrived.append]:  # type: ignore[attr-defined]
            await one.unsubscribe()
        await until(lambda: len(house.pipeline.sharing.audience) == 1, "one is left")
        script.released.set()
        await stays.end()

        assert ("Once upon", []) == (stays.text, nano.cancels)


async def test_nobody_waits_in_silence(a_house: OpenHouse) -> None:
    """A device that says nothing for seconds, keep-alives included, is no reason to take the dispatcher for dead."""
    async with a_house() as house:
        script = Hold("Once")
        await house.device("nano", script)
        stream = await house.stream()
        await stream.seen(Token)
        said = await stream.seen(KeepAlive, 2)
        script.released.set()
        await stream.end()

        assert KeepAlive(Phase.DECODE) == said
