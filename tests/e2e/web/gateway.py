"""A door before a bridge: it counts what pages ask for, and takes the reports of the content policy; it reads no answer."""

from __future__ import annotations

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SINK = "/csp-reports"
GUARD_S = 20.0

_LENGTH = re.compile(rb"^content-length: *(\d+)", re.MULTILINE | re.IGNORECASE)
_POLICY = re.compile(rb"^(content-security-policy: [^\r]*)", re.MULTILINE | re.IGNORECASE)
_CONNECTION = re.compile(rb"^connection: [^\r]*\r\n", re.MULTILINE | re.IGNORECASE)


@dataclass(slots=True)
class Gateway:
    """What came through it so far."""

    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    """How often each path was asked for."""
    open: Counter[str] = field(default_factory=Counter)
    """How many requests of a path are being answered now."""
    silenced: set[str] = field(default_factory=set)
    """Paths whose answers go no further, as from a machine that has lost its network: connections stay open."""
    refused: set[str] = field(default_factory=set)
    """Paths that a proxy with nothing behind it answers."""
    reports: list[str] = field(default_factory=list)
    """What browsers say that the content policy refused."""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when it is so."""
        async with asyncio.timeout(GUARD_S), self._changed:
            await self._changed.wait_for(holds)

    async def note(self, counts: Counter[str], path: str, by: int = 1) -> None:
        counts[path] += by
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def gateway(bridge: str) -> AsyncIterator[Gateway]:
    """Stand before a bridge for the life of the context, on a port of its own: one request a connection."""
    made = Gateway()
    calls = set[asyncio.Task[None]]()

    async def called(reader: StreamReader, writer: StreamWriter) -> None:
        calls.add(task := asyncio.current_task())  # type: ignore[arg-type]
        try:
            await _serve(made, bridge, reader, writer)
        except* (OSError, asyncio.IncompleteReadError):
            pass  # who asked has gone, or the bridge has
        finally:
            calls.discard(task)  # type: ignore[arg-type]
            writer.close()

    server = await asyncio.start_server(called, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def _serve(made: Gateway, bridge: str, reader: StreamReader, writer: StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    path = head.split(b" ", 2)[1].decode().partition("?")[0]
    length = _LENGTH.search(head)
    body = await reader.readexactly(int(length[1])) if length else b""
    await made.note(made.asked, path)
    if path == SINK:
        made.reports.append(body.decode())
        await made.note(made.open, path, 0)
        return await _answered(writer, b"204 No Content")
    if path in made.refused:
        return await _answered(writer, b"502 Bad Gateway")
    await made.note(made.open, path)
    try:
        await _passed_on(bridge, _alone(head) + body, reader, writer, lambda: path in made.silenced)
    finally:
        await made.note(made.open, path, -1)


async def _answered(writer: StreamWriter, status: bytes) -> None:
    writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    await writer.drain()


async def _passed_on(
    bridge: str, request: bytes, reader: StreamReader, writer: StreamWriter, silenced: Callable[[], bool]
) -> None:
    """Ask the bridge, and copy its answer until either side has enough."""
    there, back = await asyncio.open_connection(urlsplit(bridge).hostname, urlsplit(bridge).port)
    try:
        back.write(request)
        head = _alone(await there.readuntil(b"\r\n\r\n"))
        begin = _POLICY.sub(rb"\1; report-uri " + SINK.encode(), head)
        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(_copied(begin, there, writer, silenced)), tasks.create_task(reader.read(1))]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
    finally:
        back.close()


async def _copied(data: bytes, there: StreamReader, writer: StreamWriter, silenced: Callable[[], bool]) -> None:
    while data:
        if silenced():
            await asyncio.Event().wait()  # until who asked hangs up
        writer.write(data)
        await writer.drain()
        data = await there.read(65536)


def _alone(head: bytes) -> bytes:
    """Have the connection closed behind this request, or this answer."""
    return _CONNECTION.sub(b"", head).removesuffix(b"\r\n") + b"connection: close\r\n\r\n"
