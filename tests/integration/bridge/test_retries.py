"""The openai package sends again what it lost; with an Idempotency-Key the fleet runs it once. Real package, real bridge, real
dispatcher, and a network that breaks."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from common.bus.nats import NatsOptions, connect_nats
from dispatcher.app import dispatcher
from dispatcher.pipeline import Pipeline
from tests.bridge_process import BridgeProcess, bridge_process
from tests.integration.dispatcher.house import House, settings
from tests.integration.dispatcher.scripted import Hold, Script, ScriptedDevice, answer, go_on, stall, until
from tests.nats_server import nats_server
from tests.proxy import Proxy, tcp_proxy

HI: Any = [{"role": "user", "content": "hi"}]
KEY = {"Idempotency-Key": "order 66"}
HANG_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A client whose connection goes through a proxy, and all that stands behind it."""

    client: openai.AsyncOpenAI
    proxy: Proxy
    bridge: BridgeProcess
    device: ScriptedDevice
    house: House
    pipeline: Pipeline


@asynccontextmanager
async def site(*scripts: Script, **environment: str) -> AsyncIterator[Site]:
    """Open everything around one device."""
    async with (
        nats_server() as server,
        connect_nats(NatsOptions(urls=(server.url,))) as bus,
        connect_nats(NatsOptions(urls=(server.url,))) as world,
        asyncio.TaskGroup() as tasks,
    ):
        async with (
            dispatcher(settings(), bus) as pipeline,
            bridge_process(server.url, **environment) as bridge,
            tcp_proxy(bridge.port) as proxy,
            openai.AsyncOpenAI(
                base_url=f"http://127.0.0.1:{proxy.port}/v1", api_key="none", max_retries=2, timeout=HANG_S
            ) as client,
        ):
            house = House(pipeline, bus, world, tasks)
            await house.listen()
            device = await house.device("nano", *scripts, slots=4)
            yield Site(client=client, proxy=proxy, bridge=bridge, device=device, house=house, pipeline=pipeline)
        await device.die()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_connection_that_breaks_costs_no_second_run(stream: bool) -> None:
    """The line is cut after the request was sent, before an answer: the package comes again with the same key, and joins.

    Of a stream the answer has begun with its headers, and after those the package does not come again: here they wait for a text.
    """
    script = Hold(then=go_on("Once ", "upon"))
    async with site(script, DROVER_HTTP_HEADER_HOLD_S="60") as here, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask(here.client, stream=stream, headers=KEY))
        await script.reached.wait()
        here.proxy.reset()
        await until(lambda: any(event["state"] == "attached" for event in here.house.job_events), "it comes again")
        script.released.set()
        text = await asking

        assert ("Once upon", 1, [], True) == (
            text,
            len(here.device.attempts),
            here.device.cancels,
            here.proxy.accepted >= 2,
        )


async def test_an_answer_that_was_lost_on_its_way_is_given_again() -> None:
    """The job has ended when the package comes again: the bridge gives the same answer, and says so."""
    async with site(answer("Once upon")) as here, asyncio.TaskGroup() as tasks:
        here.proxy.latency_s = 1.0
        asking = tasks.create_task(here.client.chat.completions.create(model="auto", messages=HI, extra_headers=KEY))
        await until(lambda: len(here.pipeline.sharing.kept) == 1, "it is answered")
        here.proxy.latency_s = 0.0
        here.proxy.reset()
        said = await asking
        account = (said.model_extra or {})["x_drover"]

        assert ("Once upon", True, 1) == (
            said.choices[0].message.content,
            account.get("replayed"),
            len(here.device.attempts),
        )


async def test_without_a_key_a_broken_connection_cancels_at_once() -> None:
    """The package sends no key of its own: nobody can tell its retry from a new request, so the first run is ended."""
    first = stall()
    async with site(first, answer("again")) as here, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask(here.client, stream=False, headers={}))
        attempt = await here.device.attempt()
        here.proxy.reset()
        await until(attempt.cancelled.is_set, "the first run is cancelled")

        assert ("again", 2) == (await asking, len(here.device.attempts))


async def test_a_client_that_does_not_come_again_ends_its_job_after_the_grace() -> None:
    """The key keeps the job for a while, not for ever."""
    async with site(stall(), DROVER_HTTP_RETRY_GRACE_S="0.3") as here, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask_once(here.client, KEY))
        attempt = await here.device.attempt()
        here.proxy.reset()
        await until(attempt.cancelled.is_set, "the device stops")

        assert (openai.APIConnectionError, 1) == (type(await asking), len(here.device.attempts))


async def test_a_key_that_means_another_request_is_a_conflict() -> None:
    """409, and the package does not try again."""
    async with site(answer("Once")) as here:
        await ask(here.client, stream=False, headers=KEY)
        with pytest.raises(openai.ConflictError) as caught:
            await here.client.chat.completions.create(
                model="auto", messages=[{"role": "user", "content": "other"}], extra_headers=KEY
            )

        assert ("duplicate_job", "false", 1) == (
            caught.value.code,
            caught.value.response.headers["x-should-retry"],
            len(here.device.attempts),
        )


async def test_a_bridge_that_is_killed_leaves_no_job_behind() -> None:
    """Its connection to NATS is gone with it: the dispatcher hears that nobody listens."""
    async with site(stall("Once")) as here, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask_once(here.client, {}))
        attempt = await here.device.attempt()
        await here.bridge.signal_and_wait(signal.SIGKILL)
        await until(attempt.cancelled.is_set, "the device stops")

        assert (openai.APIConnectionError, 1) == (type(await asking), len(here.device.attempts))


async def ask(client: openai.AsyncOpenAI, *, stream: bool, headers: dict[str, str]) -> str:
    """Ask, streamed or not, and give the text."""
    if not stream:
        whole = await client.chat.completions.create(model="auto", messages=HI, extra_headers=headers)
        return whole.choices[0].message.content or ""
    chunks = await client.chat.completions.create(model="auto", messages=HI, stream=True, extra_headers=headers)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])


async def ask_once(client: openai.AsyncOpenAI, headers: dict[str, str]) -> str | openai.OpenAIError:
    """Ask without a second try, and give the text or the error."""
    try:
        return await ask(client.with_options(max_retries=0), stream=False, headers=headers)
    except openai.OpenAIError as error:
        return error
