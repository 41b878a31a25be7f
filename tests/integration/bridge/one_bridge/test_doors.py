"""Bad input at the HTTP door: a typed error with a way out, and the process lives."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from common import codec
from common.bus import Delivery
from tests.bridge_process import BridgeProcess
from tests.scripted_fleet import ScriptedFleet

CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
GOOD = b'{"messages":[{"role":"user","content":"hi"}]}'
HANG_S = 20.0

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one bridge serves all of them


async def chunked(piece: bytes, times: int) -> AsyncIterator[bytes]:
    for _ in range(times):
        yield piece


BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "not JSON": ({"content": b"hello"}, 400, "bad_request"),
    "no body": ({"content": b""}, 400, "bad_request"),
    "an array": ({"content": b"[]"}, 400, "bad_request"),
    "cut off": ({"content": GOOD[:-3]}, 400, "bad_request"),
    "MessagePack": ({"content": b"\x81\xa8messages\x90"}, 400, "bad_request"),
    "bad UTF-8": ({"content": b'{"messages":[{"role":"user","content":"\xff\xfe"}]}'}, 400, "bad_request"),
    "lone surrogate": ({"content": b'{"messages":[{"role":"user","content":"\\ud800"}]}'}, 400, "bad_request"),
    "wrong types": ({"content": b'{"messages":[{"role":"user","content":5}],"stream":"x"}'}, 400, "bad_request"),
    "no messages": ({"content": b"{}"}, 400, "bad_request"),
    "empty messages": ({"content": b'{"messages":[]}'}, 400, "bad_request"),
    "empty prompt": ({"content": b'{"messages":[{"role":"user","content":"  "}]}'}, 400, "bad_request"),
    "web image": (
        {
            "content": b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://10.0.0.1/x"}}]}]}'
        },
        400,
        "bad_request",
    ),
    "deep": ({"content": b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"}, 400, "bad_request"),
    "deep tools": (
        {"content": b'{"tools":[' + b'{"a":' * 90 + b"1" + b"}" * 90 + b"]," + GOOD[1:]},
        400,
        "bad_request",
    ),
    "two answers": ({"content": b'{"n":2,' + GOOD[1:]}, 400, "bad_request"),
    "logprobs": ({"content": b'{"logprobs":true,' + GOOD[1:]}, 400, "unsupported"),
    "30 MB": ({"content": b"x" * 30_000_000}, 413, "too_large"),
    "10 MB in chunks": ({"content": "chunks"}, 413, "too_large"),
    "form of a page": (
        {"content": GOOD, "headers": {**FORM, "origin": "https://evil.example"}},
        403,
        "not_allowed",
    ),
    "form of a sandboxed page": (
        {"content": GOOD, "headers": {**FORM, "origin": "null", "sec-fetch-site": "cross-site"}},
        403,
        "not_allowed",
    ),
    "form of a page that names no origin": (
        {"content": GOOD, "headers": {**FORM, "sec-fetch-site": "cross-site"}},
        415,
        "unsupported_media_type",
    ),
    "text": ({"content": GOOD, "headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
    "no type": ({"content": GOOD, "headers": {}}, 415, "unsupported_media_type"),
    "compressed": ({"content": GOOD, "headers": {**JSON, "content-encoding": "gzip"}}, 415, "unsupported_media_type"),
    "foreign host": ({"content": GOOD, "headers": {**JSON, "host": "evil.example"}}, 400, "bad_request"),
    "no host": ({"content": GOOD, "headers": {**JSON, "host": ""}}, 400, "bad_request"),
    "tricky host": ({"content": GOOD, "headers": {**JSON, "host": "evil.example/?x=localhost"}}, 400, "bad_request"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_is_refused_and_the_bridge_lives(
    http: httpx.AsyncClient, fleet: ScriptedFleet, name: str
) -> None:
    """The refusal has OpenAI's shape, reaches no device, shows no stack trace, and the next request is served."""
    fields, status, code = BAD[name]
    content = chunked(b"{" * 100_000, 100) if fields["content"] == "chunks" else fields["content"]
    response = await http.post(CHAT, content=content, headers=fields.get("headers", JSON))
    error = response.json()["error"]
    reached = fleet.jobs.qsize()
    after = await http.post(CHAT, content=GOOD, headers=JSON)

    assert (
        response.status_code,
        error["code"],
        sorted(error),
        "Traceback" in response.text,
        reached,
        after.status_code,
    ) == (
        status,
        code,
        ["code", "message", "param", "type"],
        False,
        0,
        200,
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/ui/../app.py", 404, "not_found"),
        ("GET", "/ui/%2e%2e/app.py", 404, "not_found"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("OPTIONS", CHAT, 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("GET", "/v1/models/no/such:model", 404, "unknown_model"),
    ],
)
async def test_a_wrong_path_or_method_has_the_same_shape(
    http: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    """The framework's own errors look like all others."""
    response = await http.request(method, path)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


LONG = "a" * 60_000


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/{LONG}", None),
        ("GET", f"/ui/{LONG}", None),
        ("PUT", f"/v1/models/{LONG}", None),
        ("GET", f"/v1/models/{LONG}", None),
        ("GET", f"/api/v1/jobs/{LONG}", None),
        ("GET", f"/api/v1/route/{LONG}", None),
        ("GET", f"/api/v1/conversations/{LONG}", None),
        ("POST", f"/api/v1/devices/{LONG}/drain", None),
        ("GET", f"/api/v1/jobs?{LONG}=1", None),
        ("POST", CHAT, {LONG: 1, "messages": []}),
        ("POST", CHAT, {"model": LONG, "messages": [{"role": "user", "content": "hi"}]}),
        ("POST", "/api/show", {"model": LONG}),
        ("POST", "/api/v1/feedback", {"job": LONG, "rating": "up"}),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
async def test_what_is_long_is_not_told_back(
    http: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None
) -> None:
    """Sixty kilobytes of a path, a name or a field are refused with their beginning."""
    response = await http.request(method, path, json=body)

    assert (True, True) == (400 <= response.status_code < 500, len(response.text) < 1000)


@pytest.mark.parametrize(
    ("path", "given", "meant"),
    [
        (CHAT, "X-Drover-Max-Cost", "x-drover-max-cost-usd"),
        (CHAT, "X-Drover-Prio", "x-drover-priority"),
        ("/v1/messages", "X-Drover-Converstion", "x-drover-conversation"),
        ("/api/chat", "X-Drover-Time-Out", "x-drover-timeout"),
        ("/api/v1/chat", "X-Drover-Chache", "x-drover-cache"),
        ("/api/v1/jobs", "X-Drover-Jobs", "x-drover-job"),
        ("/route", "X-Drover-Strat", "x-drover-strategy"),
        ("/v1/embeddings", "X-Drover-Provider", "x-drover-provider-key"),
        ("/v1/route/explain", "X-Drover-Strategie", "x-drover-strategy"),
    ],
)
async def test_a_header_that_is_misspelt_is_refused(
    http: httpx.AsyncClient, fleet: ScriptedFleet, path: str, given: str, meant: str
) -> None:
    """By its name, with the nearest that there is: who misspells a limit would think that it holds."""
    body: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    body |= {"/v1/messages": {"max_tokens": 9}}.get(path, {})
    body = {"/route": {"prompt": "hi"}, "/v1/embeddings": {"model": "m", "input": "hi"}}.get(path, body)
    response = await http.post(path, json=body, headers={given: "1"})
    said = response.text.lower()

    assert (400, True, True, 0) == (
        response.status_code,
        given.lower() in said,
        f"write {meant}," in said,
        fleet.jobs.qsize(),
    )


@pytest.mark.parametrize("path", ["energy", "latency", "devices/nano/history"])
async def test_what_only_the_ledger_knows_is_not_told_without_one(http: httpx.AsyncClient, path: str) -> None:
    """At once, with what to do."""
    answer = await http.get(f"/api/v1/{path}")
    error = answer.json()["error"]

    assert (503, "ledger", True) == (answer.status_code, error["code"], "drover ledger" in error["message"])


PROBED = (
    "/", "/docs", "/health", "/metrics", "/openapi.json", "/models", "/v1/models", "/v1/models/auto", "/v1/models/no:model",
    "/api/tags", "/api/ps", "/api/version", "/api/v1/models", "/api/v1/devices",
)  # fmt: skip


async def test_what_clients_probe_answers_head_as_get(http: httpx.AsyncClient) -> None:
    """The same status and type, the length of what GET gives, and no body; the description names only GET."""
    found = {path: (await http.get(path), await http.head(path)) for path in PROBED}
    paths = (await http.get("/openapi.json")).json()["paths"]

    assert {path: (one.status_code, one.headers["content-type"]) for path, (one, _) in found.items()} == {
        path: (two.status_code, two.headers["content-type"]) for path, (_, two) in found.items()
    }
    assert {two.content for _, two in found.values()} == {b""}
    assert len(found["/v1/models"][0].content) == int(found["/v1/models"][1].headers["content-length"])
    assert [path for path, operations in paths.items() if "head" in operations] == []


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.api+json", FORM["content-type"]])
async def test_json_is_read_by_any_of_its_names(http: httpx.AsyncClient, kind: str) -> None:
    """Also as `curl -d` sends it when no type is named."""
    response = await http.post(CHAT, content=GOOD, headers={"content-type": kind})

    assert response.status_code == 200


async def test_a_large_body_is_refused_before_it_is_sent(bridge: BridgeProcess) -> None:
    """By its announced length alone: the answer comes while not a byte of the body has been sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000000\r\n\r\n")
    async with asyncio.timeout(HANG_S):
        status = await reader.readline()
    writer.close()

    assert status == b"HTTP/1.1 413 Request Entity Too Large\r\n"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1234", "[::1]:80", "app.localhost"])
async def test_loopback_names_are_answered(http: httpx.AsyncClient, host: str) -> None:
    """Whatever port a tunnel or a proxy shows outside."""
    response = await http.get("/v1/models", headers={"host": host})

    assert response.status_code == 200


async def test_every_answer_has_the_security_headers(http: httpx.AsyncClient) -> None:
    """Pages, data and refusals alike; the pages' policies name no other host."""
    page = {"accept": "text/html"}
    [script] = re.findall(r'type="module" src="([^"]+)"', (await http.get("/", headers=page)).text)
    responses = [await http.get(path, headers=page) for path in ("/", "/docs", script, "/v1/models", "/nothing")]
    policies = [response.headers["content-security-policy"] for response in responses]

    assert (
        {response.headers["x-content-type-options"] for response in responses},
        ["http" in policy for policy in policies],
        ["default-src 'none'" in policy for policy in policies],
    ) == ({"nosniff"}, [False] * 5, [True] * 5)


async def test_no_web_page_of_others_may_read_answers(http: httpx.AsyncClient) -> None:
    """No cross-origin header is ever sent."""
    response = await http.get("/v1/models", headers={"origin": "https://evil.example"})

    assert [name for name in response.headers if name.startswith("access-control-")] == []


async def test_a_thumb_counts_without_a_ledger_and_a_vote_does_not(
    http: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """Routing hears the thumb, and it is told that nobody keeps it; a vote is refused before anybody hears of it."""
    heard = list[Delivery]()

    def learn(delivery: Delivery) -> None:
        heard.append(delivery)
        told = {"job": "a", "tenant": "default", "counted": True, "mode": "explicit"}
        fleet.spawn(fleet.bus.publish(delivery.reply, codec.encode(told)))

    subscription = await fleet.bus.subscribe("llm.v1.ctl.*.feedback.*", learn)
    await fleet.bus.flush()
    thumb = (await http.post("/api/v1/feedback", json={"job": "a", "rating": "up"})).json()
    back = await http.post("/api/v1/feedback", json={"job": "a", "rating": None})
    vote = await http.post("/api/v1/votes", json={"jobs": ["a", "b"], "winner": "a"})
    sums = await http.get("/api/v1/votes")
    await subscription.unsubscribe()

    assert (True, False, True) == (thumb["counted"], thumb["kept"], "drover ledger serve" in thumb["why_not_kept"])
    assert [503] * 3 == [one.status_code for one in (back, vote, sums)]
    assert 1 == len(heard)
