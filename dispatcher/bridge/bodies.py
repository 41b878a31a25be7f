"""JSON over HTTP: bodies of requests are read, and answers written. What they say is for others to judge; how large and how slow a
body may be, the limits know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.responses import Response

from common import codec
from dispatcher.bridge.statuses import WrongType


def answered(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Make the response that says this."""
    return Response(codec.encode(body), status, dict(headers or {}), "application/json")


async def json_body(http: Request, *, untyped: bool = False) -> bytes:
    """Read the body, which must say that it is JSON; with `untyped` it may also say nothing. Raises `WrongType`, and what
    the limits on bodies raise."""
    if not _takes_type(http.headers, untyped=untyped):
        kind = http.headers.get("content-type", "")[:80]
        raise WrongType(f"the content type is {kind or 'missing'!r}: send -H 'Content-Type: application/json'")
    return await whole_body(http)


async def whole_body(http: Request) -> bytes:
    """Read a body of any type. Raises `WrongType` for a compressed one, and what the limits on bodies raise."""
    if http.headers.get("content-encoding", "identity") != "identity":
        raise WrongType("compressed bodies are not taken: send the JSON as it is")
    # Not as `body()` does it: that keeps 20 MB of images for as long as the answer takes. And each piece is let go at once:
    # hundreds of small ones would leave holes that the allocator does not give back.
    whole = bytearray()
    async for piece in http.stream():
        whole += piece
    return bytes(whole)


def _takes_type(headers: Mapping[str, str], *, untyped: bool) -> bool:
    """Tell whether a body of this type is read.

    1. JSON by any of its names: a web page can't send that to another site without asking first, and it is never allowed.
    2. What `curl -d` says when it is told nothing, but not from a browser: pages can send forms anywhere.
    3. Where Ollama's scripts come, also no type, as of `requests.post(url, data=json.dumps(…))`; a page could send that as well.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return True
    from_browser = "origin" in headers or "sec-fetch-site" in headers
    return not from_browser and (kind == "application/x-www-form-urlencoded" or (untyped and not kind))
