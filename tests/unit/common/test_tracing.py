"""Traces inside one process: nothing where nobody wants them, one span below the other where somebody does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from common import tracing
from common.errors import QueueFull
from common.tracing import OFF, Kind, begin, outgoing, traced, within
from tests.listening import GUARD_S
from tests.nats_server import free_port
from tests.otlp_receiver import Receiver, otlp_receiver

PARENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxy between us and the collector, and no collector of the machine's own."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield
    assert not tracing.active()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with otlp_receiver() as receiver:
        yield receiver


def test_without_a_collector_there_is_nothing() -> None:
    """The same span for all, which does nothing, and nothing to send along."""
    span = begin("a", PARENT, Kind.SERVER)
    with span.child("b") as part, within(part):
        sent = outgoing()

    assert (OFF, OFF, None, None) == (span, part, sent, part.headers)


@pytest.mark.parametrize("why", ["empty", "disabled"])
async def test_who_wants_no_traces_gets_none(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No address, or OpenTelemetry's own switch."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true" if why == "disabled" else "")
    async with traced("" if why == "empty" else "http://127.0.0.1:9", "test"):
        assert OFF is begin("a", {}, Kind.SERVER)


async def test_spans_leave_at_the_end_at_the_latest(receiver: Receiver) -> None:
    """Each below its own, those of tasks that began inside a span too, and what failed with its code."""

    async def inside() -> None:
        begin("far", outgoing() or {}, Kind.CONSUMER).end()

    async with traced(receiver.url, "test"):
        with begin("near", PARENT, Kind.SERVER) as near, within(near):
            async with asyncio.TaskGroup() as group:
                group.create_task(inside())
            with pytest.raises(QueueFull), near.child("part"):
                raise QueueFull
        after = outgoing()
    spans = {span.name: span for span in await receiver.until(lambda spans: len(spans) >= 3)}

    assert (None, {"0af7651916cd43dd8448eb211c80319c"}) == (after, {span.trace for span in spans.values()})
    assert ("b7ad6b7169203331", spans["near"].id, spans["near"].id) == (
        spans["near"].parent,
        spans["far"].parent,
        spans["part"].parent,
    )
    assert (True, "queue_full", False) == (
        spans["part"].failed,
        spans["part"].attributes["error.type"],
        spans["near"].failed,
    )


async def test_who_asked_for_no_trace_gets_none_but_its_place_travels(receiver: Receiver) -> None:
    """The flag that says that a trace is not kept holds for us and for whoever comes behind us."""
    async with traced(receiver.url, "test"):
        span = begin("a", {"traceparent": PARENT["traceparent"][:-1] + "0"}, Kind.SERVER)
        headers = span.headers or {}
        span.event("first token", 0.1)
        span.end()

    assert ([], True, True) == (
        receiver.spans,
        headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-"),
        headers["traceparent"].endswith("-00"),
    )


@pytest.mark.parametrize("state", ["a=1", "a=" + "x" * 600])
async def test_a_long_tracestate_is_left_behind(receiver: Receiver, state: str) -> None:
    """It comes from anybody, and would travel with each message."""
    async with traced(receiver.url, "test"):
        headers = begin("a", {**PARENT, "tracestate": state}, Kind.SERVER).headers or {}

    assert (state if len(state) < 512 else None) == headers.get("tracestate")


@pytest.mark.parametrize("listens", [True, False])
async def test_a_collector_that_does_not_answer_holds_nobody_up(listens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends without its last spans, whether the collector is gone or takes what it is sent and says nothing."""
    monkeypatch.setattr(tracing, "LAST_S", 0.05)
    monkeypatch.setattr(tracing, "EXPORT_S", 0.5)
    ended = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)  # until the sender gives up
        writer.close()
        ended.set()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1] if listens else free_port()
    async with asyncio.timeout(GUARD_S):
        async with traced(f"http://127.0.0.1:{port}", "test"):
            begin("a", {}, Kind.SERVER).end()
        if listens:
            await ended.wait()
    server.close()

    assert not tracing.active()


async def test_without_the_extra_a_collector_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process runs, and says once what is missing."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with capture_logs() as logs:
        async with traced("http://127.0.0.1:9", "test"):
            span = begin("a", {}, Kind.SERVER)

    assert (OFF, ["traces.not_installed"]) == (span, [entry["event"] for entry in logs])
