"""A bare HTTP/1.1 client for measuring: no parsing beyond the length, so that its own cost stays small; it knows no path.

Each wait has a deadline. After a call that was late or cancelled the connection is of no more use: its answer may still come on it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

CONNECT_S = 10.0
ANSWER_S = 60.0
MOST_HEAD = 65_536


class Connection:
    """One kept-alive connection. Open it with `connect`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    async def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = ANSWER_S,
    ) -> tuple[int, bytes]:
        """Send JSON, give status and body.

        Raises `TimeoutError`, `OSError` or `EOFError` when the other side hangs up, `ValueError` for what is no HTTP.
        """
        fields = {
            "Host": self._host,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }
        lines = (f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", "")
        async with asyncio.timeout(timeout_s):
            self._writer.write("\r\n".join(lines).encode() + body)
            try:
                return await self._response()
            except (LookupError, asyncio.LimitOverrunError) as error:
                raise ValueError(f"{path} gave no answer in HTTP: {error}") from error

    async def post(self, path: str, body: bytes) -> bytes:
        """Send JSON, give the body of the answer. Raises `RuntimeError` for a status other than 200, and what `call` raises."""
        status, answer = await self.call("POST", path, body)
        if status != 200:
            raise RuntimeError(f"{path} answered {status}: {answer[:200]!r}")
        return answer

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    def abandon(self) -> None:
        """Hang up at once: whoever answers is told that nobody waits."""
        self._writer.transport.abort()

    async def _response(self) -> tuple[int, bytes]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        status = int(lines[0].split()[1])
        if fields.get("transfer-encoding") == "chunked":
            return status, await self._chunks()
        if "content-length" in fields:
            return status, await self._reader.readexactly(int(fields["content-length"]))
        return status, await self._reader.read()

    async def _chunks(self) -> bytes:
        whole = []
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            whole.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return b"".join(whole)


async def connect(
    host: str, port: int, *, tls: ssl.SSLContext | None = None, timeout_s: float = CONNECT_S
) -> Connection:
    """Open a connection. Raises `OSError`, of which `TimeoutError` is one."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=MOST_HEAD)
    return Connection(reader, writer, f"{bracketed(host)}:{port}")


def bracketed(host: str) -> str:
    """Write an IPv6 address as it stands before a port."""
    return f"[{host}]" if ":" in host else host
