"""Responses piece by piece over bare ASGI, and the watch for a client that hangs up; it knows nothing of chats.

Starlette's own streaming response notices a lost client only where the server advertises an old ASGI version, and its plain
responses never do. Here both are watched by a reader of `receive()`, whatever the server says of itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

RawHeaders = Sequence[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

STALLED_READER_S = 60.0
"""A client that takes no byte for so long has gone without saying so: its buffers hold the text of minutes."""

EVENTS = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"

_HEADERS: RawHeaders = (
    # A cache must not keep the stream, a proxy must not change it or collect it.
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


def event(data: bytes, *, number: int | None = None, name: str = "") -> bytes:
    """Write one event; `data` is JSON. A chat's have no `id:` lines and no comments: clients in use break on both."""
    head = b"" if number is None else b"id: %d\n" % number
    named = b"event: %b\n" % name.encode() if name else b""
    return b"%b%bdata: %b\n\n" % (head, named, unbroken(data))


def unbroken(json: bytes) -> bytes:
    """Keep JSON on one line for every reader: it escapes what ends a line, but not what does so for Python alone."""
    for character, escaped in _BREAKS.items():
        if character in json:
            json = json.replace(character, escaped)
    return json


_BREAKS = {code.encode(): b"\\u%04x" % ord(code) for code in ("\x85", "\N{LINE SEPARATOR}", "\N{PARAGRAPH SEPARATOR}")}
"""What Python's `splitlines` takes for the end of a line besides those that JSON escapes: `iter_lines` of httpx and requests, and
so the ollama package, would break an object in two there."""


COMMENT = b":\n\n"
"""A line that says nothing: proxies end what is silent for a minute."""


class ReaderStalled(Exception):
    """The client keeps the connection open and reads nothing."""


class Stream:
    """One response that is sent piece by piece."""

    def __init__(self, send: Send, *, stalled_s: float = STALLED_READER_S) -> None:
        self._send = send
        self._stalled_s = stalled_s
        self.open = self.closed = False

    async def start(self, headers: RawHeaders, media_type: str = EVENTS) -> None:
        """Send status and headers; once."""
        self.open = True
        kind = (b"content-type", media_type.encode())
        await self._put({"type": "http.response.start", "status": 200, "headers": [kind, *_HEADERS, *headers]})

    async def put(self, data: bytes) -> None:
        """Send a piece; nothing is sent for an empty one. Raises `ReaderStalled`."""
        if data:
            await self._put({"type": "http.response.body", "body": data, "more_body": True})

    async def close(self, last: bytes = b"") -> None:
        """Send the last piece, and end the response. Raises `ReaderStalled`."""
        await self._put({"type": "http.response.body", "body": last, "more_body": False})
        self.closed = True

    async def _put(self, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._stalled_s):
                await self._send(message)
        except TimeoutError as error:
            raise ReaderStalled from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """What is done beside work that takes longer than `after_s`: one timer for what takes less. When it raises `ReaderStalled`, the
    work is cancelled."""

    after_s: float
    run: Callable[[], Coroutine[Any, Any, None]]


async def while_connected(receive: Receive, work: Coroutine[Any, Any, None], aside: Aside | None = None) -> bool:
    """Run `work` until it ends (True) or the client hangs up (False; then it is cancelled), and `aside` beside it.

    The request's body must have been read before: from then on `receive` gives nothing but the hang-up.
    """
    others = list[asyncio.Task[None] | asyncio.TimerHandle]()

    def begin(aside: Aside) -> None:
        if not working.cancelling():
            others.append(group.create_task(_cancel_when_stalled(aside.run(), working)))

    def end(_: asyncio.Task[None]) -> None:
        for one in others:
            one.cancel()

    async with asyncio.TaskGroup() as group:
        working = group.create_task(work)
        others.append(group.create_task(_cancel_at_hangup(receive, working)))
        if aside is not None:
            others.append(asyncio.get_running_loop().call_later(aside.after_s, begin, aside))
        working.add_done_callback(end)
    return not working.cancelled()


async def _cancel_when_stalled(aside: Coroutine[Any, Any, None], working: asyncio.Task[None]) -> None:
    try:
        await aside
    except ReaderStalled:
        working.cancel()


async def _cancel_at_hangup(receive: Receive, working: asyncio.Task[None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    working.cancel()


class Curfew:
    """Ends all open answers at one moment, so that they can still say so, before the process ends."""

    def __init__(self) -> None:
        self._scopes: set[asyncio.Timeout] = set()
        self._fell_s: float | None = None

    @contextmanager
    def bind(self, scope: asyncio.Timeout) -> Iterator[None]:
        """Let `scope` expire when the curfew falls, or at once where it has fallen: who was let in just before is no exception."""
        self._scopes.add(scope)
        if self._fell_s is not None:
            scope.reschedule(self._fell_s)
        try:
            yield
        finally:
            self._scopes.discard(scope)

    def fall(self) -> int:
        """Expire all scopes now; gives their number."""
        self._fell_s = now_s = asyncio.get_running_loop().time()
        for scope in self._scopes:
            scope.reschedule(now_s)
        return len(self._scopes)
