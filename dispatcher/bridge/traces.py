"""The span of an HTTP request, below the one that its client names: what is sent to the fleet meanwhile names it in turn."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.tracing import Kind, begin, within
from dispatcher.bridge.statuses import GONE
from dispatcher.bridge.traffic import method_of, route_of

_FOLLOWED = "/v1/"
"""Pages and probes would bury the chats among them."""
_OURS = 500


class Traced:
    """Makes a span for each request to the API."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_FOLLOWED):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in {b"traceparent", b"tracestate"}
        }
        method = method_of(scope)
        values = {"http.request.method": method, "url.scheme": scope["scheme"]}
        status = 0

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with begin(method, headers, Kind.SERVER, values) as span, within(span):
            await self._app(scope, receive, tell)
            route = route_of(scope)
            status = status or GONE
            span.note({"http.route": route, "http.response.status_code": status})
            span.name(f"{method} {route}")
            span.end(str(status) if status >= _OURS else None)
