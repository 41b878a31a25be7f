"""Keys at the door: a real bridge, a real ledger, and a fleet whose answers are written here."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from common import key_client
from common.errors import FleetError
from common.key_requests import AddKey, ChangeKey, Limit, ListKeys
from common.keys import Period, Scope, Unit, new_id, new_secret
from common.subjects import Subjects
from tests.bridge_process import BridgeProcess, bridge_process
from tests.integration.ledger.ledgers import LedgerProcess, ledger_process
from tests.nats_server import nats_server
from tests.scripted_fleet import ScriptedFleet, ScriptedJob, scripted_fleet

HANG_S = 60.0
SUBJECTS = Subjects("llm.v1")
CHAT: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(slots=True)
class House:
    """All of it, and a client."""

    fleet: ScriptedFleet
    bridge: BridgeProcess
    ledger: LedgerProcess
    http: httpx.AsyncClient
    nats_url: str
    made: list[str] = field(default_factory=list)

    async def key(self, **fields: Any) -> str:
        """Make a key, and give its secret."""
        name = f"k{len(self.made)}"
        issued = await key_client.add(self.fleet.bus, SUBJECTS, AddKey(name=name, **fields))
        self.made.append(issued.grant.key)
        return issued.secret

    async def chat(self, secret: str | None = None, **fields: Any) -> httpx.Response:
        return await self.http.post("/v1/chat/completions", json={**CHAT, **fields}, headers=bearer(secret))


def bearer(secret: str | None) -> dict[str, str]:
    return {} if secret is None else {"authorization": f"Bearer {secret}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    directory = tmp_path_factory.mktemp("keys")
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(nats_server())
        database = f"sqlite:///{directory / 'ledger.db'}"
        ledger = await stack.enter_async_context(ledger_process(nats.url, database, directory))
        fleet = await stack.enter_async_context(scripted_fleet(nats.url))
        await until_answered(fleet)
        bridge = await stack.enter_async_context(bridge_process(nats.url, DROVER_LEDGER="on", LOG_LEVEL="DEBUG"))
        await fleet.beat()
        client = httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False)
        http = await stack.enter_async_context(client)
        yield House(fleet, bridge, ledger, http, nats.url)


async def until_answered(fleet: ScriptedFleet) -> None:
    """Wait for the ledger."""
    async with asyncio.timeout(HANG_S):
        while True:
            try:
                await key_client.state(fleet.bus, SUBJECTS)
            except FleetError:
                await asyncio.sleep(0.05)
            else:
                return


async def becomes(status: int, ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Ask until the status is this: the word of a change comes on another subject than the answer to who made it."""
    async with asyncio.timeout(HANG_S):
        while (answer := await ask()).status_code != status:  # noqa: ASYNC110  # another process's doings raise no event
            await asyncio.sleep(0.01)
    return answer


async def test_keys_are_needed_as_soon_as_there_is_one(house: House) -> None:
    """Without any, this machine is let in; with one, nobody without it, and each refusal says what to do."""
    before = await house.http.get("/v1/models")
    secret = await house.key()
    await becomes(401, lambda: house.http.get("/v1/models"))
    bare, good = await house.chat(), await house.chat(secret)

    assert (200, 401, 200) == (before.status_code, bare.status_code, good.status_code)
    assert "drover keys add" in bare.json()["error"]["message"]
    assert ("Bearer", "authentication_error") == (bare.headers["www-authenticate"], bare.json()["error"]["type"])
    assert 200 == (await house.http.get("/health")).status_code


@pytest.mark.parametrize("header", ["x-api-key", "api-key"])
async def test_a_key_in_any_header_is_the_same_key(house: House, header: str) -> None:
    """Whose clients have it there need no other setting."""
    secret = await house.key()
    answer = await house.http.get("/v1/models", headers={header: secret})

    assert 200 == answer.status_code


async def test_a_wrong_secret_is_told_nothing(house: House) -> None:
    """Neither whether there is such a key, nor what was sent."""
    secret = await house.key()
    wrong, unknown = secret[:-4] + "AAAA", new_secret(new_id())
    answers = [await house.http.get("/v1/models", headers=bearer(one)) for one in (wrong, unknown, "' OR '1'='1")]

    assert [401] * 3 == [answer.status_code for answer in answers]
    assert answers[0].json()["error"]["message"] == answers[1].json()["error"]["message"]
    assert not any(part in answer.text for answer in answers for part in (wrong[-20:], unknown[-20:]))


async def test_a_job_counts_for_its_key_s_tenant_and_user(house: House) -> None:
    """And carries what the key is for: the dispatcher keeps it to that."""
    house.fleet.forget()
    secret = await house.key(tenant="acme", user="ann", models=("llama*",), devices=("nano", "orin"))
    await house.chat(secret, user="bob")
    job = await house.fleet.jobs.get()

    assert ("acme", "ann/bob") == (job.tenant, job.request["user"])
    assert (["llama*"], ["nano", "orin"]) == (job.request["allow_models"], job.request["allow_devices"])


@pytest.mark.parametrize("path", ["/v1/models", "/api/tags"])
async def test_a_list_has_what_the_key_may_use(house: House, path: str) -> None:
    """Models that it does not allow, or that only other devices have, are none of its business."""
    await house.fleet.beat("orin", ("qwen2.5:7b", "llama3.2:3b"))
    llamas, orin = await house.key(models=("llama*",)), await house.key(devices=("orin",))
    named = [(await house.http.get(path, headers=bearer(secret))).text for secret in (llamas, orin)]

    assert [True, True, False] == [name in named[0] for name in ("llama3.2:1b", "llama3.2:3b", "qwen2.5:7b")]
    assert [False, True, True] == [name in named[1] for name in ("llama3.2:1b", "llama3.2:3b", "qwen2.5:7b")]


async def test_strangers_learn_no_names_from_the_health_page(house: House) -> None:
    """What comes through a proxy may come from anywhere; a probe of this machine sees why."""
    await house.key()
    outside = (await house.http.get("/health", headers={"x-forwarded-for": "10.0.0.9"})).json()
    inside = (await house.http.get("/health")).json()

    assert ({"status": "ok"}, True) == (outside, "nano" in inside["devices"])


async def test_a_scope_that_is_lacking_is_named(house: House) -> None:
    """403, and how the key gets it."""
    secret = await house.key(scopes=(Scope.FLEET,))
    refused = await house.chat(secret)

    assert (403, "not_allowed") == (refused.status_code, refused.json()["error"]["code"])
    assert "scope chat" in refused.json()["error"]["message"]


async def test_requests_a_minute_are_counted_and_told(house: House) -> None:
    """The headers count down; the one too many gets 429, and when to come again."""
    house.fleet.forget()
    secret = await house.key(requests_per_minute=2)
    one, two, three = [await house.chat(secret) for _ in range(3)]

    told = [answer.headers["x-ratelimit-remaining-requests"] for answer in (one, two, three)]
    assert ([200, 200, 429], ["1", "0", "0"]) == ([a.status_code for a in (one, two, three)], told)
    assert 1 <= int(three.headers["retry-after"]) <= 30
    assert "rate_limit" == three.json()["error"]["code"]


EXPLAINED = {"json": {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}}


async def test_who_only_reads_uses_up_no_requests(house: House) -> None:
    """A page logs in and reads all the time, and its user has not asked yet; who may ask no more can look why. Where a question
    would go is no device's work, so it is a reading, too."""
    house.fleet.forget()
    secret = await house.key(requests_per_minute=1, scopes=(Scope.CHAT, Scope.ROUTE))
    headers = bearer(secret)
    told = [await house.http.post("/api/v1/session", json={"key": secret}) for _ in range(2)]
    house.http.cookies.clear()
    told += [
        await house.http.get(path, headers=headers) for path in ("/api/v1/session", "/api/v1/limits", "/v1/models")
    ]
    told += [await house.http.post("/api/v1/route/explain", headers=headers, **EXPLAINED)]
    async with house.http.stream("GET", "/ui/events", headers=headers) as events:
        told.append(events)
    first, second = [await house.chat(secret) for _ in range(2)]
    why = await house.http.get("/api/v1/session", headers=headers)

    assert {"1"} == {one.headers["x-ratelimit-remaining-requests"] for one in told}
    assert not [one.status_code for one in told if one.status_code not in {200, 201, 503}]
    assert [200, 429, 200] == [one.status_code for one in (first, second, why)]
    assert ["0", 1] == [why.headers["x-ratelimit-remaining-requests"], why.json()["key"]["requests_per_minute"]]


async def test_jobs_at_once_are_counted(house: House) -> None:
    """The second of one is refused while the first runs, and let in when that has ended."""
    secret, go = await house.key(parallel=1), asyncio.Event()

    async def wait(job: ScriptedJob) -> None:
        await job.ack()
        await job.stay(go)
        await job.end()

    house.fleet.forget()
    house.fleet.script = wait
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(house.chat(secret))
        await house.fleet.jobs.get()
        second = await house.chat(secret)
        go.set()
    house.fleet.forget()
    third = await house.chat(secret)

    assert (200, 429, 200) == (first.result().status_code, second.status_code, third.status_code)
    assert "rate_limit" == second.json()["error"]["code"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/jobs"])
async def test_files_are_looked_at_for_who_may_run_a_job(house: House, path: str) -> None:
    """While a key's only job runs, an image that can't be read is refused for that, at no cost; later it is for what it is."""
    secret, go = await house.key(parallel=1), asyncio.Event()
    url = "data:image/png;base64,aGk="
    image: Any = {"content": [{"type": "image_url", "image_url": {"url": url}}]}
    if path == "/api/v1/jobs":
        image = {"content": "what is it?", "images": ["aGk="]}
    asked = {"model": "auto", "messages": [{"role": "user", **image}]}

    async def wait(job: ScriptedJob) -> None:
        await job.ack()
        await job.stay(go)
        await job.end()

    house.fleet.forget()
    house.fleet.script = wait
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(house.chat(secret))
        await house.fleet.jobs.get()
        second = await house.http.post(path, json=asked, headers=bearer(secret))
        go.set()
    house.fleet.forget()
    third = await house.http.post(path, json=asked, headers=bearer(secret))

    assert ((429, "rate_limit"), (400, "unreadable_file")) == (code_of(second), code_of(third))


def code_of(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"]


def tokens(limit: int) -> dict[str, Any]:
    return {"budgets": (Limit(unit=Unit.TOKENS, limit=limit, period=Period.DAY),)}


async def reserved(house: House, key: str) -> int:
    listed = await key_client.listed(house.fleet.bus, SUBJECTS, ListKeys(which=key))
    return sum(budget.reserved for budget in listed.keys[0].budgets)


async def test_a_budget_is_reserved_and_parallel_requests_can_not_overspend_it(house: House) -> None:
    """Of eight at once as many are let in as the budget holds, by the most that each can take; the rest is told why."""
    house.fleet.forget()
    secret = await house.key(**tokens(300))
    answers = await asyncio.gather(*(house.chat(secret) for _ in range(8)))
    counted = [answer.status_code for answer in answers]
    refused = next(answer for answer in answers if answer.status_code == 429)

    assert {200, 429} == set(counted)
    assert counted.count(200) * 20 <= await reserved(house, house.made[-1]) <= 300
    assert ("quota_spent", "insufficient_quota") == (refused.json()["error"]["code"], refused.json()["error"]["type"])
    assert int(refused.headers.get("retry-after", "1")) <= 120
    assert "300" == refused.headers["x-ratelimit-limit-tokens"]


async def test_a_budget_that_is_lifted_is_told_no_longer(house: House) -> None:
    """As soon as its change is heard of."""
    house.fleet.forget()
    secret = await house.key(**tokens(100_000))
    before = await house.chat(secret)
    await key_client.change(house.fleet.bus, SUBJECTS, ChangeKey(which=house.made[-1], budgets=()))
    async with asyncio.timeout(HANG_S):
        after = await house.chat(secret)
        while "x-ratelimit-limit-tokens" in after.headers:  # the word of the change is under way
            after = await house.chat(secret)

    assert (200, 200, "100000") == (before.status_code, after.status_code, before.headers["x-ratelimit-limit-tokens"])


async def test_what_a_budget_has_left_is_told_as_it_is(house: House) -> None:
    """By usage and session, though the key was asked for a moment before its job set something aside: the ledger's own figures."""
    house.fleet.forget()
    secret = await house.key(**tokens(100_000))
    await house.http.get("/v1/models", headers=bearer(secret))  # so the bridge remembers the key
    await house.chat(secret)
    after_s = time.time()

    async def told(path: str) -> Any:
        """Ask until the figures are of now: a ledger that takes too long is not waited for, and its older word has its time."""
        async with asyncio.timeout(HANG_S):
            while True:
                found = (await house.http.get(path, headers=bearer(secret))).json()
                if found["as_of_unix_s"] >= after_s:
                    return found

    used, session = await told("/api/v1/usage"), await told("/api/v1/session")
    there = await reserved(house, house.made[-1])

    assert there > 0
    assert [there, there] == [one["reserved"] for one in (used["budgets"][0], session["key"]["budgets"][0])]


async def test_an_administrator_sees_what_is_used_of_each_budget(house: House) -> None:
    """In the list of all keys, as its owner does: what is spent, what is set aside, of how much, and when it begins anew."""
    house.fleet.forget()
    secret, which = await house.key(**tokens(100_000)), house.made[-1]
    admin = await house.key(scopes=(Scope.ADMIN,))
    before_s = time.time()
    await house.chat(secret)
    listed = await house.http.get("/api/v1/keys", params={"which": which}, headers=bearer(admin))
    there = await reserved(house, which)
    (budget,) = listed.json()["keys"][0]["budgets"]

    assert there > 0
    assert (0, there, 100_000) == (budget["spent"], budget["reserved"], budget["limit"])
    assert before_s < budget["resets_unix_s"] <= time.time() + 86_400


async def test_who_names_no_bound_is_answered_from_a_small_budget(house: House) -> None:
    """Where 4,096 tokens are never left: the job is bounded by what there is, and nothing more is set aside; under an id of its
    client's own it is refused, with what to name."""
    house.fleet.forget()
    secret = await house.key(**tokens(500))
    asked = {"model": "auto", "messages": CHAT["messages"]}
    chosen = await house.http.post(
        "/v1/chat/completions", json=asked, headers={**bearer(secret), "idempotency-key": "mine"}
    )
    answered = await house.http.post("/v1/chat/completions", json=asked, headers=bearer(secret))
    job = await house.fleet.jobs.get()

    assert (429, "name a smaller max_tokens" in chosen.text) == (chosen.status_code, True)
    assert (200, 500) == (answered.status_code, await reserved(house, house.made[-1]))
    assert 64 <= job.request["options"]["max_tokens"] < 500


async def test_an_unbounded_answer_is_bounded_by_what_was_reserved(house: House) -> None:
    """The job itself can't write more than is set aside for it."""
    house.fleet.forget()
    secret = await house.key(**tokens(100_000))
    await house.http.post(
        "/v1/chat/completions", json={"model": "auto", "messages": CHAT["messages"]}, headers=bearer(secret)
    )
    job = await house.fleet.jobs.get()

    assert 0 < job.request["options"]["max_tokens"] <= await reserved(house, house.made[-1])


async def test_a_key_that_ends_ends_at_once(house: House) -> None:
    """Not only when the bridge has forgotten it; a change of its scopes as well."""
    secret = await house.key()
    assert 200 == (await house.chat(secret)).status_code
    await key_client.change(house.fleet.bus, SUBJECTS, ChangeKey(which=house.made[-1], scopes=(Scope.ROUTE,)))
    await becomes(403, lambda: house.chat(secret))
    await key_client.revoke(house.fleet.bus, SUBJECTS, house.made[-1])

    assert 401 == (await becomes(401, lambda: house.chat(secret))).status_code


async def answered(house: House, secret: str, *, stream: bool, api: str = "/v1/chat/completions") -> tuple[int, str]:
    """Ask, and give the status and all that comes."""
    asked = {**CHAT, "stream": stream}
    async with house.http.stream("POST", api, json=asked, headers=bearer(secret)) as answer:
        return answer.status_code, (await answer.aread()).decode()


async def test_what_runs_for_a_key_ends_with_it(house: House) -> None:
    """Streams say so in their own form, what has not begun gets a status, and the jobs are cancelled. Another key of the same
    user goes on, though it has changed meanwhile."""
    house.fleet.forget()
    go_on = asyncio.Event()

    async def speak(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.token("So")
        async with asyncio.timeout(HANG_S):
            await job.stay(go_on if job.id.startswith("stays") else job.cancelled, "decode")
        await job.end()

    house.fleet.script = speak
    other = await house.key(tenant="acme", user="ann")
    stays = house.made[-1]
    secret = await house.key(tenant="acme", user="ann")
    named = bearer(other) | {"x-drover-job": "stays"}
    async with asyncio.TaskGroup() as tasks:
        kept = tasks.create_task(house.http.post("/v1/chat/completions", json={**CHAT, "stream": True}, headers=named))
        ended = [
            tasks.create_task(answered(house, secret, stream=True)),
            tasks.create_task(answered(house, secret, stream=True, api="/v1/messages")),
            tasks.create_task(answered(house, secret, stream=False)),
        ]
        async with asyncio.timeout(HANG_S):
            jobs = [(await house.fleet.jobs.get()).id for _ in range(4)]
        await key_client.change(house.fleet.bus, SUBJECTS, ChangeKey(which=stays, requests_per_minute=600))
        await key_client.revoke(house.fleet.bus, SUBJECTS, house.made[-1])
        async with asyncio.timeout(HANG_S):
            (_, chat), (_, message), (status, whole) = [await one for one in ended]
            cancelled = {await house.fleet.cancels.get() for _ in ended}
        go_on.set()
        async with asyncio.timeout(HANG_S):
            said = (await kept).text
    house.fleet.forget()

    assert {job for job in jobs if not job.startswith("stays")} == cancelled
    assert ("unauthorized" in chat, chat.endswith("data: [DONE]\n\n")) == (True, True)
    assert ("event: error" in message, "authentication_error" in message) == (True, True)
    assert (401, True) == (status, "no longer good" in whole)
    assert ("error" in said, "[DONE]" in said) == (False, True)


async def test_what_runs_for_a_browser_ends_with_its_key(house: House) -> None:
    """A session hangs on the key that it was given for."""
    house.fleet.forget()

    async def speak(job: ScriptedJob) -> None:
        await job.ack()
        async with asyncio.timeout(HANG_S):
            await job.stay(job.cancelled)
        await job.end()

    house.fleet.script = speak
    secret = await house.key(user="ann")
    opened = await house.http.post("/api/v1/session", json={"key": secret})
    cookie = re.split("[=;]", opened.headers["set-cookie"])[1]
    house.http.cookies.clear()
    mine = {"cookie": f"drover={cookie}", "sec-fetch-site": "same-origin"}
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(HANG_S):
        asked = tasks.create_task(house.http.post("/v1/chat/completions", json=CHAT, headers=mine))
        job = await house.fleet.jobs.get()
        await key_client.revoke(house.fleet.bus, SUBJECTS, house.made[-1])
        ended, cancelled = await asked, await house.fleet.cancels.get()
    house.fleet.forget()

    assert (401, job.id) == (ended.status_code, cancelled)


async def test_a_browser_gets_a_session_for_its_key(house: House) -> None:
    """A cookie that scripts can't read, good for our own pages alone, and gone after the logout or with its key."""
    secret = await house.key(user="ann")
    opened = await house.http.post("/api/v1/session", json={"key": secret})
    cookie = re.split("[=;]", opened.headers["set-cookie"])[1]
    house.http.cookies.clear()
    mine = {"cookie": f"drover={cookie}"}
    who = (await house.http.get("/api/v1/session", headers=mine)).json()
    ours = await house.http.post("/v1/chat/completions", json=CHAT, headers={**mine, "sec-fetch-site": "same-origin"})
    theirs = await house.http.post("/v1/chat/completions", json=CHAT, headers={**mine, "sec-fetch-site": "cross-site"})
    await key_client.revoke(house.fleet.bus, SUBJECTS, house.made[-1])
    after = await becomes(401, lambda: house.http.get("/api/v1/session", headers=mine))

    assert (201, "ann", 200, 403, 401) == (
        opened.status_code,
        who["user"],
        ours.status_code,
        theirs.status_code,
        after.status_code,
    )
    assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in opened.headers["set-cookie"].split(";")}
    assert secret not in opened.text + str(who)


async def test_behind_tls_the_cookie_is_secure_and_bound_to_its_host(house: House) -> None:
    """The proxy's name is answered for, its page logs in and out, and no plain cookie counts; both cookies are such as browsers
    take over TLS alone."""
    secret, page = await house.key(user="ann"), "https://fleet.example.org"
    settings = {"DROVER_LEDGER": "on", "DROVER_HTTP_PUBLIC_URL": page}
    own = {"host": "fleet.example.org", "origin": page}
    async with (
        bridge_process(house.nats_url, **settings) as bridge,
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http,
    ):
        opened = await http.post("/api/v1/session", json={"key": secret}, headers=own)
        cookie = re.split("[=;]", opened.headers["set-cookie"])[1]
        http.cookies.clear()
        mine = {**own, "cookie": f"__Host-drover={cookie}"}
        who = await http.get("/api/v1/session", headers=mine)
        plain = await http.get("/api/v1/session", headers={**own, "cookie": f"drover={cookie}"})
        unsafe = await http.delete("/api/v1/session", headers={**mine, "origin": "http://fleet.example.org"})
        left = await http.delete("/api/v1/session", headers=mine)
    told = [answer.headers["set-cookie"].partition("=") for answer in (opened, left)]

    assert (201, 200, 401, 403, 204) == tuple(one.status_code for one in (opened, who, plain, unsafe, left))
    assert {("__Host-drover", True)} == {(name, value.endswith("; Secure")) for name, _, value in told}


async def test_a_session_that_is_given_up_is_over(house: House) -> None:
    """After the logout the cookie is worth nothing, wherever it was copied to; and browsers forget what a page has kept."""
    secret = await house.key()
    opened = await house.http.post("/api/v1/session", json={"key": secret})
    mine = {"cookie": f"drover={re.split('[=;]', opened.headers['set-cookie'])[1]}", "sec-fetch-site": "same-origin"}
    house.http.cookies.clear()
    assert 200 == (await house.http.get("/api/v1/session", headers=mine)).status_code
    left = await house.http.delete("/api/v1/session", headers=mine)
    after = await becomes(401, lambda: house.http.get("/api/v1/session", headers=mine))

    assert (204, 401) == (left.status_code, after.status_code)
    assert '"storage"' == left.headers["clear-site-data"]


@pytest.mark.parametrize(
    "path", ["/v1/jobs/01JD3V0R0000000000000000AB", "/v1/route/01JD3V0R0000000000000000AB", "/api/v1/session"]
)
@pytest.mark.parametrize("host", ["localhost", "localhost:80/../health?", "127.0.0.1"])
async def test_no_spelling_of_the_host_opens_a_path(house: House, path: str, host: str) -> None:
    """What is allowed hangs on the route, and not on an address that is put together from what the client says."""
    answer = await house.http.get(path, headers={"host": host})

    assert answer.status_code in {400, 401}


async def test_no_secret_is_in_what_the_bridge_says(house: House, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither in its log at DEBUG, nor in its metrics, with keys good and bad."""
    secret = await house.key()
    await house.chat(secret)
    await house.chat(secret[:-3] + "xyz")
    await house.http.post("/api/v1/session", json={"key": secret})
    await house.http.post("/api/v1/session", json={"key": secret, "more": 1})
    await house.http.post(
        "/api/v1/session", content=f'{{"key": "{secret}"'.encode(), headers={"content-type": "application/json"}
    )
    house.http.cookies.clear()
    metrics = (await house.http.get("/metrics")).text
    out, err = capfd.readouterr()

    assert secret[12:40] not in out + err + metrics


async def test_what_is_known_outlives_the_ledger(house: House, tmp_path: Path) -> None:
    """A key that was good stays so while no ledger runs; one that nobody has seen is neither let in nor called wrong."""
    secret, unseen = await house.key(), await house.key()
    # Twice: the word of both keys may come between the bridge's first question and its answer, which then is not remembered.
    assert [200, 200] == [(await house.chat(secret)).status_code for _ in range(2)]
    await house.ledger.kill()
    known, unknown = await house.chat(secret), await house.chat(unseen)

    assert (200, 503, "ledger") == (known.status_code, unknown.status_code, unknown.json()["error"]["code"])
