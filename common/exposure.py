"""The page `/metrics` on a port of its own: small, bounded, and never in the way of the process that it tells of.

It speaks as much HTTP as a scraper needs: one request a connection, without a body. What is shown is `common.metrics`' affair.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from common import metrics
from common.addresses import OFF, host_and_port
from common.extras import install
from common.logs import get_logger

log = get_logger("metrics")

HEAD_BYTES = 8192
REQUEST_S = 5.0
"""A scraper sends its request at once, and takes the page within a second."""
CONNECTIONS = 16
PATH = "/metrics"


class Page:
    """The page as bytes. One is written at a time, in a thread: who asks meanwhile waits for the next."""

    def __init__(self, shown: metrics.Metrics) -> None:
        self._shown = shown
        self._one = asyncio.Lock()

    async def written(self, accept: str) -> tuple[bytes, str]:
        """Give the page as it is now, and its content type."""
        async with self._one:
            return await asyncio.to_thread(metrics.written, self._shown.families(), accept)


def wanted(setting: str) -> bool:
    """Tell whether metrics are to be shown; where they are and can't be, that is logged."""
    if setting in {"", OFF}:
        return False
    if not metrics.available():
        log.warning("metrics.not_installed", hint=install("metrics"))
        return False
    return True


@asynccontextmanager
async def exposed(shown: metrics.Metrics, address: str) -> AsyncIterator[str | None]:
    """Serve the page at `host:port` for the life of the context; gives its URL, or None where the address can't be had, which is
    logged: nobody's job fails for it."""
    host, port = host_and_port(address)
    async with asyncio.TaskGroup() as group:
        door = _Door(Page(shown), group, loopback=_is_loopback(host))
        try:
            server = await asyncio.start_server(door.open, host, port, limit=HEAD_BYTES)
        except OSError as error:
            log.warning("metrics.not_shown", address=address, error=error.strerror or str(error))
            yield None
            return
        taken, at, *_ = server.sockets[0].getsockname()
        url = f"http://{f'[{taken}]' if ':' in taken else taken}:{at}{PATH}"
        log.info("metrics.shown", url=url)
        try:
            yield url
        finally:
            server.close()
            door.close()


class _Door:
    """Takes connections, and answers each in a task that the group ends at the latest with the context."""

    def __init__(self, page: Page, group: asyncio.TaskGroup, *, loopback: bool) -> None:
        self._page = page
        self._group = group
        self._loopback = loopback
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection; the loop calls it. One too many is hung up on."""
        if len(self._tasks) >= CONNECTIONS:
            writer.transport.abort()
            return
        task = self._group.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Hang up on all."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                writer.write(await self._answer(head))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # a scraper that goes away, or is none; the next one comes in some seconds
        except Exception:
            log.exception("metrics.page_failed")
        finally:
            writer.transport.abort()

    async def _answer(self, head: str) -> bytes:
        lines = head.split("\r\n")
        method, _, target = lines[0].partition(" ")
        path = target.partition(" ")[0].partition("?")[0]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if method not in {"GET", "HEAD"}:
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET\n")
        if self._loopback and not _is_loopback(_host_name(headers.get("host", ""))):
            return _response(HTTPStatus.MISDIRECTED_REQUEST, b"ask for it by its address\n")
        if path != PATH:
            return _response(HTTPStatus.NOT_FOUND, b"the metrics are at /metrics\n")
        body, kind = await self._page.written(headers.get("accept", ""))
        return _response(HTTPStatus.OK, body, kind, empty=method == "HEAD")


def _response(
    status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8", *, empty: bool = False
) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
        "cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if empty else body)


def _is_loopback(host: str) -> bool:
    """Tell whether a name can mean this machine alone: any other one a web page can point here, and read what it gets."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_name(header: str) -> str:
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()
