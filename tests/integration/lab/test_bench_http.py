"""The HTTP door of a bench against servers that do not behave: no wait is endless, and what went wrong is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from common.errors import BusDisconnected, BusTimeout, GarbledReply
from common.messages import Message, Role
from dispatcher.lab import http
from dispatcher.lab.bench import http_target
from dispatcher.lab.bench.http_target import HttpTarget

HELLO = (Message(role=Role.USER, content="Hello?"),)
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(handle: Handle, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Serve on a free port; each connection is closed when it has been handled."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(closing, host, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def says(answer: bytes) -> Handle:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    return handle


async def test_a_bridge_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the question and never answers: an error after the question's own time, and the connection is gone."""
    monkeypatch.setattr(http_target, "MARGIN_S", 0.0)
    hung_up = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(4096):
                pass
        except ConnectionError:
            pass  # it was reset, which is a way to hang up
        hung_up.set()

    async with served(silent) as port, asyncio.timeout(20):
        with pytest.raises(BusTimeout, match="/v1/chat/completions did not answer within 0 s"):
            await HttpTarget(f"http://127.0.0.1:{port}").ask(HELLO, {"timeout_s": 0.05})
        await hung_up.wait()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", BusDisconnected),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", BusDisconnected),
        (b"SSH-2.0-OpenSSH\r\n\r\n", GarbledReply),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhtml", GarbledReply),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", GarbledReply),
        (b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}", GarbledReply),
    ],
)
async def test_what_is_no_bridge_is_named(answer: bytes, error: type[Exception]) -> None:
    """Whoever hangs up is gone; whoever speaks otherwise is no bridge."""
    async with served(says(answer)) as port, asyncio.timeout(20):
        with pytest.raises(error, match=rf"http://127\.0\.0\.1:{port}"):
            await HttpTarget(f"http://127.0.0.1:{port}").explain("perf")


async def test_chunks_are_put_together() -> None:
    """As a streaming server sends them."""
    body = b'9\r\n{"options\r\n5;x=y\r\n": 1}\r\n0\r\n\r\n'
    async with served(says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)) as port:
        assert {"options": 1} == await HttpTarget(f"http://127.0.0.1:{port}").explain("perf")


async def test_an_ipv6_host_stands_in_brackets() -> None:
    """RFC 3986: a port could not be told from it otherwise."""
    heads: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    try:
        async with served(note, "::1") as port:
            assert {} == await HttpTarget(f"http://[::1]:{port}").explain("perf")
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    assert f"Host: [::1]:{port}\r\n".encode() in heads[0]


async def test_a_connection_is_kept_alive() -> None:
    """Two calls, one connection, each with its own answer."""
    connections = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for answer in (b"one", b"two"):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + answer)

    async with served(count) as port, asyncio.timeout(20):
        connection = await http.connect("127.0.0.1", port)
        answers = [await connection.post("/", b"") for _ in range(2)]
        await connection.close()

    assert ([b"one", b"two"], 1) == (answers, connections)
