"""What is refused before a request is read: foreign hosts, and bodies that are too large or too late; plain ASGI, so streams
pass untouched."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from string import ascii_letters, digits
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import BadRequest, FleetError, NotAllowed, PayloadTooLarge
from dispatcher.bridge.burden import Burden, Burdens, plain_too_large
from dispatcher.bridge.headers import API_POLICY, SECURITY
from dispatcher.bridge.origins import same_origin
from dispatcher.bridge.statuses import BodyLate
from dispatcher.settings import BridgeSection

_READS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(slots=True, kw_only=True)
class Terms:
    """What is let in; looked up at each request, so that it can change while the bridge runs. `names` are the hosts that it answers
    for, `origins` the other sites whose pages may use it, `public` is the origin of its own pages behind a proxy."""

    names: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    public: str = ""
    max_bytes: int
    max_upload_bytes: int = 20 << 20
    max_held_bytes: int = 128 << 20
    body_s: float = 30.0

    @classmethod
    def of(cls, section: BridgeSection) -> Terms:
        """Read them off the settings."""
        names = _listed(section.allowed_hosts) | {section.host, "localhost"}
        if section.public_url:
            names.add(host_name(section.public_url.partition("://")[2]))
        return cls(
            names=frozenset(name.lower() for name in names),
            origins=frozenset(_listed(section.cors_origins)),
            public=section.public_url,
            max_bytes=section.max_body_bytes,
            max_upload_bytes=section.max_upload_bytes,
            max_held_bytes=section.max_held_bytes,
            body_s=section.body_s,
        )

    def take(self, other: Terms) -> None:
        """Hold what another holds."""
        for one in fields(self):
            setattr(self, one.name, getattr(other, one.name))


def _listed(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}


WITH_FILES = frozenset(
    {
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/messages",
        "/api/chat",
        "/api/generate",
        "/api/v1/chat",
        "/api/v1/jobs",
        "/v1/jobs",
        "/route/with-file",
    }
)
"""The paths whose bodies may have images, or a PDF."""

_BASE64 = f"{ascii_letters}{digits}+/=".encode()
_FORM = "multipart/form-data"

Refuse = Callable[[FleetError, str], Response]
"""Makes the response for an error, given the path that was asked for."""


class HostCheck:
    """Answers only for names that are this machine's: a web page can point a name of its own at 127.0.0.1, and read what it gets.

    An address can't be pointed elsewhere, so `any_address` is safe where other machines may come in.
    """

    def __init__(self, app: ASGIApp, *, terms: Terms, any_address: bool, refuse: Refuse) -> None:
        self._app = app
        self._terms = terms
        self._any_address = any_address
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = host_name(_header(scope, b"host"))
            # Of two, each reader could go by another one.
            if sum(name == b"host" for name, _ in scope["headers"]) > 1:
                await self._refuse(BadRequest("there are two Host headers: send one", param="Host"), scope["path"])(
                    scope, receive, send
                )
                return
            if not self._ours(host):
                await self._refuse(_foreign(host), scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _ours(self, host: str) -> bool:
        if host in self._terms.names or host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return self._any_address or address.is_loopback


class OriginCheck:
    """Refuses what changes something and comes from a page of another site: a browser sends it, whether or not the page may read
    the answer. Programs that are no browser name no origin."""

    def __init__(self, app: ASGIApp, *, terms: Terms, refuse: Refuse) -> None:
        self._app = app
        self._terms = terms
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = _header(scope, b"origin") if scope["type"] == "http" and scope["method"] not in _READS else ""
        allowed = {one.lower() for one in self._terms.origins} if origin else set()
        ours = not origin or same_origin(origin, _header(scope, b"host"), self._terms.public)
        if not ours and origin.lower() not in allowed:
            await self._refuse(_strange(origin), scope["path"])(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class OtherSites(CORSMiddleware):
    """Tells browsers that pages of other sites may read the answers: of those that the terms name now, and of none else."""

    def __init__(self, app: ASGIApp, *, terms: Terms, expose: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["*"],
            expose_headers=expose,
        )
        self._terms = terms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._terms.origins:
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def is_allowed_origin(self, origin: str) -> bool:
        """Say so of one; the vendor's class asks."""
        return origin in self._terms.origins


class BodyLimit:
    """Refuses bodies above the limit: at once by their announced length, or by counting what comes; and those that have not come in
    time, from when somebody begins to read them.

    Routes that take files have a larger limit, where what can be no base64 counts as before: the files are shrunk, or read, before
    they travel, and a body of JSON never makes more values than one of the ordinary size. What looks like base64 and is no file
    counts when it has been read (`burden.require_plain`). Those that are larger than ordinary ones have a limit together, too: they
    are held until their files have been read.
    """

    def __init__(self, app: ASGIApp, *, terms: Terms, refuse: Refuse) -> None:
        self._app = app
        self._terms = terms
        self._refuse = refuse
        self._burdens = Burdens()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        announced = _header(scope, b"content-length")
        files = scope["type"] == "http" and scope["path"] in WITH_FILES
        most_plain = self._terms.max_bytes
        most = max(most_plain, self._terms.max_upload_bytes) if files else most_plain
        if announced.isdigit() and int(announced) > most:
            await self._refuse(_too_large(int(announced), most, files=files), scope["path"])(scope, receive, send)
            return
        if files and _header(scope, b"content-type").startswith(_FORM):
            most_plain = most
        if not files:
            await self._app(scope, self._counted(receive, most, most_plain), send)
            return
        with self._burdens.one() as burden:
            await self._app(scope, self._counted(receive, most, most_plain, burden), send)

    def _counted(self, receive: Receive, most: int, most_plain: int, burden: Burden | None = None) -> Receive:
        came = plain = 0
        whole, end_s, within_s = False, math.inf, self._terms.body_s

        async def count() -> Message:
            nonlocal came, plain, whole, end_s
            if whole:
                return await receive()  # what comes then is the hang-up, in its own time
            now_s = asyncio.get_running_loop().time()
            end_s = min(end_s, now_s + within_s)
            try:
                async with asyncio.timeout_at(end_s):
                    message = await receive()
            except TimeoutError as error:
                raise BodyLate(f"the body did not come within {within_s:g} s") from error
            whole = not message.get("more_body", False)
            body = message.get("body", b"")
            came += len(body)
            if came > most:
                raise _too_large(came, most, files=most > self._terms.max_bytes)
            if burden is not None and came > self._terms.max_bytes:
                burden.grow(came, self._terms.max_held_bytes)
                burden.plain_bytes = self._terms.max_bytes
            if most > most_plain:
                plain += len(body.translate(None, delete=_BASE64))
                if plain > most_plain:
                    raise plain_too_large(plain, most_plain)
            return message

        return count


def _too_large(size: int, most: int, *, files: bool) -> PayloadTooLarge:
    if files:
        what = "send smaller files, or fewer, or raise DROVER_HTTP_MAX_UPLOAD_BYTES"
        return PayloadTooLarge(f"the body has {size} bytes or more, and {most} are taken with its files: {what}")
    return plain_too_large(size, most)


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
    """Take the port off a Host header, and the brackets off an IPv6 address; what is neither a name nor an address stays whole, and
    is nobody's."""
    found = _HOST.fullmatch(header)
    return header if found is None else (found["address"] or found["name"] or found["bare"] or "").lower()


_HOST = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]*))(?::[0-9]{0,5})?|(?P<bare>[0-9A-Fa-f:]+)"
)
"""No `@`, `/`, `?`, `#`, `%`: whoever puts an address together from it must not be led elsewhere."""


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
