"""Writes onto each answer how its key stands with its limits; plain ASGI, so streams pass untouched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import rounded_up
from dispatcher.bridge.gate.limiter import Standing

_HOUR_S, _MINUTE_S = 3600, 60


class TellLimits:
    """Adds the `x-ratelimit-…` headers that OpenAI's clients know, where the gate has left a standing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            standing = scope.get("state", {}).get("standing") if message["type"] == "http.response.start" else None
            if standing is not None:
                message = {**message, "headers": [*message.get("headers", ()), *_headers(standing())]}
            await send(message)

        await self._app(scope, receive, told)


def _headers(standings: Mapping[str, Standing]) -> Iterator[tuple[bytes, bytes]]:
    for what, one in standings.items():
        yield f"x-ratelimit-limit-{what}".encode(), b"%d" % one.limit
        if one.remaining is not None:
            yield f"x-ratelimit-remaining-{what}".encode(), b"%d" % one.remaining
        if one.reset_s is not None:
            yield f"x-ratelimit-reset-{what}".encode(), _span(one.reset_s).encode()


def _span(seconds: float) -> str:
    """Write a time as OpenAI does: `6m0s`, `1h2m3s`, `120ms`."""
    if seconds < 1:
        return f"{round(rounded_up(seconds) * 1000)}ms"
    whole = int(rounded_up(seconds, 0))
    hours, minutes, rest = whole // _HOUR_S, whole % _HOUR_S // _MINUTE_S, whole % _MINUTE_S
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"
