"""What a connection may take before there is a request, and how it ends: with a last answer that says so; it knows no route.

The server's parser has no bounds of its own: without those here a stranger fills the memory with headers, or holds a thousand
connections with a byte each.
"""

from __future__ import annotations

import asyncio
import re
import resource
import select
import socket
import sys
from asyncio.events import TimerHandle
from dataclasses import dataclass
from urllib.parse import urlsplit

from common.errors import BadRequest, FleetError
from common.sparing import left_out
from dispatcher.bridge.headers import API_POLICY, SECURITY
from dispatcher.bridge.statuses import Crowded, HeadLate, HeadTooLarge
from dispatcher.bridge.surfaces import refusal

with left_out("watchfiles"):  # for reloading while one develops: a megabyte of each bridge
    import uvicorn
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

__all__ = ["KEEP_ALIVE_S", "LINGER_S", "Bounds", "Connection", "room", "uvicorn"]

KEEP_ALIVE_S = 75
"""Longer than clients keep a connection that is not used (httpx and openai: 5 s), so that it is they who let it go: where both
wait equally long, a request can meet the close half way."""

LINGER_S = 1
"""A connection is left open so long after its last answer, or its beginning, for a request that may be on its way to a bridge
that stops. It is answered with `Connection: close`."""

MOST_HEAD_BYTES = 64 * 1024
"""As uvicorn has it for its other parser; no honest head has a tenth of it."""

MOST_HEADERS = 128
"""Browsers send some 20, and each proxy on the way adds a few. Those behind a body in pieces count too."""

UNREAD_S = 120.0
"""What a client has not taken for so long will not be taken: the kernel then ends the connection, also one that is being closed.
A stream notices by itself, and earlier."""

ASIDE = 256
"""Beyond the number of connections so many more are taken, to be told that there are too many."""

OTHERS = 128
"""Open files that are no client's: the bus, the log, the database of a page's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """`head_s` is how long a request may take from its first byte to the end of its headers, `most` how many connections there may
    be."""

    head_s: float = 15.0
    most: int = 4096


def room(wanted: int) -> int:
    """Make room for this number of connections, and give how many there can be: a service begins with 1,024 open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft_then, most = rooms(wanted, soft, hard)
    if soft_then != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft_then, hard))
    return most


def rooms(wanted: int, soft: int, hard: int) -> tuple[int, int]:
    """Give the number of open files to ask for, and how many connections that is."""
    if soft == resource.RLIM_INFINITY:
        return soft, wanted
    needed = wanted + ASIDE + OTHERS
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    files = max(soft, allowed)
    return files, max(1, min(wanted, files - ASIDE - OTHERS))


class _Refused(Exception):
    """This request is not read on: the parser stops at any exception."""


class Connection(HttpToolsProtocol):
    """uvicorn's, which at a stop would close what is between two requests, and what has not sent its first; and which waits for
    ever, for any number of headers."""

    bounds = Bounds()
    _stopping = False
    _quiet_since_s = 0.0
    _crowded = False
    _deaf = False
    _spared = False
    _open = False
    _late: TimerHandle | None = None
    _unsaid: FleetError | None = None
    _head_bytes = 0
    _fields = 0
    _blind_bytes = 0
    """What the parser was given since it last told anything: it collects a header, or skips over what stands around a piece of a
    body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a new connection; called by the loop."""
        self._quiet_since_s = self.loop.time()
        super().connection_made(transport)
        self._crowded = len(self.connections) > self.bounds.most
        if len(self.connections) > self.bounds.most + ASIDE:
            transport.abort()
            return
        if sys.platform == "linux":  # elsewhere the stream alone notices
            taken = transport.get_extra_info("socket")
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_S * 1000))
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection that has ended; called by the loop."""
        self._head_has_come()
        self._unset_keepalive_if_required()  # the server forgets that where it was the network's fault
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came; called by the loop. What begins no request gives a connection no time."""
        if self._deaf:
            return
        idle = self.timeout_keep_alive_task
        self._blind_bytes += len(data)
        super().data_received(_without_offer(data) if self._late is not None or not self._open else data)
        if self.transport.is_closing() or self._deaf:
            return
        if self._blind_bytes > MOST_HEAD_BYTES:
            self._refuse(_head_too_large())
        elif idle is not None and self.timeout_keep_alive_task is None and self._late is None and self._answered():
            self.timeout_keep_alive_task = self.loop.call_at(idle.when(), self.timeout_keep_alive_handler)

    def on_message_begin(self) -> None:
        """Begin with a request; called by the parser, with its first byte."""
        self._head_bytes = self._fields = self._blind_bytes = 0
        self._spared, self._open = False, True
        self._late = self.loop.call_later(self.bounds.head_s, self._head_is_late)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the target; called by the parser."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or one that follows a body in pieces; called by the parser."""
        self._fields += 1
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body; called by the parser."""
        self._blind_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Be at the end of a request; called by the parser."""
        self._open = False
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        """Take a request; called by the parser."""
        self._head_has_come()
        self._blind_bytes = 0
        if self._crowded:
            self._stop_at(Crowded(f"the bridge has {self.bounds.most} connections open", retry_after_s=1.0))
        if not _for_its_host(self.url, self.headers):
            self._stop_at(BadRequest("the request's target names another host than its header Host", param="Host"))
        super().on_headers_complete()
        # A client that offers another protocol is answered in this one, and the parser reads no further.
        if (self._stopping or self.parser.should_upgrade()) and self.cycle is not None:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """Refuse what can't be read; called where the parser stops, by itself or because it was told to."""
        self._refuse(self._unsaid or BadRequest(f"{msg} The bridge speaks HTTP/1.1, without TLS"))

    def _count(self, size_bytes: int) -> None:
        self._blind_bytes = 0
        self._head_bytes += size_bytes
        if self._head_bytes > MOST_HEAD_BYTES or self._fields > MOST_HEADERS:
            self._stop_at(_head_too_large())

    def _stop_at(self, error: FleetError) -> None:
        self._unsaid = error
        raise _Refused

    def _head_has_come(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _head_is_late(self) -> None:
        if self._answered():
            self._late = None
            self._refuse(HeadLate(f"the headers did not come within {self.bounds.head_s:g} s"))
        else:  # of a request that comes before the answer to the last one: it is that which takes so long
            self._late = self.loop.call_later(self.bounds.head_s, self._head_is_late)

    def _answered(self) -> bool:
        """Tell whether nothing is being answered."""
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # before the first request

    def _refuse(self, error: FleetError) -> None:
        """Say why, and hear no more. In the middle of an answer there is no place for another one; one that waits for the rest of
        its request's body has not begun, and will not: it is told that its client has left."""
        self._deaf = True
        self._head_has_come()
        self._unset_keepalive_if_required()
        if not self._answered():
            if self.pipeline or self.cycle.response_started or not self.cycle.more_body:
                self.transport.close()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        response = refusal(error, self.url.partition(b"?")[0].decode("latin-1") if self.scope is not None else "")  # type: ignore[redundant-expr]  # before the first request
        policy = (b"content-security-policy", API_POLICY.encode())
        fields = [*response.raw_headers, *SECURITY, policy, (b"connection", b"close")]
        head = STATUS_LINE[response.status_code] + b"".join(b"%b: %b\r\n" % field for field in fields)
        body = b"" if self.parser.get_method() == b"HEAD" else bytes(response.body)
        self.transport.write(head + b"\r\n" + body)
        # Closed at once, with something unread, the kernel takes back what was said.
        self.transport.write_eof()
        self.timeout_keep_alive_task = self.loop.call_later(LINGER_S, self.transport.close)

    def on_response_complete(self) -> None:
        """Be open for the next request; called at the end of an answer."""
        self._quiet_since_s = self.loop.time()
        super().on_response_complete()

    def shutdown(self) -> None:
        """End with the answer that has not begun, or else with the next one, or unused; called once, at the stop."""
        self._stopping = True
        self.timeout_keep_alive = LINGER_S
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # before the first request
            if (
                not self.cycle.response_started
            ):  # else it has told its client that the connection stays: the next one says no
                self.cycle.keep_alive = False
            return
        self._unset_keepalive_if_required()
        left_s = max(0.0, self._quiet_since_s + LINGER_S - self.loop.time())
        self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is not used, but, once, not one whose next request has come and is not read yet."""
        if self._spared or not _has_something(self.transport):
            super().timeout_keep_alive_handler()
        self._spared = True


def _has_something(transport: asyncio.Transport) -> bool:
    number = transport.get_extra_info("socket").fileno()
    if number < 0:
        return False
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


def _head_too_large() -> HeadTooLarge:
    return HeadTooLarge(f"the headers have more than {MOST_HEAD_BYTES} bytes, or are more than {MOST_HEADERS}")


def _without_offer(head: bytes) -> bytes:
    """Take out of the first head in here that its client would also speak another protocol, as Java's says with each request: the
    parser drops the body of such a one. It goes by what the client wrote in one piece; no body is looked at."""
    end = head.find(b"\r\n\r\n")
    return _OFFER.sub(b"\r\nX-Offer:", head[:end]) + head[end:] if end > 0 and _OFFER.search(head, 0, end) else head


_OFFER = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


def _for_its_host(target: bytes, headers: list[tuple[bytes, bytes]]) -> bool:
    """Tell whether a whole URL as the target, as proxies take it, names the host that the header names, by which we go."""
    if target.startswith(b"/") or b"://" not in target:
        return True
    hosts = [value for name, value in headers if name == b"host"]
    try:
        return hosts == [urlsplit(target).netloc]
    except ValueError:
        return False
