"""What `Bus` promises, held against the memory twin and a real NATS server alike."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from common.bus import Bus, Delivery
from common.bus.callbacks import Counters
from common.bus.memory import MemoryBroker, MemoryBus, connect_memory
from common.bus.nats import NatsBus, NatsOptions, connect_nats
from common.errors import BadRequest, BusDisconnected, BusTimeout, NoResponders, PayloadTooLarge
from tests.listening import GUARD_S, Listener, answering, settled
from tests.nats_server import NatsServer, nats_server


class World(ABC):
    """One server and the means to connect to it, and to break all connections."""

    @abstractmethod
    def connect(self) -> AbstractAsyncContextManager[NatsBus | MemoryBus]: ...

    @abstractmethod
    async def break_connections(self) -> None:
        """Cut everyone off, until `mend`."""

    @abstractmethod
    async def mend(self) -> None: ...


class MemoryWorld(World):
    def __init__(self) -> None:
        self._broker = MemoryBroker()
        self._buses: list[MemoryBus] = []

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[MemoryBus]:
        async with connect_memory(self._broker) as bus:
            self._buses.append(bus)
            yield bus

    async def break_connections(self) -> None:
        for bus in self._buses:
            bus.disconnect()

    async def mend(self) -> None:
        for bus in self._buses:
            bus.reconnect()


class NatsWorld(World):
    def __init__(self, server: NatsServer) -> None:
        self._server = server

    def connect(self) -> AbstractAsyncContextManager[NatsBus]:
        return connect_nats(NatsOptions(urls=(self._server.url,), initial_connect_timeout_s=GUARD_S))

    async def break_connections(self) -> None:
        await self._server.kill()

    async def mend(self) -> None:
        await self._server.restart()


@asynccontextmanager
async def _open_world(kind: str) -> AsyncIterator[World]:
    if kind == "memory":
        yield MemoryWorld()
        return
    async with nats_server() as server:
        yield NatsWorld(server)


@pytest.fixture(params=["memory", "nats"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with _open_world(request.param) as opened:
        yield opened


def counters_of(bus: Bus) -> Counters:
    assert isinstance(bus, NatsBus | MemoryBus)
    return bus.counters


async def test_order(world: World) -> None:
    """Messages of one publisher arrive whole and in order at every plain subscriber."""
    sent = [str(number).encode() for number in range(3000)]
    async with world.connect() as here, world.connect() as there:
        one, two = Listener(), Listener()
        await there.subscribe("a.b", one)
        await there.subscribe("a.*", two)
        await there.flush()
        for data in sent:
            await here.publish("a.b", data)
        await one.until(len(sent))
        await two.until(len(sent))

    assert (sent, sent) == (one.data, two.data)


async def test_echo(world: World) -> None:
    """A publisher hears its own messages."""
    async with world.connect() as bus:
        listener = Listener()
        await bus.subscribe("a", listener)
        await bus.publish("a", b"me", reply="answer.here")
        heard = await listener.until(1)

    assert [Delivery("a", b"me", "answer.here")] == [Delivery(d.subject, d.data, d.reply) for d in heard]


@pytest.mark.parametrize(
    ("pattern", "subject", "heard"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*.b.*", "a.b.c", True),
        ("*.b.*", "a.c.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a.b", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("a.*.>", "a.b.c.d", True),
        ("a.*.>", "a.b", False),
        ("A", "a", False),
    ],
)
async def test_wildcards(world: World, pattern: str, subject: str, heard: bool) -> None:
    """`*` is one token and `>` is one or more at the end."""
    async with world.connect() as bus:
        listener = Listener()
        await bus.subscribe(pattern, listener)
        await bus.publish(subject, b"x")
        await settled(bus)

    assert ([subject] if heard else []) == [delivery.subject for delivery in listener.heard]


async def test_queue_group(world: World) -> None:
    """Each message reaches one member of each queue group, and every plain subscriber."""
    sent = [str(number).encode() for number in range(400)]
    async with world.connect() as here, world.connect() as there:
        red = [Listener(), Listener()]
        blue, plain = Listener(), Listener()
        for bus, listener in zip((here, there), red, strict=True):
            await bus.subscribe("work", listener, queue="red")
        await there.subscribe("work", blue, queue="blue")
        await there.subscribe("work", plain)
        await settled(here, there)
        for data in sent:
            await here.publish("work", data)
        await settled(here, there)

    assert (sorted(sent), sent, sent) == (sorted(red[0].data + red[1].data), blue.data, plain.data)
    assert all(listener.heard for listener in red)


async def test_request(world: World) -> None:
    """A request gets the answer to itself, also among many at the same time."""
    async with world.connect() as here, world.connect() as there, asyncio.TaskGroup() as tasks:
        await there.subscribe("double", answering(there, tasks, lambda delivery: delivery.data * 2))
        await there.flush()
        asked = [tasks.create_task(here.request("double", b"%d" % n, timeout_s=GUARD_S)) for n in range(300)]
        answers = [(await task).data for task in asked]

    assert [b"%d" % n * 2 for n in range(300)] == answers


async def test_headers(world: World) -> None:
    """Headers arrive as they were sent, on messages and on answers, and there are none where none were sent."""
    headers = {"Nx-Job": "01J", "Content-Type": "application/json", "nx-Case": "Grüße"}
    async with world.connect() as bus, asyncio.TaskGroup() as tasks:
        listener = Listener()
        await bus.subscribe("plain", listener)
        await bus.subscribe("echo", lambda d: void(tasks.create_task(bus.publish(d.reply, d.data, headers=d.headers))))
        answer = await bus.request("echo", b"x", timeout_s=GUARD_S, headers=headers)
        await bus.publish("plain", b"x")
        await bus.publish("plain", b"x", headers={})
        await listener.until(2)

    assert (headers, [{}, {}]) == (dict(answer.headers), [dict(delivery.headers) for delivery in listener.heard])


def void(_: object) -> None:
    """Make an expression a statement, for handlers that are lambdas."""


async def test_nobody_listens(world: World) -> None:
    """A request that nobody hears fails at once, not when its time is over."""
    async with world.connect() as bus:
        async with asyncio.timeout(GUARD_S):
            with pytest.raises(NoResponders, match=r"'nowhere\.at\.all'"):
                await bus.request("nowhere.at.all", b"", timeout_s=GUARD_S * 100)


async def test_nobody_listens_to_an_inbox(world: World) -> None:
    """The 503 of a request by hand arrives at its own inbox as a message that says so."""
    async with world.connect() as bus:
        listener, inbox = Listener(), bus.new_inbox()
        await bus.subscribe(inbox, listener)
        await bus.publish("nowhere", b"", reply=inbox)
        heard = await listener.until(1)

    assert [delivery.no_responders for delivery in heard] == [True]


async def test_silence(world: World) -> None:
    """A request whose listener says nothing fails when its time is over."""
    async with world.connect() as bus:
        await bus.subscribe("mute", Listener())
        with pytest.raises(BusTimeout, match="'mute'"):
            await bus.request("mute", b"", timeout_s=0.05)


async def test_late_answer(world: World) -> None:
    """An answer to a request that gave up reaches nobody else, and harms nothing."""
    async with world.connect() as bus, asyncio.TaskGroup() as tasks:
        asked = Listener()
        await bus.subscribe("slow", asked)
        await bus.subscribe("quick", answering(bus, tasks, lambda _: b"quick"))
        with pytest.raises(BusTimeout):
            await bus.request("slow", b"", timeout_s=0.05)
        (late,) = await asked.until(1)
        await bus.publish(late.reply, b"late")
        answer = await bus.request("quick", b"", timeout_s=GUARD_S)

    assert answer.data == b"quick"


async def test_cancelled_waits(world: World) -> None:
    """Cancelling a request or a flush in mid-air leaves the connection as it was."""
    async with world.connect() as bus, asyncio.TaskGroup() as tasks:
        await bus.subscribe("mute", Listener())
        await bus.subscribe("echo", answering(bus, tasks, lambda delivery: delivery.data))
        for _ in range(20):
            waits = [tasks.create_task(bus.request("mute", b"", timeout_s=GUARD_S)), tasks.create_task(bus.flush())]
            await asyncio.sleep(0)
            for wait in waits:
                wait.cancel()
        await bus.flush()
        answer = await bus.request("echo", b"still here", timeout_s=GUARD_S)

    assert answer.data == b"still here"


async def test_inboxes(world: World) -> None:
    """Each inbox is new, and takes as many answers as come."""
    async with world.connect() as here, world.connect() as there:
        listener, inbox = Listener(), here.new_inbox()
        await here.subscribe(inbox, listener)
        await here.flush()
        for data in (b"1", b"2", b"3"):
            await there.publish(inbox, data)
        await listener.until(3)
        inboxes = {bus.new_inbox() for bus in (here, there) for _ in range(100)}

    assert (listener.data, len(inboxes | {inbox}) - 1) == ([b"1", b"2", b"3"], 200)


async def test_largest_message(world: World) -> None:
    """`max_payload` bytes pass, one more is refused before it is sent, and the connection lives."""
    async with world.connect() as bus:
        listener = Listener()
        await bus.subscribe("big", listener)
        await bus.publish("big", b"x" * bus.max_payload)
        with pytest.raises(PayloadTooLarge, match=rf"'big' has {bus.max_payload + 1} bytes.* {bus.max_payload}"):
            await bus.publish("big", b"x" * (bus.max_payload + 1))
        await bus.publish("big", b"after")
        heard = await listener.until(2)

        assert ([bus.max_payload, 5], True) == ([len(delivery.data) for delivery in heard], bus.connected)


async def test_headers_count(world: World) -> None:
    """Headers count against the limit as they stand on the wire: name, value, four characters, and a frame of 12."""
    async with world.connect() as bus:
        listener = Listener()
        await bus.subscribe("big", listener)
        room = bus.max_payload - 12 - len("n") - len("é".encode()) - 4
        await bus.publish("big", b"x" * room, headers={"n": "é"})
        with pytest.raises(PayloadTooLarge):
            await bus.publish("big", b"x" * (room + 1), headers={"n": "é"})
        await settled(bus)

    assert [room] == [len(delivery.data) for delivery in listener.heard]


async def test_raising_handler(world: World) -> None:
    """What a handler raises is counted; the subscription and all others live on."""
    async with world.connect() as bus:
        listener = Listener()

        def fail(delivery: Delivery) -> None:
            listener(delivery)
            raise RuntimeError("a bug in a handler")

        other = Listener()
        await bus.subscribe("a", fail)
        await bus.subscribe("a", other)
        for data in (b"1", b"2", b"3"):
            await bus.publish("a", data)
        await settled(bus)

        assert (listener.data, other.data, counters_of(bus).handler_failures) == ([b"1", b"2", b"3"],) * 2 + (3,)


async def test_unsubscribe(world: World) -> None:
    """Nothing is handed over after `unsubscribe`; a second one, or a drain, does no harm."""
    async with world.connect() as bus:
        listener = Listener()
        subscription = await bus.subscribe("a", listener)
        await bus.publish("a", b"before")
        await settled(bus)
        await subscription.unsubscribe()
        await bus.publish("a", b"after")
        await settled(bus)
        await subscription.unsubscribe()
        await subscription.drain()

        assert (listener.data, bus.connected) == ([b"before"], True)


async def test_drain(world: World) -> None:
    """`drain` hands over all that had arrived, and takes nothing new."""
    sent = [b"%d" % number for number in range(2000)]
    async with world.connect() as here, world.connect() as there:
        listener = Listener()
        subscription = await here.subscribe("a", listener)
        await here.flush()
        for data in sent:
            await there.publish("a", data)
        await there.flush()
        await subscription.drain()
        await there.publish("a", b"after")
        await settled(here, there)

    assert sent == listener.data


async def test_drain_in_a_queue_group_loses_nothing(world: World) -> None:
    """Members that leave a queue group under load, one after the other, leave no message unheard."""
    sent = 0
    async with world.connect() as here, world.connect() as there:
        stays, leaves = Listener(), Listener()
        await there.subscribe("work", stays, queue="q")
        await there.flush()
        for _ in range(60):
            subscription = await here.subscribe("work", leaves, queue="q")
            await here.flush()
            async with asyncio.TaskGroup() as tasks:
                drained = tasks.create_task(subscription.drain())
                while not drained.done():
                    await there.publish("work", b"%d" % sent)
                    sent += 1
                    await asyncio.sleep(0)
        await settled(here, there)

    assert [b"%d" % number for number in range(sent)] == sorted(stays.data + leaves.data, key=int)


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB x 0", "a\tb"])
async def test_bad_subject(world: World, subject: str) -> None:
    """A subject that could smuggle protocol in is refused on every verb."""
    async with world.connect() as bus:
        with pytest.raises(BadRequest):
            await bus.publish(subject, b"")
        with pytest.raises(BadRequest):
            await bus.subscribe(subject, Listener())
        with pytest.raises(BadRequest):
            await bus.request(subject, b"", timeout_s=GUARD_S)


@pytest.mark.parametrize("pattern", ["a..b", ".a", "a.", "a.>.b", "a.b*", "a.>b"])
async def test_bad_pattern(world: World, pattern: str) -> None:
    """A pattern with empty tokens or misplaced wildcards is refused."""
    async with world.connect() as bus:
        with pytest.raises(BadRequest):
            await bus.subscribe(pattern, Listener())


async def test_bad_header(world: World) -> None:
    """A header name that could smuggle protocol in is refused."""
    async with world.connect() as bus:
        with pytest.raises(BadRequest):
            await bus.publish("a", b"", headers={"a\r\nb": "c"})


async def test_overflow(world: World) -> None:
    """A full waiting room drops the newest, counts them, and costs no other subscription a message."""
    async with world.connect() as bus:
        small, large = Listener(), Listener()
        await bus.subscribe("a", small, pending=8)
        await bus.subscribe("a", large)
        for number in range(100):
            await bus.publish("a", b"%d" % number)
        await settled(bus)

        missed = [data for data in large.data if data not in small.data]
        assert large.data == [b"%d" % number for number in range(100)]
        assert small.data == [data for data in large.data if data not in missed]
        assert 0 < len(missed) == counters_of(bus).dropped


async def test_lost_and_found(world: World) -> None:
    """While cut off every verb says so; afterwards subscriptions stand again, hooks have run, and nothing is replayed."""
    async with world.connect() as bus:
        listener, story = Listener(), list[str]()
        lost, found = asyncio.Event(), asyncio.Event()
        bus.on_disconnect(lambda: story.append("lost"))
        bus.on_disconnect(lost.set)
        bus.on_reconnect(lambda: story.append("found"))
        bus.on_reconnect(found.set)
        await bus.subscribe("a.*", listener)
        await bus.flush()
        async with asyncio.timeout(GUARD_S):
            await world.break_connections()
            await lost.wait()
            for attempt in (
                bus.publish("a.b", b"stale"),
                bus.subscribe("b", Listener()),
                bus.request("a.b", b"stale", timeout_s=GUARD_S),
                bus.flush(),
            ):
                with pytest.raises(BusDisconnected):
                    await attempt
            connected = bus.connected
            await world.mend()
            await found.wait()
        await bus.publish("a.b", b"fresh")
        await settled(bus)

        assert (connected, bus.connected) == (False, True)
        assert (listener.data, story, counters_of(bus).reconnects) == ([b"fresh"], ["lost", "found"], 1)


async def test_request_ends_with_the_connection(world: World) -> None:
    """Whoever waits for an answer learns at once that the connection is gone."""
    async with world.connect() as bus, asyncio.TaskGroup() as tasks:
        asked = Listener()
        await bus.subscribe("mute", asked)
        waiting = tasks.create_task(outcome_of(bus))
        await asked.until(1)
        await world.break_connections()
        async with asyncio.timeout(GUARD_S):
            error = await waiting

    assert isinstance(error, BusDisconnected)


async def outcome_of(bus: Bus) -> Exception | None:
    """Ask the mute, and give what came of it."""
    try:
        await bus.request("mute", b"", timeout_s=GUARD_S * 100)
    except BusDisconnected as error:
        return error
    return None


async def test_unsubscribed_while_cut_off(world: World) -> None:
    """A subscription that ended without a connection does not come back with it."""
    async with world.connect() as bus:
        gone, drained, stays, found = Listener(), Listener(), Listener(), asyncio.Event()
        bus.on_reconnect(found.set)
        lost = asyncio.Event()
        bus.on_disconnect(lost.set)
        first = await bus.subscribe("a", gone)
        second = await bus.subscribe("a", drained)
        await bus.subscribe("a", stays)
        async with asyncio.timeout(GUARD_S):
            await world.break_connections()
            await lost.wait()
            await first.unsubscribe()
            await second.drain()
            await world.mend()
            await found.wait()
        await bus.publish("a", b"x")
        await settled(bus)

    assert (gone.data, drained.data, stays.data) == ([], [], [b"x"])


async def test_raising_hook(world: World) -> None:
    """A hook that raises is counted, and keeps neither the next hook nor the connection from coming back."""

    def fail() -> None:
        raise RuntimeError("a bug in a hook")

    async with world.connect() as bus:
        lost, found = asyncio.Event(), asyncio.Event()
        bus.on_disconnect(fail)
        bus.on_disconnect(lost.set)
        bus.on_reconnect(fail)
        bus.on_reconnect(found.set)
        async with asyncio.timeout(GUARD_S):
            await world.break_connections()
            await lost.wait()
            await world.mend()
            await found.wait()

        assert counters_of(bus).handler_failures == 2


async def test_a_hook_that_was_taken_away(world: World) -> None:
    """It is not called any more; the others are."""
    async with world.connect() as bus:
        called: list[str] = []
        lost = asyncio.Event()
        forget = bus.on_disconnect(lambda: called.append("gone"))
        bus.on_disconnect(lost.set)
        forget()
        async with asyncio.timeout(GUARD_S):
            await world.break_connections()
            await lost.wait()
            await world.mend()

    assert called == []


async def test_closed(world: World) -> None:
    """After its context a bus is not connected, and says so on every verb."""
    async with world.connect() as bus:
        pass
    with pytest.raises(BusDisconnected):
        await bus.publish("a", b"")

    assert not bus.connected


async def test_error_of_the_body(world: World) -> None:
    """An error inside the context leaves it as itself, not wrapped in a group."""
    with pytest.raises(ZeroDivisionError):
        async with world.connect():
            raise ZeroDivisionError
