"""The faults that the vendor's client does not survive by itself, each made for real; overflow, draining and raising
handlers are in `tests/contract/test_bus.py`, where both buses must pass them."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import structlog

from common.bus import Delivery
from common.bus.nats import NatsBus, NatsOptions, abort, connect_nats
from common.errors import BusDisconnected, BusError, BusTimeout, ConfigError, NoResponders
from tests.listening import GUARD_S, Listener, answering, settled
from tests.nats_server import NatsServer, free_port, nats_server
from tests.proxy import tcp_proxy


def options(url: str, **changes: Any) -> NatsOptions:
    """Options with short patience, so that faults are found while a test can wait.

    Silence is looked for only where a test is about it, by `PINGS`: on a busy machine the server is silent for a while, too.
    """
    defaults: dict[str, Any] = {
        "urls": (url,),
        "ping_interval_s": GUARD_S,
        "connect_timeout_s": 1.0,
        "backoff_min_s": 0.05,
        "backoff_max_s": 0.2,
        "initial_connect_timeout_s": GUARD_S,
    }
    return NatsOptions(**(defaults | changes))


PINGS = {"ping_interval_s": 0.5}


class Watch:
    """What a bus tells of its connection."""

    def __init__(self, bus: NatsBus) -> None:
        self.lost, self.found = asyncio.Event(), asyncio.Event()
        bus.on_disconnect(self.lost.set)
        bus.on_reconnect(self.found.set)


@asynccontextmanager
async def echoing(server: NatsServer) -> AsyncIterator[NatsBus]:
    """A second client that answers on `echo`."""
    async with connect_nats(options(server.url)) as bus, asyncio.TaskGroup() as tasks:
        await bus.subscribe("echo", answering(bus, tasks, lambda delivery: delivery.data))
        await bus.flush()
        yield bus


async def publish_until_lost(bus: NatsBus, subject: str, size_bytes: int) -> int:
    """Publish without pause, and give the number of messages that went before the bus refused."""
    count = 0
    try:
        while True:
            await bus.publish(subject, b"%d " % count + b"x" * size_bytes)
            count += 1
    except BusDisconnected:
        return count


async def test_blackholed_socket_with_traffic() -> None:
    """A line that swallows everything while we publish is found out and replaced, and nothing unsent is replayed."""
    async with nats_server() as server, tcp_proxy(server.port) as proxy, echoing(server) as other:
        heard = Listener()
        await other.subscribe("stale", heard)
        async with connect_nats(options(proxy.url, **PINGS)) as bus, asyncio.timeout(GUARD_S * 2):
            watch, own = Watch(bus), Listener()
            await bus.subscribe("own", own)
            await settled(bus, other)
            proxy.blackhole()
            accepted = await publish_until_lost(bus, "stale", 60_000)
            await watch.lost.wait()
            proxy.reset()
            proxy.heal()
            await watch.found.wait()
            answer = await bus.request("echo", b"back", timeout_s=GUARD_S)
            await other.publish("own", b"heard again")
            await own.until(1)
            await settled(bus, other)

            assert accepted > 0
            assert (answer.data, own.data, heard.data) == (b"back", [b"heard again"], [])
            assert bus.counters.reconnects == 1


async def test_blackholed_socket_in_silence() -> None:
    """A line that swallows everything while nobody says a word is found out by pings."""
    async with (
        nats_server() as server,
        tcp_proxy(server.port) as proxy,
        echoing(server),
        connect_nats(options(proxy.url, **PINGS)) as bus,
        asyncio.timeout(GUARD_S),
    ):
        watch = Watch(bus)
        proxy.blackhole()
        await watch.lost.wait()
        proxy.heal()
        await watch.found.wait()
        answer = await bus.request("echo", b"back", timeout_s=GUARD_S)

    assert answer.data == b"back"


async def test_frozen_server() -> None:
    """A server that is stopped in its tracks is found out by pings; when it runs again we are back."""
    async with nats_server() as server, connect_nats(options(server.url, **PINGS)) as bus, asyncio.timeout(GUARD_S):
        watch, own = Watch(bus), Listener()
        await bus.subscribe("own", own)
        server.pause()
        await watch.lost.wait()
        server.resume()
        await watch.found.wait()
        await bus.publish("own", b"x")

        assert [delivery.data for delivery in await own.until(1)] == [b"x"]


async def test_reset_connection() -> None:
    """A connection that is reset under load is replaced at once, without waiting for a ping."""
    async with (
        nats_server() as server,
        tcp_proxy(server.port) as proxy,
        asyncio.TaskGroup() as tasks,
        connect_nats(options(proxy.url)) as bus,
        asyncio.timeout(GUARD_S),
    ):
        watch = Watch(bus)
        publishing = tasks.create_task(publish_until_lost(bus, "a", 1000))
        await bus.flush()
        proxy.reset()
        await watch.lost.wait()
        await watch.found.wait()
        await publishing
        await bus.flush()

        assert bus.connected


async def test_resets_leave_no_trace() -> None:
    """Connections that break under load leave no task whose exception nobody fetched, as the vendor's own closing does."""
    complaints = list[str]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(str(context["message"])))
    async with (
        nats_server() as server,
        tcp_proxy(server.port) as proxy,
        asyncio.timeout(GUARD_S),
        connect_nats(options(proxy.url)) as bus,
    ):
        found = asyncio.Semaphore(0)
        bus.on_reconnect(found.release)
        for _ in range(5):
            await bus.flush()
            proxy.reset()
            await publish_until_lost(bus, "a", 1000)
            await found.acquire()
    del bus
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(None)

    assert complaints == []


async def test_client_closed_by_the_server() -> None:
    """`-ERR`, after which the vendor's client is closed for ever, costs us one reconnect; the subscriptions come back.

    The server's limit is lowered while we are connected, so that what we may send by its greeting is now too much.
    """
    async with (
        nats_server(config_extra="max_payload: 65536") as server,
        echoing(server) as other,
        connect_nats(options(server.url)) as bus,
        asyncio.timeout(GUARD_S),
    ):
        watch, own, before = Watch(bus), Listener(), bus.max_payload
        await bus.subscribe("own", own)
        await lower_limit(server, 16_384)
        await bus.publish("a", b"x" * 32_000)
        await watch.lost.wait()
        await watch.found.wait()
        await other.publish("own", b"heard again")
        await own.until(1)

        assert (before, bus.max_payload) == (65_536 - 4096, 16_384 - 4096)
        assert own.data == [b"heard again"]


async def lower_limit(server: NatsServer, limit_bytes: int) -> None:
    """Have the server reload its configuration, and wait until a newcomer is told of the new limit."""
    config = server.directory / "nats.conf"
    config.write_text(config.read_text().replace("65536", str(limit_bytes)))
    os.kill(server.pid, signal.SIGHUP)
    async with asyncio.timeout(GUARD_S):
        while True:
            async with connect_nats(options(server.url)) as newcomer:
                if newcomer.max_payload == limit_bytes - 4096:
                    return


PERMISSIONS = """
authorization { users: [ { user: u, password: p, permissions: { publish: { deny: "forbidden" } } } ] }
"""


async def test_reporting_a_fault_fails() -> None:
    """An error that the server reports, and that can't even be logged, leaves the connection hearing.

    The vendor awaits the callback for errors inside its read loop: an exception in it leaves a client that says it is
    connected and hears nothing.
    """

    class BrokenPipe:
        def msg(self, *_args: object, **_kwargs: object) -> None:
            raise BrokenPipeError

        warning = error = info = debug = msg

    before = structlog.get_config()
    async with (
        nats_server(config_extra=PERMISSIONS) as server,
        asyncio.TaskGroup() as tasks,
        connect_nats(options(server.url, user="u", password="p")) as bus,
    ):
        structlog.configure(logger_factory=lambda *_: BrokenPipe())
        try:
            await bus.subscribe("echo", answering(bus, tasks, lambda delivery: delivery.data))
            for _ in range(3):
                await bus.publish("forbidden", b"x")
            await bus.flush()
            answer = await bus.request("echo", b"still here", timeout_s=GUARD_S)
        finally:
            structlog.configure(**before)

        assert answer.data == b"still here"
        assert (bus.counters.errors >= 3, bus.counters.reconnects) == (True, 0)


async def test_slow_job_holds_up_nothing() -> None:
    """The vendor calls one handler at a time; a handler that hands off lets the next message in while its job runs."""
    order = list[str]()
    second_came = asyncio.Event()

    async def job(delivery: Delivery) -> None:
        if delivery.data == b"slow":
            await second_came.wait()
        second_came.set()
        order.append(delivery.data.decode())

    async with (
        nats_server() as server,
        connect_nats(options(server.url)) as bus,
        asyncio.timeout(GUARD_S),
        asyncio.TaskGroup() as tasks,
    ):
        await bus.subscribe("jobs", lambda delivery: hand_off(tasks, job(delivery)))
        await bus.publish("jobs", b"slow")
        await bus.publish("jobs", b"quick")
        await bus.flush()

    assert order == ["quick", "slow"]


def hand_off(tasks: asyncio.TaskGroup, job: Any) -> None:
    """Start a job, as every handler must."""
    tasks.create_task(job)


async def test_server_restart() -> None:
    """After three restarts every subscription, queue groups too, stands once: no message is heard twice or not at all."""
    async with nats_server() as server, connect_nats(options(server.url)) as bus, asyncio.timeout(GUARD_S * 2):
        plain, member, found = Listener(), Listener(), asyncio.Semaphore(0)
        bus.on_reconnect(found.release)
        await bus.subscribe("a.*", plain)
        await bus.subscribe("a.*", member, queue="q")
        for _ in range(3):
            await server.restart()
            await found.acquire()
            await bus.publish("a.b", b"x")
            await settled(bus)

        assert (plain.data, member.data) == ([b"x"] * 3, [b"x"] * 3)


async def test_next_server() -> None:
    """When one of two servers dies the other one serves, with all subscriptions."""
    async with (
        nats_server() as first,
        nats_server() as second,
        echoing(second),
        connect_nats(options(first.url, urls=(first.url, second.url))) as bus,
        asyncio.timeout(GUARD_S),
    ):
        watch, own = Watch(bus), Listener()
        await bus.subscribe("own", own)
        await first.kill()
        await watch.found.wait()
        await bus.publish("own", b"x")
        await own.until(1)
        answer = await bus.request("echo", b"second", timeout_s=GUARD_S)

    assert (own.data, answer.data) == ([b"x"], b"second")


async def test_listener_that_died() -> None:
    """The request after a listener's death fails as 'no responders', not as a time-out."""
    async with (
        nats_server() as server,
        tcp_proxy(server.port) as proxy,
        connect_nats(options(server.url)) as bus,
        connect_nats(options(proxy.url)) as agent,
        asyncio.timeout(GUARD_S),
    ):
        watch = Watch(agent)
        await agent.subscribe("dev.nano.job", Listener())
        await agent.flush()
        proxy.blackhole()
        proxy.reset()
        await watch.lost.wait()
        with pytest.raises(NoResponders):
            await ask_until_it_fails(bus)


async def ask_until_it_fails(bus: NatsBus) -> None:
    """Ask again after each time-out: the server may take a moment to see that a connection is gone."""
    while True:
        try:
            await bus.request("dev.nano.job", b"", timeout_s=0.1)
        except BusTimeout:
            continue


async def test_answer_to_an_abandoned_flush() -> None:
    """A pong that comes after its flush gave up, or was cancelled, leaves the connection hearing.

    In the vendor such a pong raises inside the read loop and ends it.
    """
    async with (
        nats_server() as server,
        tcp_proxy(server.port) as proxy,
        echoing(server),
        asyncio.TaskGroup() as tasks,
        connect_nats(options(proxy.url)) as bus,
    ):
        proxy.latency_s = 0.1
        with pytest.raises(BusTimeout):
            await bus.flush(timeout_s=0.02)
        cancelled = tasks.create_task(bus.flush())
        await asyncio.sleep(0)
        cancelled.cancel()
        answer = await bus.request("echo", b"still here", timeout_s=GUARD_S)
        await bus.flush(timeout_s=GUARD_S)

        assert (answer.data, bus.counters.reconnects) == (b"still here", 0)


async def test_flush_means_read() -> None:
    """After `flush` the server has read what was published before, not merely answered a ping that overtook it.

    The vendor writes PING to the socket at once, and messages when the socket has room: it is filled first.
    """
    async with (
        nats_server() as server,
        tcp_proxy(server.port) as proxy,
        connect_nats(options(proxy.url)) as here,
        connect_nats(options(server.url)) as there,
    ):
        heard, sent = Listener(), 0
        await there.subscribe("a", heard)
        await there.flush()
        proxy.blackhole()
        while here.client is not None and here.client.pending_data_size < 600_000:
            await here.publish("a", b"x" * 300_000)
            sent += 1
            await asyncio.sleep(0)
        proxy.latency_s = 0.002
        proxy.heal()
        await here.flush(timeout_s=GUARD_S)
        await there.flush(timeout_s=GUARD_S)

        assert len(heard.heard) == sent


async def test_flush_ends_with_the_connection() -> None:
    """Whoever waits in `flush` learns that the connection is gone, and is not told that all is well."""
    async with (
        nats_server() as server,
        connect_nats(options(server.url)) as bus,
        asyncio.TaskGroup() as tasks,
    ):
        server.pause()
        flushing = tasks.create_task(outcome_of_flush(bus))
        await asyncio.sleep(0)
        await server.kill()
        error = await flushing

    assert isinstance(error, BusDisconnected)


async def outcome_of_flush(bus: NatsBus) -> Exception | None:
    """Flush, and give what came of it."""
    try:
        await bus.flush(timeout_s=GUARD_S)
    except BusError as error:
        return error
    return None


async def test_publishing_without_pause() -> None:
    """A loop that only publishes is slowed down to what the server takes: unsent bytes stay below two megabytes."""
    async with nats_server() as server, connect_nats(options(server.url)) as bus:
        heard, waiting = Listener(), list[int]()
        await bus.subscribe("a", heard)
        for _ in range(20_000):
            await bus.publish("a", b"x" * 1000)
            assert bus.client is not None
            waiting.append(bus.client.pending_data_size)
        await heard.until(20_000)

    assert max(waiting) < 2_000_000


@pytest.mark.parametrize("fault", ["alive", "slow", "frozen", "dead", "blackholed"])
async def test_closing_is_bounded(fault: str) -> None:
    """Leaving the context ends soon, whatever the server does, with megabytes unsent, and leaves no task and no socket."""
    async with nats_server() as server, tcp_proxy(server.port) as proxy:
        await asyncio.sleep(0)
        tasks, sockets = asyncio.all_tasks(), open_sockets(proxy.port)
        async with asyncio.timeout(GUARD_S):
            async with connect_nats(options(proxy.url)) as bus:
                await bus.subscribe("a", Listener())
                await bus.flush()
                if fault == "slow":
                    proxy.latency_s = 0.001
                if fault == "frozen":
                    server.pause()
                if fault == "blackholed":
                    proxy.blackhole()
                for _ in range(100):
                    assert bus.client is not None
                    await bus.client.publish("a", b"x" * 100_000)
                    await asyncio.sleep(0)
                if fault == "dead":
                    await server.kill()
            left = {task for task in asyncio.all_tasks() - tasks if "Proxy" not in repr(task.get_coro())}
            left_open = open_sockets(proxy.port) - sockets

    assert (left, left_open) == (set(), set())


async def test_abort_after_a_slow_close() -> None:
    """Aborting a transport that has just sent the last of its bytes and closed is no error, as it is in asyncio itself."""
    accepted, slow, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await slow.wait()
        while await reader.read(1 << 20):
            pass
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(read_late, "127.0.0.1", 0) as server, asyncio.timeout(GUARD_S):
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await accepted.wait()
        writer.write(b"x" * 20_000_000)
        writer.close()
        unsent = writer.transport.get_write_buffer_size()
        slow.set()
        await writer.wait_closed()
        abort(writer.transport)
        await ended.wait()

    assert unsent > 0


def open_sockets(peer_port: int) -> set[int]:
    """Give the file descriptors of this process whose socket is connected to a port."""
    connections = psutil.Process().net_connections("tcp")
    return {one.fd for one in connections if one.raddr[1:] == (peer_port,)}


async def test_no_server() -> None:
    """Without a server the message names the address, without credentials, and the way out."""
    url = f"nats://user:s3cret@127.0.0.1:{free_port()}"
    with pytest.raises(BusDisconnected) as caught:
        async with connect_nats(options(url, initial_connect_timeout_s=0.3)):
            pass

    assert (url.replace("user:s3cret@", "") in caught.value.message, "s3cret" in caught.value.message) == (True, False)
    assert "NATS_URL" in caught.value.message


async def test_server_that_comes_late() -> None:
    """A process may start before its server."""
    port = free_port()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(GUARD_S):
        connecting = tasks.create_task(connect_and_flush(f"nats://127.0.0.1:{port}"))
        async with nats_server(port=port):
            await connecting

    assert connecting.result() is True


async def connect_and_flush(url: str) -> bool:
    async with connect_nats(options(url)) as bus:
        await bus.flush()
        return bus.connected


async def test_refused() -> None:
    """A wrong password ends the start at once, says whom it concerns, and does not show the password."""
    async with nats_server(config_extra=PERMISSIONS) as server, asyncio.timeout(GUARD_S):
        with pytest.raises(ConfigError) as caught:
            async with connect_nats(options(server.url, user="u", password="wr0ng", initial_connect_timeout_s=1e6)):
                pass

    assert (server.url in caught.value.message, "wr0ng" in caught.value.message) == (True, False)
    assert "NATS_PASSWORD" in caught.value.message


@pytest.mark.parametrize("content", [None, "", "-----BEGIN NATS USER JWT-----\nonly half of it\n", "\xff" * 40])
async def test_bad_credentials_file(tmp_path: Path, content: str | None) -> None:
    """A credentials file that is missing, empty or cut is named; the vendor would read for ever in an empty one."""
    path = tmp_path / "device.creds"
    if content is not None:
        path.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"NATS_CREDS.*device\.creds"):
        async with connect_nats(options("nats://127.0.0.1:1", creds_file=str(path))):
            pass


@pytest.mark.parametrize("url", ["nats://", "nats://host:port", "http://host:4222", "nats://host:99999", ""])
async def test_bad_address(url: str) -> None:
    """An address that no server can have ends the start at once."""
    with pytest.raises(ConfigError, match="NATS_URL"):
        async with connect_nats(options(url)):
            pass


async def test_something_else_answers() -> None:
    """A port where something else than NATS answers counts as no server, also when it never ends its line."""

    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
        except OSError:
            writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(BusDisconnected, match="no NATS server"):
            async with connect_nats(options(url, initial_connect_timeout_s=0.5)):
                pass


async def test_cancelled_while_dialling() -> None:
    """Cancelling a start gets through at every single turn of the loop.

    The vendor waits with `asyncio.wait_for`, which in Python 3.11 loses a cancellation that meets the result.
    """
    url, stuck = f"nats://127.0.0.1:{free_port()}", []
    async with asyncio.TaskGroup() as tasks:
        for turns in range(60):
            dialling = tasks.create_task(connect_and_flush(url))
            for _ in range(turns):
                await asyncio.sleep(0)
            dialling.cancel()
            done, _ = await asyncio.wait({dialling}, timeout=GUARD_S / 2)
            if not done:
                stuck.append(turns)
                dialling.cancel()

    assert stuck == []
