"""A client that reads answers line by line as they come, and looks at the clock; it knows no figure."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter

CONNECT_S = 30.0
LINE_S = 60.0
"""No line of an answer takes longer to come, on any machine."""

MOST_LINE = 1 << 18


class Reader:
    """One connection. Open it with `reading`."""

    def __init__(self, lines: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines = lines
        self._writer = writer

    async def ask(self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> None:
        """Send a request, and read the head of its answer. Raises `RuntimeError` for a status other than 200."""
        fields = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body or b""))}
        first = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1"
        lines = (first, *(f"{name}: {value}" for name, value in {**fields, **(headers or {})}.items()), "", "")
        self._writer.write("\r\n".join(lines).encode() + (body or b""))
        async with asyncio.timeout(LINE_S):
            head = await self._lines.readuntil(b"\r\n\r\n")
        status = head.split(maxsplit=2)[1]
        if status != b"200":
            raise RuntimeError(f"{path} answered {status!r} {(await self._lines.read(400))[:200]!r}")

    async def line(self) -> bytes:
        """Give the next line; empty ones and the sizes of chunks among them."""
        async with asyncio.timeout(LINE_S):
            return await self._lines.readline()

    async def block(self, most_bytes: int = 1 << 16) -> bytes:
        """Give what has come, up to so much; nothing at the end."""
        async with asyncio.timeout(LINE_S):
            return await self._lines.read(most_bytes)

    async def first_text_s(self, path: str, body: bytes, says: bytes, ends: bytes) -> float:
        """Ask, and give the seconds until a line has text, which stands behind `says`; reads on until `ends`, and the end of the
        answer behind it."""
        began_s = perf_counter()
        await self.ask(path, body)
        first_s: float | None = None
        while ends not in (line := await self.line()):
            if not line:
                raise RuntimeError(f"{path} ended before its end")
            if first_s is None and says in line and says + b'"' not in line:
                first_s = perf_counter() - began_s
        while (await self.line()).strip() != b"0":
            pass
        await self.line()
        return perf_counter() - began_s if first_s is None else first_s


@asynccontextmanager
async def reading(port: int, *, buffer_bytes: int = MOST_LINE) -> AsyncIterator[Reader]:
    """Open a connection that holds no more than `buffer_bytes` of what is not read. It is cut at the end, whatever comes."""
    with socket.socket() as sock:
        sock.setblocking(False)  # noqa: FBT003  # as socket has it
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            lines, writer = await asyncio.open_connection(sock=sock, limit=buffer_bytes)
        try:
            yield Reader(lines, writer)
        finally:
            writer.transport.abort()
