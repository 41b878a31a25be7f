"""What goes through the bridge, counted for Prometheus, and the page that shows it; plain ASGI, so streams pass untouched."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.bus import Bus
from common.errors import NotAllowed
from common.exposure import PATH, Page, wanted
from common.metrics import OTHER, Metrics, available, gauge
from dispatcher.bridge.origins import from_here
from dispatcher.bridge.statuses import GONE
from dispatcher.settings import BridgeSection

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STREAMS = (b"text/event-stream", b"application/x-ndjson")


@dataclass(slots=True)
class Showing:
    """Who may read the page now: `local`, `all` or, `off`, nobody."""

    whom: str


def traffic_of(section: BridgeSection, bus: Bus) -> Metrics | None:
    """Make what the bridge counts into, with the state of its connection; None where nothing can be shown. It counts also while
    nobody may read it, since somebody may while it runs."""
    if not (wanted(section.metrics) or available()):
        return None
    metrics = Metrics()
    metrics.ask(
        lambda: [gauge("drover_nats_connected", "1 while there is a connection to NATS.", float(bus.connected))]
    )
    return metrics


def metrics_page(metrics: Metrics, showing: Showing) -> APIRouter:
    """The route of the page."""
    router, page = APIRouter(include_in_schema=False), Page(metrics)

    @router.api_route(PATH, methods=["GET", "HEAD"])
    async def show(http: Request) -> Response:
        if showing.whom == "off":
            raise HTTPException(404)
        if showing.whom != "all" and not from_here(http):
            raise NotAllowed("metrics are shown to this machine alone: see DROVER_HTTP_METRICS")
        body, kind = await page.written(http.headers.get("accept", ""))
        return Response(body, headers={"content-type": kind, "cache-control": "no-store"})

    return router


class Traffic:
    """Counts requests by route, status and how they ended."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._open = self._streams = 0
        counter, histogram = metrics.counter, metrics.histogram
        self._requests = counter("drover_http_requests", "Requests that ended.", "route", "method", "status")
        self._seconds = histogram("drover_http_request_seconds", "From a request to the end of its answer.", "route")
        self._first = histogram("drover_http_first_byte_seconds", "From a request to the head of its answer.", "route")
        self._hangups = counter("drover_http_hangups", "Clients that left before their answer ended.", "route")
        self._in = counter("drover_http_received_bytes", "Bytes of requests' bodies.")
        self._out = counter("drover_http_sent_bytes", "Bytes of answers' bodies.")
        metrics.ask(
            lambda: (
                gauge("drover_http_requests_open", "Requests whose answer has not ended.", self._open),
                gauge("drover_http_streams_open", "Those of them that are answered as a stream of events or lines.", self._streams),
            )
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(monotonic())
        self._open += 1
        try:
            await self._app(scope, self._heard(receive, request), self._told(send, request))
        finally:
            self._open -= 1
            self._streams -= request.streams
            self._count(scope, request)

    def _heard(self, receive: Receive, request: _Request) -> Receive:
        async def hear() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                request.gone = request.gone or not request.ended
            else:
                self._in.add(by=len(message.get("body", b"")))
            return message

        return hear

    def _told(self, send: Send, request: _Request) -> Send:
        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status, request.first_s = message["status"], monotonic()
                request.streams = any(
                    name == b"content-type" and value.startswith(_STREAMS) for name, value in message.get("headers", ())
                )
                self._streams += request.streams
            else:
                self._out.add(by=len(message.get("body", b"")))
                request.ended = not message.get("more_body", False)
            await send(message)

        return tell

    def _count(self, scope: Scope, request: _Request) -> None:
        route, now_s = route_of(scope), monotonic()
        method = method_of(scope)
        self._requests.add(route, method, str(request.status or GONE))
        self._seconds.observe(now_s - request.began_s, route)
        if request.first_s is not None:
            self._first.observe(request.first_s - request.began_s, route)
        if request.gone and not request.ended:
            self._hangups.add(route)


class _Request:
    """One request on its way."""

    __slots__ = ("began_s", "ended", "first_s", "gone", "status", "streams")

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.first_s: float | None = None
        self.status = 0
        self.streams = self.ended = self.gone = False


def method_of(scope: Scope) -> str:
    """Give the method, if it is one of those that are used."""
    return scope["method"] if scope["method"] in _METHODS else OTHER


def route_of(scope: Scope) -> str:
    """Give the route as it is written, with its parameters' names: there are as many as the program has, whatever is asked for."""
    route = scope.get("route")
    if route is not None:
        return str(getattr(route, "path", OTHER))
    return "/ui" if str(scope.get("root_path", "")).endswith("/ui") else OTHER
