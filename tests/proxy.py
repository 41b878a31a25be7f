"""A TCP proxy that can misbehave: swallow everything, break connections, or be slow.

It stands between a client and a real server, so that a test can have the network fail instead of a process.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_CHUNK_BYTES = 65_536


class Proxy:
    """Forwards `port` to the target. Open one with `tcp_proxy`."""

    def __init__(self, target_port: int, tasks: asyncio.TaskGroup) -> None:
        self.port = 0
        self.latency_s = 0.0
        """Added to each chunk, in each direction."""
        self.accepted = 0
        """Connections taken since the start."""
        self._target_port = target_port
        self._tasks = tasks
        self._up = _open()
        self._down = _open()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def blackhole(self, *, up: bool = True, down: bool = True) -> None:
        """From now on forward nothing `up` to the target, or `down` to the client: connections stay open, new ones are taken and
        not served."""
        if up:
            self._up.clear()
        if down:
            self._down.clear()

    def heal(self) -> None:
        """Forward again, first what was held back."""
        self._up.set()
        self._down.set()

    def reset(self) -> None:
        """Break all connections with an RST, as a router that lost its state does."""
        for writer in tuple(self._writers):
            if writer.transport.is_closing():
                continue
            peer = writer.get_extra_info("socket")
            if peer is None:  # it was lost in this very moment
                continue
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            _abort(writer)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection."""
        self.accepted += 1
        self._tasks.create_task(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._up.wait()
            await self._down.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            _abort(writer)
            return
        finally:
            self._writers.discard(writer)
        pair = {writer, far_writer}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as both:
                up = both.create_task(self._pump(reader, far_writer, self._up))
                down = both.create_task(self._pump(far_reader, writer, self._down))
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                up.cancel()
                down.cancel()
        finally:
            self._writers -= pair
            for one in pair:
                _abort(one)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        try:
            while data := await source.read(_CHUNK_BYTES):
                if self.latency_s:
                    await asyncio.sleep(self.latency_s)
                await flowing.wait()
                sink.write(data)
                await sink.drain()
                await flowing.wait()
        except (OSError, RuntimeError):
            pass  # one side broke (uvloop says so by a RuntimeError); `_serve` ends the other


def _open() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


def _abort(writer: asyncio.StreamWriter) -> None:
    try:
        writer.transport.abort()
    except AttributeError:
        pass  # asyncio's own: the transport was closing with unsent bytes, and has just finished


@asynccontextmanager
async def tcp_proxy(target_port: int) -> AsyncIterator[Proxy]:
    """Run a proxy to a port of this machine for the life of the context."""
    async with asyncio.TaskGroup() as tasks:
        proxy = Proxy(target_port, tasks)
        server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            proxy.heal()
            proxy.reset()
