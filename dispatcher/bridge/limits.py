"""What is refused before a request is read: foreign hosts and bodies that are too large; plain ASGI, so streams pass untouched."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import BadRequest, FleetError, NotAllowed, PayloadTooLarge
from dispatcher.bridge.headers import API_POLICY, SECURITY
from dispatcher.bridge.origins import same_origin

_READS = frozenset({"GET", "HEAD", "OPTIONS"})

Refuse = Callable[[FleetError, str], Response]
"""Makes the response for an error, given the path that was asked for."""


class HostCheck:
    """Answers only for names that are this machine's: a web page can point a name of its own at 127.0.0.1, and read what it gets.

    An address can't be pointed elsewhere, so `any_address` is safe where other machines may come in.
    """

    def __init__(self, app: ASGIApp, *, names: Collection[str], any_address: bool, refuse: Refuse) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names) | {"localhost"}
        self._any_address = any_address
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = host_name(_header(scope, b"host"))
            if not self._ours(host):
                await self._refuse(_foreign(host), scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _ours(self, host: str) -> bool:
        if host in self._names or host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return self._any_address or address.is_loopback


class OriginCheck:
    """Refuses what changes something and comes from a page of another site: a browser sends it, whether or not the page may read
    the answer. Programs that are no browser name no origin."""

    def __init__(self, app: ASGIApp, *, allowed: Collection[str], refuse: Refuse) -> None:
        self._app = app
        self._allowed = frozenset(origin.lower() for origin in allowed)
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = _header(scope, b"origin") if scope["type"] == "http" and scope["method"] not in _READS else ""
        if origin and origin.lower() not in self._allowed and not same_origin(origin, _header(scope, b"host")):
            await self._refuse(_strange(origin), scope["path"])(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class BodyLimit:
    """Refuses bodies above `max_bytes`: at once by their announced length, or by counting what comes."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, refuse: Refuse) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        announced = _header(scope, b"content-length")
        if announced.isdigit() and int(announced) > self._max_bytes:
            await self._refuse(self._too_large(int(announced)), scope["path"])(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        came = 0

        async def count() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._max_bytes:
                raise self._too_large(came)
            return message

        return count

    def _too_large(self, size: int) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"the body has {size} bytes or more, and {self._max_bytes} are taken: shorten the conversation, shrink the images, "
            "or raise DROVER_HTTP_MAX_BODY_BYTES together with the bus's max_payload"
        )


class SecurityHeaders:
    """Adds what browsers should know to every response; a page brings a content policy of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), *SECURITY]
                if not any(name == b"content-security-policy" for name, _ in headers):
                    headers.append((b"content-security-policy", API_POLICY.encode()))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, with_headers)


def _strange(origin: str) -> NotAllowed:
    return NotAllowed(
        f"a page of {origin[:80]!r} may not use this bridge: open the bridge's own page, or add that origin to "
        "DROVER_HTTP_CORS_ORIGINS",
        param="Origin",
    )


def _foreign(host: str) -> BadRequest:
    return BadRequest(
        f"the bridge does not answer for the host {host[:80]!r}: use localhost, or add the name to DROVER_HTTP_ALLOWED_HOSTS",
        param="Host",
    )


def host_name(header: str) -> str:
    """Take the port off a Host header, and the brackets off an IPv6 address."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.rpartition(":")[0].lower() if header.count(":") == 1 else header.lower()


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
