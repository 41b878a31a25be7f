"""Finished answers outlive the dispatcher that gave them: killed or restarted; with a store that works, fails, or is not there."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common import codec
from common.bus import Bus, Delivery
from common.bus.nats import NatsOptions, connect_nats
from common.bus.streams import StreamState
from common.client import Drover
from common.errors import StreamError
from common.frames import Token
from dispatcher.app import dispatcher
from dispatcher.pipeline import Pipeline
from dispatcher.settings import ReplaySection
from tests.commands import Running
from tests.integration.dispatcher.house import House, Stream, settings
from tests.integration.dispatcher.scripted import Hold, ScriptedDevice, answer, go_on, until
from tests.integration.durable.world import World, dispatcher_process, eventually, world
from tests.listening import GUARD_S
from tests.nats_server import nats_server

STREAM = "KV_LLM_ANSWERS"


@asynccontextmanager
async def serving(
    bus_url: str, devices: list[ScriptedDevice], through: Callable[[Bus], Bus] = lambda bus: bus, **replay: Any
) -> AsyncIterator[Pipeline]:
    """Run a dispatcher in this process that knows the devices; leaving it is a rolling restart's half."""
    options = NatsOptions(urls=(bus_url,), name="disp", initial_connect_timeout_s=30.0)
    chosen = replace(settings(grace_s=5.0), replay=ReplaySection(**replay))
    async with connect_nats(options) as bus, dispatcher(chosen, through(bus)) as pipeline:
        for device in devices:
            await device.beat()
        known = pipeline.roster.fleet
        await until(lambda: len(pipeline.roster.fleet.devices) == len(devices), f"the devices are known: {known}")
        yield pipeline


@asynccontextmanager
async def storing(
    here: World, through: Callable[[Bus], Bus] = lambda bus: bus, **replay: Any
) -> AsyncIterator[Pipeline]:
    """The same, once the server stores answers."""
    async with serving(here.server.url, here.devices, through, **replay) as pipeline:
        await until(pipeline.sharing.shelf.stands.is_set, "answers are stored")
        yield pipeline


async def ask(bus: Bus, *, tenant: str = "default", **fields: Any) -> Stream:
    """Ask as a producer that may come back."""
    stream = Stream(bus, bus.new_inbox())
    await bus.subscribe(stream.inbox, stream.arrived.append)
    body = {"prompt": "hi", "stream": True, "job": "j1", "keep_s": 10.0, **fields}
    await bus.publish(f"llm.v1.chat.{tenant}", codec.encode(body), reply=stream.inbox)
    return stream


async def answered(bus: Bus, **fields: Any) -> tuple[str, bool]:
    """Ask, and give the text with whether it was a replay."""
    stream = await ask(bus, **fields)
    end = await stream.end()
    stream.check()
    return stream.text, bool((end.route or {}).get("replayed"))


async def stored(here: World) -> int:
    """Count the answers in the store."""
    state: StreamState = await here.streams.state(STREAM)
    return state.messages


async def ready(command: Running, device: ScriptedDevice) -> None:
    """Wait until a dispatcher of its own process is up, and knows the device."""
    await command.until("dispatcher.ready")
    await device.beat()
    await command.until("device.joined")


ENDS = [signal.SIGKILL, signal.SIGTERM]


@pytest.mark.parametrize("number", ENDS, ids=["killed", "stopped"])
async def test_another_dispatcher_has_the_answer(tmp_path: Path, number: signal.Signals) -> None:
    """The one that answered goes the moment its end is heard; the next one gives the answer again, and no device hears of it."""
    async with world() as here:
        nano = await here.device("nano", answer("Once ", "upon"))
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(dispatcher_process(here, tmp_path))
            await ready(first, nano)
            texts = [await answered(here.bus)]
            first.signal(number)
            second = await stack.enter_async_context(dispatcher_process(here, tmp_path))
            await ready(second, nano)
            texts.append(await answered(here.bus, resends=1, resume="Once "))
            texts.append(await answered(here.bus, hold=True))

        assert ([("Once upon", False), ("Once upon", True), ("Once upon", True)], 1) == (texts, len(nano.attempts))


async def test_whoever_heard_the_end_never_makes_it_run_again(tmp_path: Path) -> None:
    """SIGKILL in the very moment of the end, five times: five jobs, five runs."""
    async with world() as here:
        nano = await here.device("nano", answer("Once"))
        async with AsyncExitStack() as stack:
            current = await stack.enter_async_context(dispatcher_process(here, tmp_path))
            await ready(current, nano)
            again = []
            for round_number in range(5):
                await answered(here.bus, job=f"j{round_number}")
                current.signal(signal.SIGKILL)
                current = await stack.enter_async_context(dispatcher_process(here, tmp_path))
                await ready(current, nano)
                again.append(await answered(here.bus, job=f"j{round_number}"))

        assert ([("Once", True)] * 5, 5) == (again, len(nano.attempts))


async def test_a_crash_before_the_end_runs_anew(tmp_path: Path) -> None:
    """Nobody has heard an end: the job runs again elsewhere, and goes on behind what was heard."""
    async with world() as here:
        hold = Hold("Once ")
        nano = await here.device("nano", hold, answer("upon"), slots=2)
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(dispatcher_process(here, tmp_path))
            await ready(first, nano)
            stream = await ask(here.bus)
            await stream.seen(Token)
            first.signal(signal.SIGKILL)
            second = await stack.enter_async_context(dispatcher_process(here, tmp_path))
            await ready(second, nano)
            text = await answered(here.bus, resends=1, resume="Once ")

        assert (("Once upon", False), 2) == (text, len(nano.attempts))


async def test_an_id_keeps_its_meaning() -> None:
    """After a restart another request under the id is refused by name, and no device hears of it."""
    async with world() as here:
        nano = await here.device("nano", answer("Once"))
        async with storing(here):
            await answered(here.bus)
        async with storing(here):
            last = await (await ask(here.bus, prompt="other")).error()

        assert ("duplicate_job", 1) == (last.error.code, len(nano.attempts))


async def test_another_tenant_s_id_is_another_job() -> None:
    """The same id and the same words: each tenant has its own answer."""
    async with world() as here:
        nano = await here.device("nano", answer("for alice"), answer("for bob"))
        async with storing(here):
            alice = await answered(here.bus, tenant="alice")
        async with storing(here):
            bob = await answered(here.bus, tenant="bob")
        async with storing(here):
            again = [await answered(here.bus, tenant=name) for name in ("alice", "bob")]

        assert ([("for alice", False), ("for bob", False), ("for alice", True), ("for bob", True)], 2) == (
            [alice, bob, *again],
            len(nano.attempts),
        )


async def test_an_answer_is_forgotten_after_its_time() -> None:
    """Once its age is over the job runs anew; a replay does not make it younger."""
    async with world() as here:
        nano = await here.device("nano", answer("old"), answer("new"))
        async with storing(here, ttl_s=1.0):
            await answered(here.bus)
        async with storing(here, ttl_s=1.0):
            await eventually(lambda: stored(here), 0, "the answer is forgotten")
            text = await answered(here.bus)

        assert (("new", False), 2) == (text, len(nano.attempts))


async def test_who_does_not_come_back_costs_the_store_nothing() -> None:
    """An id that the client library made up, one that a producer gave, no id: neither is stored, nor looked for."""
    async with world() as here, Drover.over(here.bus) as drover:
        await here.device("nano", answer("Once"))
        looked: list[Delivery] = []
        await here.bus.subscribe(f"$JS.API.DIRECT.GET.{STREAM}.>", looked.append)
        await here.bus.flush()
        async with storing(here):
            await drover.ask("hi")
            await answered(here.bus, keep_s=0.0)
            await answered(here.bus, job=None)
            await here.bus.flush()
            count = await stored(here)

        assert (0, 0) == (count, len(looked))


async def test_a_failure_is_not_stored() -> None:
    """Only an answer is an answer: what failed is tried again."""
    async with world() as here:
        async with storing(here):
            failed = await (await ask(here.bus, model="nobody-has:it")).error()
            count = await stored(here)

        assert ("no_device", 0) == (failed.error.code, count)


async def test_all_who_wait_hear_a_stored_answer() -> None:
    """Several of one id at once, at two dispatchers that both must look for it: each hears all of it once, and nothing runs."""
    async with world() as here:
        nano = await here.device("nano", answer("Once ", "upon"))
        async with storing(here):
            await answered(here.bus)
        async with storing(here) as one, storing(here) as other:
            await until(lambda: bool(one.sharing.peers.others and other.sharing.peers.others), "they meet")
            streams = [await ask(here.bus, hold=hold) for hold in (False, True) * 8]
            for stream in streams:
                await stream.end()
                stream.check()

        assert (["Once upon"] * 16, 1) == ([stream.text for stream in streams], len(nano.attempts))


async def test_a_job_without_jetstream_is_answered() -> None:
    """The server keeps no streams: said once, and each job is answered, also again while its dispatcher lives."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        bus = await stack.enter_async_context(connect_nats(NatsOptions(urls=(server.url,), name="test")))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        async with serving(server.url, []) as pipeline:
            house = House(pipeline, bus, bus, tasks)
            nano = await house.device("nano", answer("Once"))
            texts = [await answered(bus), await answered(bus), await answered(bus, job="j2")]
            await until(lambda: not pipeline.sharing.shelf.open, "the store is known to be none")
        await nano.die()

        assert ([("Once", False), ("Once", True), ("Once", False)], 2) == (texts, len(nano.attempts))


async def test_a_silent_store_is_looked_into_once() -> None:
    """Something hears the questions and answers none of them: one job waits for it, and all are answered."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        bus = await stack.enter_async_context(connect_nats(NatsOptions(urls=(server.url,), name="test")))
        looked: list[Delivery] = []
        await bus.subscribe(f"$JS.API.DIRECT.GET.{STREAM}.>", looked.append)
        await bus.subscribe("$JS.API.STREAM.>", lambda _: None)
        await bus.flush()
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        async with serving(server.url, []) as pipeline:
            house = House(pipeline, bus, bus, tasks)
            nano = await house.device("nano", answer("Once"))
            texts = [await answered(bus, job=f"j{number}") for number in range(4)]
        await nano.die()

        assert ([("Once", False)] * 4, 1) == (texts, len(looked))


async def test_a_store_that_was_taken_away_comes_back() -> None:
    """Its stream is deleted under the dispatcher: the next job is answered all the same, and later ones are stored anew."""
    async with world() as here:
        await here.device("nano", answer("Once"))
        async with storing(here) as pipeline:
            await here.streams._ask(f"STREAM.DELETE.{STREAM}", None)
            text = await answered(here.bus)
            await until(pipeline.sharing.shelf.stands.is_set, "the stream is there again")
            await answered(here.bus, job="j2")
            found = await here.streams.bucket("LLM_ANSWERS").get("default.j2")

        assert (("Once", False), True) == (text, found is not None)


async def test_an_answer_too_large_for_one_message_is_only_kept() -> None:
    """It is given, and given again by its dispatcher; the store goes without it."""
    large = "x" * 100_000
    async with world() as here:
        await here.device("nano", answer(*[large] * 11))
        async with storing(here, store_answer_kb=4096) as pipeline:
            lengths = [(len(text), again) for text, again in [await answered(here.bus), await answered(here.bus)]]
            counts = (await stored(here), pipeline.sharing.shelf.open)

        assert ([(1_100_000, False), (1_100_000, True)], (0, True)) == (lengths, counts)


@pytest.mark.parametrize(("chars", "count"), [(200_000, 1), (300_000, 0)])
async def test_one_answer_takes_no_more_than_its_share(chars: int, count: int) -> None:
    """256 KiB are stored, and more are not; the store goes on for others."""
    async with world() as here:
        await here.device("nano", answer("x" * chars), answer("short"))
        async with storing(here) as pipeline:
            await answered(here.bus)
            await answered(here.bus, job="j2")
            counts = (await stored(here), pipeline.sharing.shelf.open)

    assert (count + 1, True) == counts


async def test_a_full_store_forgets_the_oldest() -> None:
    """Of three answers in a room for two the newest are there, and no job has failed."""
    text = "x" * 400_000
    async with world() as here:
        nano = await here.device("nano", answer(text))
        async with storing(here, store_mb=1, store_answer_kb=1024, entries=0):
            for number in range(3):
                await answered(here.bus, job=f"j{number}")
            again = [(await answered(here.bus, job=f"j{number}"))[1] for number in (2, 1, 0)]

        assert ([True, True, False], 4) == (again, len(nano.attempts))


async def test_an_answer_that_can_not_be_read_is_none() -> None:
    """Somebody else wrote into the bucket: the job runs, and is answered."""
    async with world() as here:
        await here.device("nano", answer("Once"))
        async with storing(here):
            await here.streams.bucket("LLM_ANSWERS").create("default.j1", b'{"text":"ours"}')
            text = await answered(here.bus)

        assert ("Once", False) == text


@pytest.mark.parametrize("stream", [True, False], ids=["frames", "one reply"])
async def test_a_stored_answer_without_its_account_is_none(*, stream: bool) -> None:
    """Somebody took the account out of it: it can't be told, so the job runs again, also for one who waits for one reply."""
    async with world() as here:
        await here.device("nano", answer("Once"))
        async with storing(here):
            await answered(here.bus)
            bucket = here.streams.bucket("LLM_ANSWERS")
            entry = await bucket.get("default.j1")
            assert entry is not None
            wire = codec.decode(entry.value)
            torn = {**wire, "end": {key: value for key, value in wire["end"].items() if key != "route"}}
            await bucket.update("default.j1", codec.encode_request(torn), entry.revision)
        async with storing(here):
            asked = await ask(here.bus, stream=stream)
            await until(lambda: len(asked.arrived) > 0 and (not stream or asked.ended), "the answer")
            text = asked.text if stream else codec.decode(asked.arrived[0].data)["text"]

    assert "Once" == text


async def test_the_store_can_be_switched_off() -> None:
    """With 0 MiB nothing is set aside on the server: there is no stream."""
    async with world() as here:
        await here.device("nano", answer("Once"))
        async with serving(here.server.url, here.devices, store_mb=0) as pipeline:
            text = await answered(here.bus)
            shut = pipeline.sharing.shelf.open
        with pytest.raises(StreamError, match="stream not found"):
            await here.streams.state(STREAM)

        assert (("Once", False), False) == (text, shut)


async def test_a_cancelled_job_is_not_answered_from_the_store() -> None:
    """The order comes while the job is looked for: it ends as cancelled, as whoever gave the order was told."""
    async with world() as here:
        nano = await here.device("nano", answer("Once"), go_on("again"))
        async with storing(here):
            await answered(here.bus)
        async with storing(here) as pipeline:
            stream = Stream(here.bus, here.bus.new_inbox())
            await here.bus.subscribe(stream.inbox, stream.arrived.append)
            await here.bus.flush()
            async with asyncio.TaskGroup() as jobs:
                body = codec.encode({"prompt": "hi", "stream": True, "job": "j1", "keep_s": 10.0})
                pipeline.take(Delivery("llm.v1.chat.default", body, stream.inbox), jobs.create_task)
                cancelled = pipeline.cancel("j1", "on request", tenant="default")
            last = await stream.error()

        assert (True, "cancelled", 1) == (cancelled, last.error.code, len(nano.attempts))


class Held:
    """The bus of a dispatcher, which holds all that is said to one inbox; all else is the bus below."""

    def __init__(self, bus: Bus, inbox: str) -> None:
        self._bus = bus
        self._inbox = inbox
        self.reached = asyncio.Event()
        self.released = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send it; what goes to the inbox waits."""
        if subject == self._inbox:
            self.reached.set()
            await self.released.wait()
        await self._bus.publish(subject, data, reply=reply, headers=headers)


async def test_a_cancel_while_a_stored_answer_is_told_comes_too_late() -> None:
    """Who gives the order is not told that the job is cancelled, since its answer is heard."""
    async with world() as here:
        await here.device("nano", answer("Once ", "upon"))
        async with storing(here):
            await answered(here.bus)
        stream = Stream(here.bus, here.bus.new_inbox())
        await here.bus.subscribe(stream.inbox, stream.arrived.append)
        held: list[Held] = []

        def holding(bus: Bus) -> Bus:
            held.append(Held(bus, stream.inbox))
            return held[0]

        async with storing(here, holding), asyncio.timeout(GUARD_S):
            body = codec.encode({"prompt": "hi", "stream": True, "job": "j1", "keep_s": 10.0})
            await here.bus.publish("llm.v1.chat.default", body, reply=stream.inbox)
            await held[0].reached.wait()
            order = await here.order("j1")
            held[0].released.set()
            await stream.end()

        assert (False, "Once upon") == (order["cancelled"], stream.text)
