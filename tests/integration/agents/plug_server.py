"""A smart plug on a free port: real HTTP, answers as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answering = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a client asked for."""

    target: str
    headers: dict[str, str]


@dataclass(slots=True, kw_only=True)
class PlugServer:
    """Where it is, what it was asked, and on how many connections."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0


def saying(body: bytes, *, status: str = "200 OK", headers: str = "") -> Answering:
    """Answer with a body and its length."""

    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return answer


@asynccontextmanager
async def plug_server(answering: Answering) -> AsyncIterator[PlugServer]:
    """Run it until the body ends; connections that are still open are closed then."""
    server: PlugServer
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                rows = (row.partition(": ") for row in head[1:] if row)
                asked = Asked(target=head[0].split(" ")[1], headers={name.lower(): value for name, _, value in rows})
                server.asked.append(asked)
                await answering(asked, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test has ended
        finally:
            writer.close()
            tasks.discard(task)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    server = PlugServer(url=f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tuple(tasks))
        await listener.wait_closed()
