"""A bare HTTP client on a socket: it can hang up at any moment and see how a connection ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.simulated import SimulatedDevice

_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRequest:
    """A request that was sent; leaving its context hangs up."""

    reader: asyncio.StreamReader

    async def until(self, marker: bytes) -> bytes:
        """Read up to a marker."""
        async with asyncio.timeout(_PATIENCE_S):
            return await self.reader.readuntil(marker)

    async def status(self) -> int:
        """Read the status line."""
        return int((await self.until(b"\r\n")).split()[1])

    async def rest(self) -> bytes:
        """Read until the server closes the connection."""
        async with asyncio.timeout(_PATIENCE_S):
            return await self.reader.read()


@asynccontextmanager
async def posted(device: SimulatedDevice, path: str, body: object) -> AsyncIterator[RawRequest]:
    """Send a request and hang up at the end of the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", device.port)
    try:
        payload = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: device\r\ncontent-length: {len(payload)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + payload)
        await writer.drain()
        yield RawRequest(reader=reader)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass  # the server may have cut it first
