"""The page on its own port, as scrapers and others ask for it; over real sockets."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from structlog.testing import capture_logs

from common import exposure
from common.exposure import CONNECTIONS, HEAD_BYTES, exposed
from common.metrics import Metrics
from tests.listening import GUARD_S


@pytest.fixture
async def url() -> AsyncIterator[str]:
    metrics = Metrics()
    metrics.counter("drover_jobs", "Jobs.").add(by=7)
    async with exposed(metrics, "127.0.0.1:0") as url:
        assert url is not None
        yield url


async def raw(url: str, request: bytes) -> bytes:
    """Send bytes, and give all that comes until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    writer.write(request)
    try:
        async with asyncio.timeout(GUARD_S):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("", "text/plain"), ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text")],
)
async def test_the_page_is_given_as_it_is_wanted(url: str, accept: str, kind: str) -> None:
    """In both forms that Prometheus asks for."""
    async with httpx.AsyncClient(trust_env=False, timeout=GUARD_S) as http:
        answer = await http.get(url, headers={"accept": accept})

    assert (200, True, True) == (
        answer.status_code,
        answer.headers["content-type"].startswith(kind),
        "drover_jobs_total 7.0" in answer.text,
    )


@pytest.mark.parametrize(
    ("request_line", "host", "status"),
    [
        ("GET /metrics", "127.0.0.1", 200),
        ("HEAD /metrics", "localhost:9464", 200),
        ("GET /metrics?name=x", "[::1]:9464", 200),
        ("GET /", "127.0.0.1", 404),
        ("POST /metrics", "127.0.0.1", 405),
        ("GET /metrics", "evil.example", 421),
        ("GET /metrics", "127.0.0.1.evil.example", 421),
    ],
)
async def test_only_the_page_is_there(url: str, request_line: str, host: str, status: int) -> None:
    """For no other path or method, and for no name that a web page could point here."""
    answer = await raw(url, f"{request_line} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert f"HTTP/1.1 {status} ".encode() == answer[:13]


@pytest.mark.parametrize("request_", [b"x" * (2 * HEAD_BYTES), b"\x00\xff\r\n\r\n", b"GET /metrics"])
async def test_what_is_no_request_is_hung_up_on(url: str, request_: bytes) -> None:
    """And the page is there for the next one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    writer.write(request_)
    writer.write_eof()
    async with asyncio.timeout(GUARD_S):
        try:
            said = await reader.read()
        except ConnectionResetError:
            said = b""
    writer.close()

    assert b"drover_jobs_total" not in said
    assert b"drover_jobs_total 7.0" in await raw(url, b"GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")


async def test_who_asks_nothing_takes_nobodys_place_for_long(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many silent connections as are taken at once: one more is hung up on, and when they are gone, all is well."""
    monkeypatch.setattr(exposure, "REQUEST_S", 10 * GUARD_S)  # none is given up while a busy machine makes the others
    silent = [await asyncio.open_connection("127.0.0.1", urlsplit(url).port) for _ in range(CONNECTIONS)]
    one_more = await raw(url, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    for _, writer in silent:
        writer.close()
    async with asyncio.timeout(GUARD_S):
        while not (page := await raw(url, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")):
            continue

    assert (b"", True) == (one_more, b"drover_jobs_total 7.0" in page)


async def test_a_port_that_is_taken_stops_nobody(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The process goes on without the page."""
    async with exposed(Metrics(), f"127.0.0.1:{urlsplit(url).port}") as second:
        assert second is None


async def test_the_end_waits_for_no_scraper() -> None:
    """A connection that is open when the process stops is hung up on."""
    async with exposed(Metrics(), "127.0.0.1:0") as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    async with asyncio.timeout(GUARD_S):
        try:
            said = await reader.read()
        except ConnectionResetError:
            said = b""
    writer.close()

    assert b"" == said


@pytest.mark.parametrize(("setting", "expected"), [("127.0.0.1:0", ["metrics.not_installed"]), ("off", []), ("", [])])
def test_without_the_extra_nothing_is_shown(setting: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wanted to see something reads why not."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with capture_logs() as logs:
        shown = exposure.wanted(setting)

    assert (False, expected) == (shown, [entry["event"] for entry in logs])
