"""A bare HTTP/1.1 client for the bench: keep-alive, no parsing beyond the length, so that its own cost stays small."""

from __future__ import annotations

import asyncio


class Connection:
    """One kept-alive connection. Open it with `connect`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    async def post(self, path: str, body: bytes) -> bytes:
        """Send JSON, give the body of the answer. Raises `RuntimeError` for a status other than 200."""
        fields = (f"Host: {self._host}", "Content-Type: application/json", f"Content-Length: {len(body)}")
        head = "\r\n".join((f"POST {path} HTTP/1.1", *fields, "", ""))
        self._writer.write(head.encode() + body)
        status, length = await self._head()
        answer = await self._reader.readexactly(length) if length is not None else await self._chunks()
        if status != 200:
            raise RuntimeError(f"{path} answered {status}: {answer[:200]!r}")
        return answer

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def _head(self) -> tuple[int, int | None]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        return int(lines[0].split()[1]), int(fields["content-length"]) if "content-length" in fields else None

    async def _chunks(self) -> bytes:
        whole = b""
        while size := int(await self._reader.readline(), 16):
            whole += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return whole


async def connect(host: str, port: int) -> Connection:
    """Open a connection."""
    reader, writer = await asyncio.open_connection(host, port)
    return Connection(reader, writer, f"{host}:{port}")
