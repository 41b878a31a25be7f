"""Reads the body of a request as JSON, in bounded time; what it says is for others to judge."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from fastapi import Request

from dispatcher.bridge.statuses import BodyLate, WrongType

BODY_READ_S = 30.0
"""A megabyte takes 8 s on a 1 Mbit/s line; who needs longer holds a connection for nothing."""


async def json_body(http: Request, *, untyped: bool = False) -> bytes:
    """Read the body, which must say that it is JSON; with `untyped` it may also say nothing. Raises `WrongType` and `BodyLate`."""
    if not _takes_type(http.headers, untyped=untyped):
        kind = http.headers.get("content-type", "")[:80]
        raise WrongType(f"the content type is {kind or 'missing'!r}: send -H 'Content-Type: application/json'")
    return await whole_body(http)


async def whole_body(http: Request) -> bytes:
    """Read a body of any type. Raises `WrongType` for a compressed one, and `BodyLate` for one that does not come."""
    if http.headers.get("content-encoding", "identity") != "identity":
        raise WrongType("compressed bodies are not taken: send the JSON as it is")
    try:
        async with asyncio.timeout(BODY_READ_S):
            return await http.body()
    except TimeoutError as error:
        raise BodyLate(f"the body did not come within {BODY_READ_S:g} s") from error


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
