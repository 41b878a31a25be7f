"""Is there an HTTP server, and what does it say: one small GET with a short time-out; it knows no service."""

from __future__ import annotations

import asyncio
import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class HttpReply:
    """Status and body; the body is empty when it was no JSON object."""

    status: int
    body: dict[str, Any]


async def get(url: str, *, timeout_s: float) -> HttpReply | None:
    """Fetch `url`; None when nobody answers in time, or not in HTTP."""
    return await asyncio.to_thread(_get, url, timeout_s)


def _get(url: str, timeout_s: float) -> HttpReply | None:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        try:
            connection.request("GET", parts.path or "/")
            response = connection.getresponse()
            return HttpReply(response.status, _object(response.read(_MAX_BYTES)))
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException):
        return None


def _object(text: bytes) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
