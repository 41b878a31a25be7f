"""Hosts, origins and other sites' pages, as tables: what stands before the routes, in the order in which it does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message, Scope

from common.bus.questions import require_size
from common.errors import PayloadTooLarge, QueueFull
from dispatcher.bridge.burden import lighten
from dispatcher.bridge.composing import _guard
from dispatcher.bridge.headers import EXPOSED
from dispatcher.bridge.limits import BodyLimit, Terms
from dispatcher.bridge.statuses import BodyLate
from dispatcher.bridge.surfaces import refusal

PAGE = "https://chat.example"
Headers = list[tuple[str, str]]


def door(*, origins: tuple[str, ...] = (), any_address: bool = False) -> FastAPI:
    """An application with one route behind all limits."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.api_route("/v1/x", methods=["GET", "POST"])
    async def route() -> str:
        return "in"

    names = frozenset({"localhost", "fleet.lan", "127.0.0.1"})
    terms = Terms(names=names, origins=frozenset(origins), max_bytes=100)
    _guard(app, terms, any_address=any_address)
    return app


async def ask(app: Any, headers: Headers, method: str = "GET", path: str = "/v1/x") -> tuple[int, Headers, str]:
    """One request over bare ASGI, with just these headers."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": raw,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    told = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
    return sent[0]["status"], told, b"".join(one.get("body", b"") for one in sent[1:]).decode()


OURS = [
    "localhost",
    "LOCALHOST:8080",
    "fleet.lan",
    "Fleet.LAN:1",
    "app.localhost",
    "127.0.0.1",
    "127.0.0.1:80",
    "127.1.2.3",
    "[::1]",
    "[::1]:9",
]
FOREIGN = [
    "",
    " ",
    "evil.example",
    "evil.example:80",
    "a/?x=localhost",
    "evil.example#localhost",
    "evil.example#@localhost",
    "localhost@evil.example",
    "localhost:80@evil.example",
    "evil.example/localhost",
    "evil.example?localhost",
    "evil.example\\localhost",
    "evil.example%00localhost",
    "localhost.",
    "localhost.evil.example",
    "evillocalhost",
    "localhost,evil.example",
    "localhost evil.example",
    "localhost:80:80",
    "[::1",
    "[::1%25eth0]",
    "[::1%lo]",
    "[fe80::1]",
    "[::ffff:10.0.0.1]",
    "10.0.0.1",
    "0.0.0.0",
    "127.0.0.1.evil.example",
    "2130706433",
    "0x7f.1",
    "127.1",
    "169.254.169.254",
    "fleet.lan.",
    "xn--localhst-9za",
    "\xaflocalhost",
]


@pytest.mark.parametrize("host", OURS)
async def test_our_own_names_are_answered(host: str) -> None:
    """Whatever the port and the case, since tunnels show other ports."""
    status, _, _ = await ask(door(), [("host", host)])

    assert 200 == status


@pytest.mark.parametrize("path", ["/v1/x", "/api/x", "/v1/messages", "/nothing"])
@pytest.mark.parametrize("host", FOREIGN)
async def test_names_that_are_not_ours_are_refused(host: str, path: str) -> None:
    """Also where ours stands somewhere in them; before any route, and with what browsers should know."""
    status, headers, body = await ask(door(), [("host", host)], path=path)

    assert (400, True) == (status, "DROVER_HTTP_ALLOWED_HOSTS" in body)
    assert ("x-content-type-options", "nosniff") in headers


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("host", "localhost"), ("host", "evil.example")],
        [("host", "localhost"), ("host", "localhost")],
        [("host", "evil.example"), ("x-forwarded-host", "localhost")],
        [("host", "evil.example"), ("forwarded", "host=localhost")],
        [("host", "evil.example"), ("x-host", "localhost"), ("x-original-host", "localhost")],
    ],
)
async def test_there_is_one_host_and_it_is_in_its_own_header(headers: Headers) -> None:
    """None, or two, or one that a proxy might have told: each reader could go by another."""
    status, _, _ = await ask(door(), headers)

    assert 400 == status


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/v1/messages", "/api/v1/jobs"])
async def test_what_the_bus_does_not_carry_is_told_in_bytes_alone(path: str) -> None:
    """Its subjects are nothing to who speaks HTTP; a limit of the bridge's own is told as it is."""
    with pytest.raises(PayloadTooLarge) as error:
        require_size("llm.v1.chat.default", b"x" * 11, None, 10)
    told = refusal(error.value, path)
    said, own = bytes(told.body).decode(), bytes(refusal(PayloadTooLarge("900000 are taken"), path).body).decode()

    assert (413, True, False) == (told.status_code, "has 11 bytes, and 10 are carried" in said, "llm.v1" in said)
    assert "900000 are taken" in own


async def test_who_names_its_host_twice_is_told_so() -> None:
    """And not that the bridge does not answer for it, which it does."""
    _, _, body = await ask(door(), [("host", "localhost"), ("host", "localhost")])

    assert ("there are two Host headers: send one", "Host") == (told(body)["message"], told(body)["param"])


def told(body: str) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(body)["error"]
    return error


@pytest.mark.parametrize(("host", "status"), [("192.168.1.5:8080", 200), ("[fe80::1]", 200), ("evil.example", 400)])
async def test_addresses_are_answered_where_other_machines_come_in(host: str, status: int) -> None:
    """An address can't be pointed elsewhere; a name can."""
    found, _, _ = await ask(door(any_address=True), [("host", host)])

    assert status == found


def cross(headers: Headers) -> set[str]:
    """What browsers are told about other sites."""
    return {name for name, _ in headers if name.startswith("access-control-")}


PREFLIGHT = [
    ("access-control-request-method", "POST"),
    ("access-control-request-headers", "authorization,x-stainless-os"),
]


@pytest.mark.parametrize("origin", [PAGE, "null", "http://localhost", "https://evil.example"])
async def test_other_sites_are_told_nothing_by_default(origin: str) -> None:
    """Neither in an answer nor to a preflight, and what would change something is refused."""
    read = await ask(door(), [("host", "localhost:8080"), ("origin", origin)])
    asked = await ask(door(), [("host", "localhost:8080"), ("origin", origin), *PREFLIGHT], "OPTIONS")
    changed = await ask(door(), [("host", "localhost:8080"), ("origin", origin)], "POST")

    assert (set(), set(), set()) == (cross(read[1]), cross(asked[1]), cross(changed[1]))
    assert (200, 405, 403) == (read[0], asked[0], changed[0])


async def test_a_site_that_was_named_may_ask_and_read() -> None:
    """It is told so by its name and not by a star, sees our headers, and its browser sends no cookies along."""
    app = door(origins=(PAGE,))
    asked = await ask(app, [("host", "localhost"), ("origin", PAGE), *PREFLIGHT], "OPTIONS")
    changed = await ask(app, [("host", "localhost"), ("origin", PAGE)], "POST")
    told, answer = dict(asked[1]), dict(changed[1])

    assert (200, 200) == (asked[0], changed[0])
    assert (PAGE, PAGE) == (told["access-control-allow-origin"], answer["access-control-allow-origin"])
    assert {"authorization", "x-stainless-os"} <= set(told["access-control-allow-headers"].replace(" ", "").split(","))
    assert set(EXPOSED) == set(answer["access-control-expose-headers"].replace(" ", "").split(","))
    assert "access-control-allow-credentials" not in told.keys() | answer.keys()
    assert "origin" in answer["vary"].lower()


@pytest.mark.parametrize(
    "origin",
    [
        "null", "https://evil.example", "http://chat.example", "https://chat.example.evil.example", "https://evilchat.example",
        "https://chat.example:444", "https://chat.example/", "https://chat.example@evil.example", "file://", "*",
    ],
)  # fmt: skip
async def test_other_sites_than_the_one_that_was_named_are_told_nothing(origin: str) -> None:
    """However much their names are alike."""
    app = door(origins=(PAGE,))
    read = await ask(app, [("host", "localhost"), ("origin", origin)])
    asked = await ask(app, [("host", "localhost"), ("origin", origin), *PREFLIGHT], "OPTIONS")
    changed = await ask(app, [("host", "localhost"), ("origin", origin)], "POST")
    allowed = {
        value
        for _, headers, _ in (read, asked, changed)
        for name, value in headers
        if name == "access-control-allow-origin"
    }

    assert (set(), 403) == (allowed, changed[0])


async def test_our_own_page_may_change_things() -> None:
    """Behind a proxy that takes TLS off as well."""
    told = [
        (await ask(door(), [("host", host), ("origin", origin)], "POST"))[0]
        for host, origin in (("localhost:8080", "http://localhost:8080"), ("fleet.lan", "https://fleet.lan"))
    ]

    assert [200, 200] == told


def limited(body_s: float) -> tuple[BodyLimit, list[bytes]]:
    """A route that reads its body to the end, behind the limit."""
    read: list[bytes] = []

    async def route(_: Scope, receive: Any, __: Any) -> None:
        while True:
            message = await receive()
            read.append(message.get("body", b""))
            if message["type"] == "http.disconnect":
                return

    return BodyLimit(route, terms=Terms(max_bytes=10, body_s=body_s), refuse=refusal), read


async def nothing(_: Message) -> None:
    return


async def test_a_body_that_does_not_come_is_late() -> None:
    """Each piece that comes gives it no more time."""
    app, _ = limited(0.05)

    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"", "more_body": True}

    with pytest.raises(BodyLate):
        await app({"type": "http", "path": "/v1/x", "headers": []}, receive, nothing)


async def test_who_waits_behind_its_body_is_not_late() -> None:
    """An answer may take as long as it takes: what is waited for then is the hang-up."""
    app, read = limited(0.05)
    coming = iter(({"type": "http.request", "body": b"{}", "more_body": False}, {"type": "http.disconnect"}))

    async def receive() -> Message:
        if read:
            await asyncio.sleep(0.2)
        return next(coming)

    await app({"type": "http", "path": "/v1/x", "headers": []}, receive, nothing)

    assert [b"{}", b""] == read


async def test_a_body_is_counted_as_it_comes() -> None:
    """Whatever was announced, or nothing."""
    app, read = limited(5.0)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"12345", "more_body": True}

    with pytest.raises(PayloadTooLarge):
        await app({"type": "http", "path": "/v1/x", "headers": []}, receive, nothing)
    assert 2 == len(read)


async def test_large_bodies_have_a_limit_together() -> None:
    """While one is held a second that does not fit beside it is sent away, and an ordinary one is not; the first one's is free when
    its files are read, or when it ends, and a single one is always taken."""
    done, reading = asyncio.Event(), asyncio.Event()

    async def route(scope: Scope, receive: Any, _: Any) -> None:
        while (await receive())["more_body"]:
            pass
        if scope["method"] == "HOLD":
            reading.set()
            await done.wait()
            lighten()
            await asyncio.Event().wait()

    app = BodyLimit(route, terms=Terms(max_bytes=10, max_upload_bytes=1000, max_held_bytes=100), refuse=refusal)

    async def post(size: int, method: str = "POST") -> None:
        pieces = iter([(b"A" * (size // 2), True), (b"A" * (size - size // 2), False)])

        async def receive() -> Message:
            body, more = next(pieces)
            return {"type": "http.request", "body": body, "more_body": more}

        await app({"type": "http", "path": "/api/chat", "method": method, "headers": []}, receive, nothing)

    await post(900)
    async with asyncio.TaskGroup() as tasks:
        holding = tasks.create_task(post(60, "HOLD"))
        await reading.wait()
        with pytest.raises(QueueFull, match="holds 60 bytes of other requests") as refused:
            await post(50)
        await post(40)
        await post(10)
        done.set()
        await asyncio.sleep(0)
        await post(900)
        holding.cancel()

    assert refused.value.retry_after_s == 5


async def test_a_refusal_before_any_route_has_the_form_of_its_api() -> None:
    """Each API's clients read their own."""
    foreign = [("host", "evil.example")]
    told = {
        path: json.loads((await ask(door(), foreign, path=path))[2]) for path in ("/v1/x", "/api/x", "/v1/messages")
    }

    assert ({"message", "type", "param", "code"}, str, "error") == (
        set(told["/v1/x"]["error"]),
        type(told["/api/x"]["error"]),
        told["/v1/messages"]["type"],
    )
