"""What strangers, and owners of other keys, get from a whole fleet: nothing, said in the form of the API that they asked."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from common.keys import Scope
from tests.commands import clean_environment, drover
from tests.integration.bridge.answers import Asker, Description, ask_everything
from tests.integration.bridge.estate import NATS_PASSWORD, Estate, bearer, estate

HANG_S = 150.0
HI: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "1"))
"""Requests for each route that are made up; above 20 all corners of the schemas are tried besides, which takes minutes."""

OPEN = {"GET /health", "GET /api/version", "POST /api/v1/session"}
"""What is described and asks for no key: whether it lives, which API that is, and what takes a key itself."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Estate]:
    async with estate(tmp_path_factory.mktemp("estate")) as house:
        yield house


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ann(house: Estate) -> str:
    return await house.key(tenant="acme", user="ann")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def paths(house: Estate) -> dict[str, dict[str, Any]]:
    """What `/openapi.json` says."""
    found: dict[str, dict[str, Any]] = (await house.http.get("/openapi.json")).json()["paths"]
    return found


def operations(paths: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Methods and paths, with something in place of each parameter."""
    for path, found in paths.items():
        for method in found:
            yield method.upper(), re.sub(r"\{[^}]*\}", "01JD3V0R0000000000000000AB", path)


CONFIG = """
continue-on-failure = true
[checks]
enabled = false
[checks.not_a_server_error]
enabled = true
expected-statuses = ["2xx", "3xx", "4xx", "502", "503", "504"]
[checks.status_code_conformance]
enabled = true
[checks.content_type_conformance]
enabled = true
[checks.response_schema_conformance]
enabled = true
[checks.ignored_auth]
enabled = true
"""


async def test_the_answers_are_as_described(house: Estate, tmp_path: Path) -> None:
    """Requests that are made up of `/openapi.json`: no failure of ours, no status, type or form that it does not tell of, and
    nothing without a key."""
    root = await house.key(tenant="root", scopes=tuple(Scope))
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    phases = "examples,coverage,fuzzing" if EXAMPLES > 20 else "examples,fuzzing"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "--no-color"),
        *("--config-file", "schemathesis.toml", "run", f"{house.bridge.url}/openapi.json"),
        *("--phases", phases, "--max-examples", str(EXAMPLES), "--request-timeout", "60"),
        *("--header", f"Authorization: Bearer {root}", "--seed", "1", "--generation-deterministic"),
        cwd=tmp_path,
        env=clean_environment(),
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        async with asyncio.timeout(HANG_S * (1 + EXAMPLES / 10)):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert 0 == process.returncode, told.decode()


async def test_each_answer_is_what_is_described(house: Estate) -> None:
    """Of every route that answers with JSON a real answer has the fields that `/openapi.json` tells of, of these types, and no
    others; and there is none of which it tells nothing."""
    secret = await house.key(tenant="shapes", scopes=tuple(Scope))
    said, asker = Description((await house.http.get("/openapi.json")).json()), Asker(house.http, bearer(secret))
    async with asyncio.timeout(HANG_S):
        await ask_everything(asker, secret)
    bodies = said.bodies()
    wrong = {
        place: faults
        for place, answer in asker.answers
        if place in bodies and (faults := said.faults(bodies[place], answer.json()))
    }

    assert {} == wrong
    assert bodies.keys() == {place for place, _ in asker.answers}
    assert all(bodies.values())


async def test_nothing_that_is_described_is_open(house: Estate, paths: dict[str, dict[str, Any]]) -> None:
    """Without a key, and with a wrong one, each route says 401 in its API's form, but for those that are open on purpose."""
    wrong = "dr_" + "a" * 12 + "_" + "b" * 43
    told: dict[str, set[int]] = {}
    for method, path in operations(paths):
        for headers in ({}, bearer(wrong), {"x-api-key": wrong}, {"cookie": f"drover={wrong}"}):
            answer = await house.http.request(method, path, headers={**headers, "sec-fetch-site": "same-origin"})
            told.setdefault(f"{method} {path}", set()).add(answer.status_code)

    assert {} == {name: found for name, found in told.items() if found != {401} and name not in OPEN}
    assert len(told) > 30


FORMS: dict[str, tuple[str, str]] = {
    "chat": ("/v1/chat/completions", '{"model":"auto","messages":[{"role":"user","content":%s}]}'),
    "completions": ("/v1/completions", '{"model":"auto","prompt":%s}'),
    "responses": ("/v1/responses", '{"model":"auto","input":%s}'),
    "embeddings": ("/v1/embeddings", '{"model":"nothing","input":%s}'),
    "messages": ("/v1/messages", '{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":%s}]}'),
    "tokens": ("/v1/messages/count_tokens", '{"model":"auto","messages":[{"role":"user","content":%s}]}'),
    "Ollama's chat": ("/api/chat", '{"model":"auto","stream":false,"messages":[{"role":"user","content":%s}]}'),
    "Ollama's generate": ("/api/generate", '{"model":"auto","stream":false,"prompt":%s}'),
    "Ollama's embed": ("/api/embed", '{"model":"nothing","input":%s}'),
    "Ollama's show": ("/api/show", '{"model":%s}'),
    "explain": ("/v1/route/explain", '{"model":"auto","messages":[{"role":"user","content":%s}]}'),
    "feedback": ("/v1/feedback", '{"job":"none","rating":%s}'),
    "votes": ("/api/v1/votes", '{"jobs":["one","two"],"winner":%s}'),
    "jobs": ("/v1/jobs", '{"prompt":%s}'),
    "session": ("/api/v1/session", '{"key":%s}'),
    "conversations": ("/api/v1/conversations", '{"title":%s}'),
}
"""A body for each route that reads one, with a hole in it."""


def nested(times: int, opening: str, closing: str) -> str:
    return opening * times + "1" + closing * times


HOLES: dict[str, str] = {
    "deep lists": nested(100_000, "[", "]"),
    "deep objects": nested(60_000, '{"a":', "}"),
    "unclosed": "[" * 200_000,
    "many keys": "{" + ",".join(f'"k{n}":{n}' for n in range(60_000)) + "}",
    "many items": "[" + ",".join(["{}"] * 250_000) + "]",
    "a huge number": "9" * 100_000,
    "a huge exponent": "1e999999",
    "NaN": "NaN",
    "endless": "-Infinity",
    "half a character": '"\\ud800"',
    "a null byte": '"a\\u0000b"',
    "no end": '"abc',
    "a list of nulls": "[" + ",".join(["null"] * 1000) + "]",
}
WHOLE: dict[str, bytes] = {
    "UTF-16": '{"model":"auto"}'.encode("utf-16"),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + b'{"model":"auto"}',
    "not UTF-8": b'{"model":"\xff\xfe","messages":[{"role":"user","content":"\xc3\x28"}],"prompt":"\xff","key":"\xff"}',
    "MessagePack": b"\x81\xa5model\xa4auto",
    "nothing": b"",
    "null": b"null",
    "two objects": b"{}{}",
}


@pytest.mark.parametrize("name", FORMS)
async def test_no_body_is_too_much_for_a_route(house: Estate, ann: str, name: str) -> None:
    """Whatever stands where a text should: a 4xx in a few words, in the API's form; and the next is served."""
    path, form = FORMS[name]
    bodies = {what: (form % hole).encode() for what, hole in HOLES.items()} | WHOLE
    headers = {**bearer(ann), "content-type": "application/json"}
    wrong = {}
    for what, body in bodies.items():
        answer = await house.http.post(path, content=body, headers=headers)
        error = answer.json().get("error")
        if not (400 <= answer.status_code < 500 and error and len(answer.content) < 4096) and what != "a null byte":
            wrong[what] = (answer.status_code, answer.text[:200])
        if answer.status_code >= 500:
            wrong[what] = (answer.status_code, answer.text[:200])
    after = await house.http.post("/v1/chat/completions", json=HI, headers=bearer(ann))

    assert ({}, 200) == (wrong, after.status_code)


async def test_a_key_that_comes_twice_is_one_key(house: Estate, ann: str) -> None:
    """Everybody who reads the body sees the same one, the last: nobody checks the first and runs the other."""
    body = b'{"model":"nobody-has-this","model":"auto","messages":[{"role":"user","content":"hi"}]}'
    answer = await house.http.post(
        "/v1/chat/completions", content=body, headers={**bearer(ann), "content-type": "application/json"}
    )

    assert (200, "echo") == (answer.status_code, answer.json()["model"])


@pytest.fixture(scope="module")
def others() -> dict[str, dict[str, str]]:
    """Whose keys are not Ann's: another user's of her tenant, and one of her name at another tenant."""
    return {"bob": {"tenant": "acme", "user": "bob"}, "mallory": {"tenant": "evil", "user": "ann"}}


async def made(house: Estate, key: str) -> dict[str, str]:
    """One of each thing that has an id, made with this key: a conversation with a turn in it, and a durable job."""
    begun = await house.http.post("/api/v1/conversations", json={"title": "Bees"}, headers=bearer(key))
    name = begun.json()["id"]
    said = {"messages": [{"role": "user", "content": "the canary sings"}]}
    turns = await house.http.post(f"/api/v1/conversations/{name}/turns", json=said, headers=bearer(key))
    job = await house.http.post("/v1/jobs", json={"prompt": "hi"}, headers=bearer(key))
    return {"conversation": name, "turn": turns.json()["turns"][0], "job": job.json()["id"]}


OWNED: list[tuple[str, str, str]] = [
    ("GET", "/api/v1/conversations/{conversation}", ""),
    ("GET", "/api/v1/conversations/{conversation}?turn={turn}", ""),
    ("GET", "/api/v1/conversations/{conversation}/export", ""),
    ("GET", "/api/v1/conversations/{conversation}/export?format=markdown&whole=true", ""),
    ("PATCH", "/api/v1/conversations/{conversation}", '{"title":"mine now"}'),
    ("POST", "/api/v1/conversations/{conversation}/turns", '{"messages":[{"role":"user","content":"x"}]}'),
    ("POST", "/api/v1/conversations/{conversation}/branch", '{"turn":"{turn}"}'),
    ("POST", "/api/v1/conversations/{conversation}/select", '{"turn":"{turn}"}'),
    ("DELETE", "/api/v1/conversations/{conversation}", ""),
    ("GET", "/v1/jobs/{job}", ""),
    ("GET", "/v1/jobs/{job}/events", ""),
    ("DELETE", "/v1/jobs/{job}", ""),
    ("GET", "/v1/route/{job}", ""),
    ("POST", "/v1/feedback", '{"job":"{job}","rating":"up"}'),
    ("GET", "/api/v1/jobs/{job}", ""),
    ("GET", "/api/v1/jobs/{job}/events", ""),
    ("DELETE", "/api/v1/jobs/{job}", ""),
    ("GET", "/api/v1/route/{job}", ""),
    ("POST", "/api/v1/feedback", '{"job":"{job}","rating":"up"}'),
    ("POST", "/api/v1/votes", '{"jobs":["{job}","other"],"winner":"{job}"}'),
]


def filled(text: str, things: dict[str, str]) -> str:
    return re.sub(r"\{(conversation|turn|job)\}", lambda found: things[found[1]], text)


async def everything(house: Estate, key: str, things: dict[str, str]) -> Any:
    """What the owner sees of it."""
    seen = await house.http.get(f"/api/v1/conversations/{things['conversation']}", headers=bearer(key))
    return seen.json()


async def asked(house: Estate, key: str, method: str, path: str, body: str) -> int:
    headers = bearer(key) | ({"content-type": "application/json"} if body else {})
    answer = await house.http.request(method, path, content=body or None, headers=headers)
    return answer.status_code


@pytest.mark.parametrize("who", ["bob", "mallory"])
async def test_what_is_somebody_else_s_is_not_there(
    house: Estate, ann: str, others: dict[str, dict[str, str]], who: str
) -> None:
    """To any other key a thing of Ann's is as one that never was, whatever is tried on it; and she finds it as she left it."""
    things = await made(house, ann)
    other = await house.key(**others[who], scopes=(Scope.CHAT, Scope.ROUTE))
    before = await everything(house, ann, things)
    told = {
        f"{method} {path}": await asked(house, other, method, filled(path, things), filled(body, things))
        for method, path, body in OWNED
    }
    listed = (await house.http.get("/api/v1/conversations?q=canary", headers=bearer(other))).json()
    chat = await house.http.post(
        "/v1/chat/completions", json={**HI, "conversation_id": things["conversation"]}, headers=bearer(other)
    )
    forgotten = await house.http.delete("/api/v1/conversations?confirm=all", headers=bearer(other))

    assert {404} == set(told.values()), told
    assert ([], 404, 200) == (listed["conversations"], chat.status_code, forgotten.status_code)
    assert before == await everything(house, ann, things)
    assert "cancelled" != (await house.http.get(f"/v1/jobs/{things['job']}", headers=bearer(ann))).json()["state"]


OF_OPERATORS = ("/api/v1/keys", "/api/v1/devices/{name}/")

OF_WATCHERS = {
    ("get", "/api/v1/devices/{name}/history"),
    ("get", "/api/v1/experiments/{experiment}"),
    ("get", "/api/v1/experiments/{experiment}/rows"),
}
"""Theirs who may see the fleet."""


async def test_every_path_with_an_id_is_tried(paths: dict[str, dict[str, Any]]) -> None:
    """A new one has to join the table above, or to be named here: models are everybody's, and a device's past and what was measured
    are for who may see the fleet."""
    tried = {(method.lower(), path.partition("?")[0]) for method, path, _ in OWNED}
    found = {(method, path) for path, methods in paths.items() for method in methods if "{" in path}

    assert {("get", "/v1/models/{model}"), *OF_WATCHERS} == {
        (method, path)
        for method, path in found - tried
        if not path.startswith(OF_OPERATORS) or (method, path) in OF_WATCHERS
    }


async def test_what_operators_do_is_not_for_others(house: Estate, ann: str, paths: dict[str, dict[str, Any]]) -> None:
    """Keys and devices are theirs who have the scope for it, whatever else a key may do."""
    watched = {path for _, path in OF_WATCHERS}
    ours = {path: found for path, found in paths.items() if path.startswith(OF_OPERATORS) and path not in watched}
    told = {
        f"{method} {path}": await asked(house, ann, method, path, "" if method == "GET" else "{}")
        for method, path in operations(ours)
    }

    assert {} == {name: status for name, status in told.items() if status != 403}
    assert len(told) > 5


NASTY = [
    "' OR '1'='1",
    "'; DROP TABLE conversations; --",
    '" OR ""="',
    "%",
    "_",
    "*",
    "a AND b",
    "NEAR(a b)",
    "\\",
    "\x00",
    "«»",
    "x" * 200,
]


@pytest.mark.parametrize("text", NASTY)
async def test_words_of_a_database_are_words(house: Estate, ann: str, text: str) -> None:
    """As an id, as a key, as a search: nothing is there, or it is refused, and nothing else happens."""
    things = await made(house, ann)
    found = await house.http.get("/api/v1/conversations", params={"q": text}, headers=bearer(ann))
    by_id = await house.http.get(f"/api/v1/conversations/{httpx.QueryParams({'': text})!s}"[:600], headers=bearer(ann))
    try:
        as_key = (await house.http.get("/v1/models", headers=[(b"x-api-key", text.encode())])).status_code
    except httpx.LocalProtocolError:
        as_key = 401
    cursor = await house.http.get("/api/v1/conversations", params={"before": text}, headers=bearer(ann))

    assert (found.status_code in {200, 400}, by_id.status_code, cursor.status_code) == (True, 404, 400)
    assert as_key in {400, 401}
    assert things["conversation"] == (await everything(house, ann, things))["conversation"]["id"]


async def test_another_site_s_page_changes_nothing(house: Estate, ann: str, paths: dict[str, dict[str, Any]]) -> None:
    """With the visitor's cookie, by whatever route: each that changes something is refused, whatever the browser says of where it
    comes from; and so is one whose browser says nothing."""
    opened = await house.http.post("/api/v1/session", json={"key": ann})
    cookie = f"drover={re.split('[=;]', opened.headers['set-cookie'])[1]}"
    house.http.cookies.clear()
    attacks: list[dict[str, str]] = [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost.evil.example"},
        {"origin": house.bridge.url, "sec-fetch-site": "cross-site"},
        {},
    ]
    told = {
        f"{method} {path} {attack}": (
            await house.http.request(
                method, path, content=b"{}", headers={"cookie": cookie, "content-type": "application/json", **attack}
            )
        ).status_code
        for method, path in operations(paths)
        if method != "GET" and f"{method} {path}" not in OPEN
        for attack in attacks
    }
    still = await house.http.get("/api/v1/session", headers={"cookie": cookie})

    assert {403} == set(told.values()), {name: status for name, status in told.items() if status != 403}
    assert 200 == still.status_code


async def test_no_secret_is_in_anything_that_is_written(house: Estate, tmp_path: Path) -> None:
    """Keys, sessions, providers' keys, the bus's password and what people say: in no log of any process at DEBUG, no metric, no
    refusal, no span, no listing of the knobs, and not in the ledger, neither in its file nor in what it exports."""
    secret = await house.key(user="eve")
    opened = await house.http.post("/api/v1/session", json={"key": secret})
    session = re.split("[=;]", opened.headers["set-cookie"])[1]
    house.http.cookies.clear()
    provider, prompt = "sk-canary-provider-7f3a", "canary-prompt-91c2"
    headers = bearer(secret) | {"x-drover-provider-key": provider}
    words = {**HI, "messages": [{"role": "user", "content": prompt}]}
    bad = {"messages": [{"role": "user", "content": [{"type": prompt[:40], "text": prompt}]}], "model": "auto"}
    answers = [
        await house.http.post(path, json=body, headers=sent)
        for sent in (
            headers,
            bearer(secret) | {"x-openai-api-key": provider},
            {"cookie": f"drover={session}"},
            bearer(secret[:-2] + "xx"),
        )
        for path, body in (
            ("/v1/chat/completions", words),
            ("/v1/chat/completions", {**words, "stream": True}),
            ("/v1/messages", words),
            ("/api/chat", words),
            ("/v1/jobs", {"prompt": prompt, "provider_key": provider}),
            ("/v1/route/explain", words),
            ("/v1/chat/completions", {**words, "max_tokens": prompt}),
            ("/v1/chat/completions", {**words, "provider_key": provider}),
            ("/api/v1/session", {"key": secret, "more": 1}),
            ("/nothing/" + prompt, bad),
        )
    ]
    metrics = (await house.http.get("/metrics")).text
    spans = await house.traces.until(
        lambda spans: {"drover-bridge", "drover-dispatcher"} <= {one.service for one in spans}
    )
    knobs, exported = await asyncio.gather(
        drover("config", "show", "--all", "bridge", "ledger", cwd=tmp_path, guard_s=HANG_S, **house.environment),
        drover("ledger", "export", "-", "--of", "keys", cwd=tmp_path, guard_s=HANG_S, **house.environment),
    )
    rows = b"".join(
        one.read_bytes() for one in Path(house.environment["DATABASE_URL"].removeprefix("sqlite:///")).parent.iterdir()
    )
    refused = "".join(
        answer.text for answer in answers if answer.status_code >= 400 and "/nothing/" not in str(answer.request.url)
    )
    logs = house.logs()

    secrets = {"key": secret[16:], "session": session[16:], "provider": provider, "bus": NATS_PASSWORD}
    written = {
        "logs": logs,
        "metrics": metrics,
        "refusals": refused,
        "spans": "".join(body.decode("latin-1") for body in house.traces.bodies),
        "knobs": knobs.out + knobs.err,
        "exports": exported.out + exported.err,
        "ledger": rows.decode("latin-1"),
    }
    found = {(name, where) for name, text in secrets.items() for where, said in written.items() if text in said}
    told = {where for where, said in written.items() if prompt in said}

    assert (200, set(), {"refusals"}) == (answers[0].status_code, found, told)
    assert all(len(said) > 100 for said in written.values())
    processes = {json.loads(line).get("process") for line in logs.splitlines() if line.startswith("{")}
    assert {"bridge", "dispatcher", "ledger", "agent"} <= processes
    assert spans
