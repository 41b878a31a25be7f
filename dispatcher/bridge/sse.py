"""Server-sent events over bare ASGI, and the watch for a client that hangs up; it knows nothing of chats.

Starlette's own streaming response notices a lost client only where the server advertises an old ASGI version, and its plain
responses never do. Here both are watched by a reader of `receive()`, whatever the server says of itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

RawHeaders = Sequence[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

STALLED_READER_S = 60.0
"""A client that takes no byte for so long has gone without saying so: its buffers hold the text of minutes."""

_HEADERS: RawHeaders = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # A cache must not keep the stream, a proxy must not change it or collect it.
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class ReaderStalled(Exception):
    """The client keeps the connection open and reads nothing."""


class EventStream:
    """One response of events. A chat's have no `id:` lines and no comments: clients in use break on both."""

    def __init__(self, send: Send, *, stalled_s: float = STALLED_READER_S) -> None:
        self._send = send
        self._stalled_s = stalled_s
        self.open = False

    async def start(self, headers: RawHeaders) -> None:
        """Send status and headers; once."""
        self.open = True
        await self._put({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *headers]})

    async def event(self, data: bytes, *, number: int | None = None, name: str = "") -> None:
        """Send one event; `data` has no line break (JSON has none). Raises `ReaderStalled`."""
        head = b"" if number is None else b"id: %d\nevent: %b\n" % (number, name.encode())
        await self._put({"type": "http.response.body", "body": b"%bdata: %b\n\n" % (head, data), "more_body": True})

    async def comment(self) -> None:
        """Send a line that says nothing: proxies end what is silent for a minute. Raises `ReaderStalled`."""
        await self._put({"type": "http.response.body", "body": b":\n\n", "more_body": True})

    async def close(self) -> None:
        """End the response."""
        await self._put({"type": "http.response.body", "body": b"", "more_body": False})

    async def end(self) -> None:
        """Send `[DONE]`, and end the response."""
        await self._put({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})

    async def _put(self, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._stalled_s):
                await self._send(message)
        except TimeoutError as error:
            raise ReaderStalled from error


async def while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> bool:
    """Run `work` until it ends (True) or the client hangs up (False; then it is cancelled).

    The request's body must have been read before: from then on `receive` gives nothing but the hang-up.
    """
    async with asyncio.TaskGroup() as group:
        working = group.create_task(work)
        watching = group.create_task(_cancel_at_hangup(receive, working))
        working.add_done_callback(lambda _: watching.cancel())
    return not working.cancelled()


async def _cancel_at_hangup(receive: Receive, working: asyncio.Task[None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    working.cancel()


class Curfew:
    """Ends all open answers at one moment, so that they can still say so, before the process ends."""

    def __init__(self) -> None:
        self._scopes: set[asyncio.Timeout] = set()

    @contextmanager
    def bind(self, scope: asyncio.Timeout) -> Iterator[None]:
        """Let `scope` expire when the curfew falls."""
        self._scopes.add(scope)
        try:
            yield
        finally:
            self._scopes.discard(scope)

    def fall(self) -> int:
        """Expire all scopes now; gives their number."""
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            scope.reschedule(now)
        return len(self._scopes)
