"""Traces of jobs, for OpenTelemetry: spans that follow a job from process to process; it alone knows the vendor, and no process.

Without the extra `traces`, or without a collector to send them to, there is nothing here but `OFF`, whose verbs do nothing. Spans
hold ids, names, figures and error codes: never a prompt or an answer. A span's place in its trace travels as W3C `traceparent`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from common.extras import install
from common.logs import get_logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span as VendorSpan
    from opentelemetry.trace import Tracer

log = get_logger("traces")

Headers = Mapping[str, str]
Value = str | bool | int | float | tuple[str, ...]

SCHEMA = "https://opentelemetry.io/schemas/1.41.0"
"""Whose names of attributes are used; those of `gen_ai` are still in development there."""

LAST_S = 2.0
"""What the last spans get to leave when the process ends."""
EXPORT_S = 5.0
MOST_STATE_CHARS = 512
"""Of a `tracestate`, as the standard has it; a longer one is left behind."""


class Kind(StrEnum):
    """What part a process has in a span; OpenTelemetry's own words."""

    SERVER = "SERVER"  # it answers somebody who waits
    CONSUMER = "CONSUMER"  # it took it from a queue
    CLIENT = "CLIENT"  # it waits for somebody's answer
    INTERNAL = "INTERNAL"


class Span(Protocol):
    """Something that takes time."""

    @property
    def headers(self) -> Headers | None:
        """What to send along, so that the receiver's span has this one as its parent; None where nothing is traced."""
        ...

    def note(self, values: Mapping[str, Value | None]) -> None:
        """Add what is known; None says nothing."""
        ...

    def name(self, name: str) -> None:
        """Call it otherwise: what is asked for is known only later."""
        ...

    def event(self, name: str, after_s: float) -> None:
        """Note what happened so many seconds after the span began."""
        ...

    def child(self, name: str, kind: Kind = Kind.INTERNAL, values: Mapping[str, Value | None] | None = None) -> Span:
        """Begin a part of it."""
        ...

    def end(self, error: str | None = None) -> None:
        """End it; `error` is a code. Only the first time counts."""
        ...

    def __enter__(self) -> Span: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """End it, with the code of the error that leaves the block."""
        ...


class _Off:
    """No span."""

    __slots__ = ()
    headers: Headers | None = None

    def note(self, values: Mapping[str, Value | None]) -> None:
        """Do nothing."""

    def name(self, name: str) -> None:
        """Do nothing."""

    def event(self, name: str, after_s: float) -> None:
        """Do nothing."""

    def child(
        self,
        name: str,  # noqa: ARG002  # as the real one has it
        kind: Kind = Kind.INTERNAL,  # noqa: ARG002
        values: Mapping[str, Value | None] | None = None,  # noqa: ARG002
    ) -> Span:
        """Give no span."""
        return self

    def end(self, error: str | None = None) -> None:
        """Do nothing."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Do nothing."""


OFF: Span = _Off()


class _Tracing:
    """The one tracer of a process, while there is one."""

    tracer: Tracer | None = None


_current: ContextVar[Span] = ContextVar("drover_span", default=OFF)


def available() -> bool:
    """Tell whether the vendor is installed (the extra `traces`)."""
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def active() -> bool:
    """Tell whether spans are made."""
    return _Tracing.tracer is not None


def begin(
    name: str,
    headers: Headers,
    kind: Kind,
    values: Mapping[str, Value | None] | None = None,
) -> Span:
    """Begin a span below the one that `headers` name; a malformed name counts as none, and then a trace begins here."""
    tracer = _Tracing.tracer
    return OFF if tracer is None else _Traced(_begun(tracer, name, kind, values, headers=headers))


@contextmanager
def within(span: Span) -> Iterator[None]:
    """Let what is sent inside the block name this span; tasks that begin there, too."""
    token = _current.set(span)
    try:
        yield
    finally:
        _current.reset(token)


def outgoing() -> Headers | None:
    """Give the headers for what is sent now; None for nothing, which is the usual case."""
    return None if _Tracing.tracer is None else _current.get().headers


@asynccontextmanager
async def traced(endpoint: str, service: str, instance: str = "") -> AsyncIterator[None]:
    """Send the spans of this process to the collector at `endpoint` (OTLP over HTTP) for the life of the context.

    For an empty one nothing is traced; without the vendor neither, which is logged. A collector that is away costs its spans, one
    line in the log, and no job anything.
    """
    if not endpoint or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield
        return
    if not available():
        log.warning("traces.not_installed", hint=install("traces"))
        yield
        return
    provider = _provider(endpoint, service, instance)
    _Tracing.tracer = provider.get_tracer("drover", schema_url=SCHEMA)
    log.info("traces.sent", endpoint=endpoint)
    try:
        yield
    finally:
        _Tracing.tracer = None
        await _closed(provider)


async def _closed(provider: TracerProvider) -> None:
    """Send what is left, and wait no longer than `LAST_S` for a collector that is away; the thread ends with the process."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def close() -> None:
        provider.shutdown()
        try:
            loop.call_soon_threadsafe(done.set)
        except RuntimeError:
            pass  # the loop did not wait

    threading.Thread(target=close, name="traces.close", daemon=True).start()
    try:
        async with asyncio.timeout(LAST_S):
            await done.wait()
    except TimeoutError:
        log.warning("traces.unsent")


def _provider(endpoint: str, service: str, instance: str) -> TracerProvider:
    # The vendor takes a quarter of a second of a desktop to import: only who traces pays for that.
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it would tell of each batch: `_watched` tells once
    known = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or service}
    if instance:
        known["service.instance.id"] = instance
    provider = TracerProvider(resource=Resource.create(known), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_watched(endpoint)))
    return provider


def _watched(endpoint: str) -> SpanExporter:
    """Make what sends spans, and says once when it can't, and once when it can again."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # as above
    from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415  # as above

    class Watched(OTLPSpanExporter):
        lost = False

        def export(self, spans: Any) -> SpanExportResult:
            result = super().export(spans)
            lost = result is not SpanExportResult.SUCCESS
            if lost is not self.lost:
                self.lost = lost
                (log.warning if lost else log.info)("traces.lost" if lost else "traces.back", endpoint=endpoint)
            return result

    return Watched(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_S)


class _Traced:
    """A span of the vendor's."""

    __slots__ = ("_ended", "_span")

    def __init__(self, span: VendorSpan) -> None:
        self._span = span
        self._ended = False

    @property
    def headers(self) -> Headers | None:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415  # as above

        carrier: dict[str, str] = {}
        _propagator().inject(carrier, set_span_in_context(self._span))
        return carrier or None

    def note(self, values: Mapping[str, Value | None]) -> None:
        self._span.set_attributes({name: value for name, value in values.items() if value is not None})

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def event(self, name: str, after_s: float) -> None:
        began_ns = getattr(self._span, "start_time", None)
        if began_ns is not None:  # one that is not sampled has none
            self._span.add_event(name, timestamp=began_ns + int(after_s * 1e9))

    def child(self, name: str, kind: Kind = Kind.INTERNAL, values: Mapping[str, Value | None] | None = None) -> Span:
        tracer = _Tracing.tracer
        return OFF if tracer is None else _Traced(_begun(tracer, name, kind, values, parent=self._span))

    def end(self, error: str | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        if error:
            from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415  # as above

            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    def __enter__(self) -> Span:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.end(None if error is None else getattr(error, "code", type(error).__name__))


def _begun(
    tracer: Tracer,
    name: str,
    kind: Kind,
    values: Mapping[str, Value | None] | None,
    *,
    parent: VendorSpan | None = None,
    headers: Headers | None = None,
) -> VendorSpan:
    from opentelemetry.context import Context  # noqa: PLC0415  # as above
    from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415  # as above

    if parent is not None:
        context = set_span_in_context(parent, Context())
    else:
        context = _propagator().extract(_bounded(headers or {}), Context())
    attributes = {key: value for key, value in (values or {}).items() if value is not None}
    return tracer.start_span(name, context=context, kind=SpanKind[kind.value], attributes=attributes)


def _bounded(headers: Headers) -> dict[str, str]:
    """Take what is of traces: it comes from anybody."""
    found = {name.lower(): value for name, value in headers.items() if name.lower() in {"traceparent", "tracestate"}}
    if len(found.get("tracestate", "")) > MOST_STATE_CHARS:
        del found["tracestate"]
    return found


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415  # as above

    return TraceContextTextMapPropagator()
