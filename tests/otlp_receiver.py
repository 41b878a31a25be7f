"""A small collector of one's own: takes OTLP over HTTP on a free port, and keeps the spans that come; it knows no fleet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tests.listening import GUARD_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A span that came."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    began_ns: int
    ended_ns: int
    attributes: dict[str, Any]
    events: tuple[str, ...]
    failed: bool


class Receiver:
    """What came so far."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.bodies: list[bytes] = []
        self.port = 0
        self.away = False
        """Whether whoever connects is hung up on. The port stays ours: another program might take it meanwhile."""
        self._server: asyncio.Server | None = None
        self._came = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def until(self, enough: Callable[[list[Seen]], bool]) -> list[Seen]:
        """Wait until what came is enough, and give all of it."""
        try:
            async with asyncio.timeout(GUARD_S):
                while not enough(self.spans):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError as error:
            raise AssertionError(f"there came only {[(one.service, one.name) for one in self.spans]}") from error
        return self.spans

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            writer.transport.abort()
            return
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            size = next(
                int(line.partition(":")[2]) for line in head.split("\r\n") if line.startswith("content-length:")
            )
            self._take(await reader.readexactly(size))
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            await writer.drain()
        except (OSError, EOFError):
            pass  # the process has been killed meanwhile
        finally:
            writer.close()

    def _take(self, body: bytes) -> None:
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            known = {one.key: _value(one.value) for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [_seen(str(known["service.name"]), span) for span in scope.spans]
        self._came.set()


def _seen(service: str, span: WireSpan) -> Seen:
    return Seen(
        service=service,
        name=span.name,
        kind=WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        began_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        attributes={one.key: _value(one.value) for one in span.attributes},
        events=tuple(event.name for event in span.events),
        failed=span.status.code == 2,
    )


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(one) for one in value.array_value.values)
    return None if kind is None else getattr(value, kind)


@asynccontextmanager
async def otlp_receiver() -> AsyncIterator[Receiver]:
    """Collect for the life of the context."""
    receiver = Receiver()
    await receiver.open()
    try:
        yield receiver
    finally:
        await receiver.close()
