"""What the gate decides by itself: which key a request shows, how much a key may still ask, and what a job is worth at most."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from common.errors import ConfigError, NotAllowed, TooMany, Unauthorized
from common.keys import Budget, Grant, Period, Scope, Unit, new_id, new_secret, parse
from common.messages import ChatRequest, Heartbeat, ModelInfo, Options
from common.settings import load
from dispatcher.bridge.callers import Caller, granted, on_behalf
from dispatcher.bridge.gate import limiter as module
from dispatcher.bridge.gate.credentials import Site, require_own_page, shown
from dispatcher.bridge.gate.limiter import OF_NOW_S, Limiter, Standing
from dispatcher.bridge.gate.telling import _headers
from dispatcher.bridge.gate.worth import LEAST_ANSWER_TOKENS, MOST_ANSWER_TOKENS, has_free, worth
from dispatcher.bridge.origins import same_origin
from dispatcher.fleet import Device, Fleet
from dispatcher.settings import BridgeSettings

KEY, OTHER = new_secret(new_id()), new_secret(new_id())
SESSION = new_secret(new_id(), session=True)
GRANT = Grant(key="k1234567", name="alice", tenant="acme", user="u1")
LOCAL = ModelInfo(name="llama3.2:1b")
PAID = ModelInfo(name="gpt-4o:latest", input_usd_per_mtok=2.5, output_usd_per_mtok=10.0)
HI = ChatRequest(prompt="hi", job="j1")
PUBLIC = "https://fleet.example.org"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {KEY} "},
        {"x-api-key": KEY},
        {"api-key": KEY},
        {"authorization": f"Bearer {KEY}", "x-api-key": KEY},
        {"authorization": f"Bearer {KEY}", "cookie": f"drover={SESSION}"},
    ],
)
def test_every_spelling_of_a_key_is_one_key(headers: dict[str, str]) -> None:
    """OpenAI's, Anthropic's and Azure's clients put it in headers of their own; a key counts before a cookie."""
    found = shown(headers)

    assert found is not None
    assert (parse(KEY), False) == (found.presented, found.by_browser)


@pytest.mark.parametrize(
    ("public", "name", "other"),
    [("", "drover", "__Host-drover"), ("http://fleet", "drover", "__Host-drover"), (PUBLIC, "__Host-drover", "drover")],
)
def test_a_session_comes_in_a_cookie(public: str, name: str, other: str) -> None:
    """And it is known that no page has asked for that. Where pages come over TLS, only the one that nobody else can set counts."""
    found = shown({"cookie": f"a=b; {name}={SESSION}; {other}=x; c=d"}, Site(public))
    foreign = shown({"cookie": f"{other}={SESSION}"}, Site(public))

    assert found is not None
    assert (parse(SESSION), True, None) == (found.presented, found.by_browser, foreign)


@pytest.mark.parametrize(
    "cookies",
    [
        'prefs={{"a":1}}; {ours}',
        "flag; {ours}",
        "name=J\xfcrgen; {ours}",
        "a[b]=c, d; =; ;; {ours}; =x",
        "long=" + "x" * 9000 + "; {ours}",
        "{ours}; {ours}",
        '{ours}; drover=""; my-drover=x; Drover=y',
    ],
)
def test_the_neighbours_cookies_may_be_odd(cookies: str) -> None:
    """All ports of a host share them: another server's are no reason to be logged out here."""
    found = shown({"cookie": cookies.format(ours=f"drover={SESSION}")})

    assert found is not None
    assert parse(SESSION) == found.presented


@pytest.mark.parametrize(
    "cookies", [[f"drover={SESSION}; drover={OTHER}"], [f"drover={SESSION}", f"drover={OTHER}"], ["drover=x; drover=y"]]
)
def test_two_sessions_are_none(cookies: list[str]) -> None:
    """A neighbour may have set one of them, for some path: which is whose nobody can say."""
    with pytest.raises(Unauthorized, match="two cookies are called drover") as refused:
        shown(Headers(raw=[(b"cookie", one.encode()) for one in cookies]))

    assert not any(one in refused.value.message for one in (SESSION, OTHER))


@pytest.mark.parametrize("headers", [{}, {"cookie": "a=b"}, {"authorization": ""}, {"x-api-key": " "}])
def test_nothing_shown_is_nothing(headers: dict[str, str]) -> None:
    """Whether that is enough is for the gate to say."""
    assert shown(headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer unused"},
        {"authorization": f"Basic {KEY}"},
        {"x-api-key": KEY, "authorization": f"Bearer {OTHER}"},
        {"x-api-key": KEY + "x"},
        {"x-api-key": "' OR 1=1 --"},
        {"x-api-key": "dr_" + "x" * 100_000},
        {"cookie": "drover=x"},
    ],
)
def test_what_can_be_no_key_is_refused_and_not_quoted(headers: dict[str, str]) -> None:
    """It may be nearly a key, or another one's."""
    with pytest.raises(Unauthorized) as refused:
        shown(headers)

    assert not any(value and value in refused.value.message for value in headers.values())


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "api-key"])
@pytest.mark.parametrize("same", [True, False])
def test_a_header_that_comes_twice_says_one_thing(name: str, *, same: bool) -> None:
    """Two lines with the same key are one key; of two keys neither is taken, nor told."""
    begin = b"Bearer " if name == "authorization" else b""
    lines = [(name.encode(), begin + key.encode()) for key in (KEY, KEY if same else OTHER)]
    if same:
        found = shown(Headers(raw=lines))

        assert found is not None
        assert parse(KEY) == found.presented
        return
    with pytest.raises(Unauthorized, match="two headers hold different keys: send one"):
        shown(Headers(raw=lines))


@pytest.mark.parametrize(
    ("method", "headers", "allowed"),
    [
        ("GET", {"sec-fetch-site": "cross-site"}, True),
        ("POST", {"sec-fetch-site": "same-origin"}, True),
        ("POST", {"sec-fetch-site": "none"}, True),
        ("POST", {"sec-fetch-site": "same-site"}, False),
        ("POST", {"sec-fetch-site": "cross-site", "origin": "http://a", "host": "a"}, False),
        ("DELETE", {"origin": "http://fleet:8080", "host": "fleet:8080"}, True),
        ("POST", {"origin": "http://evil", "host": "fleet"}, False),
        ("POST", {}, False),
    ],
)
def test_a_cookie_counts_for_our_own_pages(method: str, headers: dict[str, str], allowed: bool) -> None:
    """A browser sends it along with what any page asks; only reading is harmless."""
    if allowed:
        require_own_page(method, headers)
        return
    with pytest.raises(NotAllowed, match="the bridge's own pages"):
        require_own_page(method, headers)


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("http://fleet:8080", "fleet:8080", True),
        ("https://fleet", "fleet", True),
        ("https://fleet", "fleet:443", True),
        ("http://FLEET", "fleet:80", True),
        ("http://fleet", "fleet:8080", False),
        ("http://fleet.evil", "fleet", False),
        ("null", "fleet", False),
        ("file://", "", False),
        ("http://[::1", "[::1", False),
        ("vscode-webview://x", "x", False),
    ],
)
def test_an_origin_is_compared_with_the_host(origin: str, host: str, expected: bool) -> None:
    """Whatever the scheme, since a proxy may take TLS off; an address that is none is nobody's."""
    assert expected is same_origin(origin, host)


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        (PUBLIC, "fleet.example.org", True),
        ("HTTPS://Fleet.example.org", "127.0.0.1:8080", True),
        ("http://fleet.example.org", "fleet.example.org", False),
        ("http://fleet.example.org", "FLEET.example.org:443", False),
        ("https://evil.example.org", "fleet.example.org", False),
        ("https://fleet.example.org.evil", "127.0.0.1:8080", False),
        ("https://fleet.example.org:444", "fleet.example.org", False),
        ("http://localhost:8080", "localhost:8080", True),
    ],
)
def test_the_public_origin_is_ours_and_nothing_else_under_its_name(origin: str, host: str, expected: bool) -> None:
    """Whatever host a proxy asks for; a page under the same name without TLS may have been changed on its way. Both doors agree."""
    headers = {"origin": origin, "host": host}
    try:
        require_own_page("POST", headers, Site(PUBLIC))
        own = True
    except NotAllowed:
        own = False

    assert (expected, expected) == (same_origin(origin, host, PUBLIC), own)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("", ""),
        ("https://Fleet.Example.org/", "https://fleet.example.org"),
        ("https://fleet:443", "https://fleet"),
        ("http://fleet:443", "http://fleet:443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://fleet/path", None),
        ("fleet.example.org", None),
        ("https://a@fleet", None),
        ("https://fleet?x", None),
        ("ftp://fleet", None),
        ("https://", None),
    ],
)
def test_a_public_url_is_an_origin(monkeypatch: pytest.MonkeyPatch, given: str, written: str | None) -> None:
    """Written as browsers write theirs; what is more than that is refused when the bridge starts, by its name."""
    monkeypatch.setenv("DROVER_HTTP_PUBLIC_URL", given)
    if written is None:
        with pytest.raises(ConfigError, match="DROVER_HTTP_PUBLIC_URL"):
            load(BridgeSettings)
        return

    assert written == load(BridgeSettings).bridge.public_url


def test_a_minute_s_worth_may_come_at_once_and_then_evenly() -> None:
    """Six a minute: six now, and one more each ten seconds; the error says when."""
    limiter, grant = Limiter(), replace(GRANT, requests_per_minute=6)
    for _ in range(6):
        limiter.ask(grant, 0.0)
    with pytest.raises(TooMany) as early:
        limiter.ask(grant, 4.0)
    limiter.ask(grant, 10.1)

    assert early.value.retry_after_s == pytest.approx(6.0)
    with pytest.raises(TooMany):
        limiter.ask(grant, 10.2)


def test_who_has_no_limit_is_not_counted() -> None:
    """Nothing is told of it, either."""
    limiter = Limiter()
    for _ in range(1000):
        limiter.ask(GRANT, 0.0)
        limiter.come(GRANT, 0.0)

    assert limiter.requests(GRANT, 0.0) is None


@pytest.mark.parametrize(("may_ask", "may_come"), [(3, 600), (60, 600), (100, 1000)])
def test_coming_uses_up_nothing_of_asking(may_ask: int, may_come: int) -> None:
    """And has a bound of its own, far enough for who only looks; who may not come may come again soon."""
    limiter, grant = Limiter(), replace(GRANT, requests_per_minute=may_ask)
    for _ in range(may_come):
        limiter.come(grant, 0.0)
    with pytest.raises(
        TooMany, match=f"may send {may_come} requests a minute, also of those that only read"
    ) as flooded:
        limiter.come(grant, 0.0)

    assert Standing(limit=may_ask, remaining=may_ask, reset_s=0.0) == limiter.requests(grant, 0.0)
    assert flooded.value.retry_after_s == pytest.approx(60.0 / may_come)


def test_asking_uses_up_nothing_of_coming() -> None:
    """Whoever may ask no more can look why."""
    limiter, grant = Limiter(), replace(GRANT, requests_per_minute=1)
    limiter.ask(grant, 0.0)
    with pytest.raises(TooMany, match="may ask 1 times a minute: wait 60 s, or have its limit raised"):
        limiter.ask(grant, 0.0)

    for _ in range(600):
        limiter.come(grant, 0.0)


@settings(max_examples=60)
@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 20))
def test_never_more_than_the_limit_beyond_the_first_minute_s_worth(steps: list[float], limit: int) -> None:
    """In any span there pass at most one full bucket and what has flowed in meanwhile."""
    limiter, grant, now_s, passed = Limiter(), replace(GRANT, requests_per_minute=limit), 0.0, 0
    waits_s = []
    for step_s in steps:
        now_s += step_s
        try:
            limiter.ask(grant, now_s)
            passed += 1
        except TooMany as error:
            waits_s.append(error.retry_after_s or 0.0)

    assert all(0 < wait_s <= 60 / limit + 1e-9 for wait_s in waits_s)
    assert passed <= limit + now_s * limit / 60 + 1e-6


def test_jobs_at_once_are_counted_while_they_run() -> None:
    """The third of two is refused, and one that has ended makes room, however it ended."""
    limiter, grant = Limiter(), replace(GRANT, parallel=2)

    def fail() -> None:
        with limiter.running(grant), limiter.running(grant):
            raise ValueError("its own")

    def third() -> None:
        with limiter.running(grant), limiter.running(grant), limiter.running(grant):
            pass

    with pytest.raises(ValueError, match="its own"):
        fail()
    with pytest.raises(TooMany, match="has 2 jobs at once"):
        third()
    with limiter.running(grant), limiter.running(grant):
        pass


def test_jobs_that_are_not_limited_take_no_place_of_those_that_are() -> None:
    """A summary that the bridge asks for is such a one, and may wait for minutes."""
    limiter, grant = Limiter(), replace(GRANT, parallel=1)
    with (
        limiter.running(replace(grant, parallel=None)),
        limiter.running(grant),
        pytest.raises(TooMany),
        limiter.running(grant),
    ):
        pytest.fail("one too many")


def test_streams_of_jobs_are_counted_while_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """By key, however few jobs it may have at once; one that has ended makes room."""
    monkeypatch.setattr(module, "MOST_FOLLOWED", 2)
    limiter, other = Limiter(), replace(GRANT, key="k7654321")
    for _ in range(2):
        with (
            limiter.following(GRANT),
            limiter.following(GRANT),
            limiter.following(other),
            pytest.raises(TooMany, match="follows 2 jobs at once"),
            limiter.following(GRANT),
        ):
            pytest.fail("one too many")


def test_the_budget_with_the_fewest_tokens_left_is_told() -> None:
    """By what the ledger said last."""
    limiter = Limiter()
    day = Budget(unit=Unit.TOKENS, limit=1000, spent=100, reserved=50, resets_unix_s=160.0)
    month = Budget(unit=Unit.TOKENS, limit=900, period=Period.MONTH)
    said = (replace(day, period=Period.DAY), month, Budget(unit=Unit.MONEY, limit=1))
    limiter.note("k1234567", said, 50.0)
    grant = replace(GRANT, budgets=tuple(replace(one, spent=0, reserved=0) for one in said))
    told = limiter.tokens(grant, 40.0, 51.0, 100.0)

    assert told is not None
    assert (1000, 850, 60.0) == (told.limit, told.remaining, told.reset_s)


def test_a_budget_that_was_taken_away_is_told_no_longer() -> None:
    """Nor the old one where it was changed: then the key's own word counts until the next job."""
    limiter = Limiter()
    limiter.note("k1234567", (Budget(unit=Unit.TOKENS, limit=1000, spent=100),), 0.0)
    raised = limiter.tokens(replace(GRANT, budgets=(Budget(unit=Unit.TOKENS, limit=5000, spent=90),)), 0.0, 0.0, 0.0)

    assert limiter.tokens(GRANT, 0.0, 0.0, 0.0) is None
    assert raised is not None
    assert (5000, 4910) == (raised.limit, raised.remaining)


@pytest.mark.parametrize(
    ("granted_s", "noted_s", "now_s", "remaining"),
    [
        (0.0, 3.0, 4.0, 600),  # what a job was let in with
        (3.0, 0.0, 4.0, 900),  # what the ledger said of the key since
        (0.0, 3.0, 3.1 + OF_NOW_S, None),
        (0.0, -1.0, 0.1 + OF_NOW_S, None),
    ],
)
def test_what_is_left_is_told_while_it_is_of_now(
    granted_s: float, noted_s: float, now_s: float, remaining: int | None
) -> None:
    """The newest word counts; of an old one only the limit is told, and when that begins anew, which time does not change."""
    limiter, budget = Limiter(), Budget(unit=Unit.TOKENS, limit=1000, spent=100, resets_unix_s=60.0)
    limiter.note("k1234567", (replace(budget, spent=400),), noted_s)
    told = limiter.tokens(replace(GRANT, budgets=(budget,)), granted_s, now_s, 50.0)

    assert told is not None
    assert (1000, remaining, 10.0) == (told.limit, told.remaining, told.reset_s)


def test_what_is_not_known_is_no_header() -> None:
    """A remaining number that nobody has said lately is left out, rather than made up."""
    told = dict(_headers({"tokens": Standing(limit=1000, remaining=None, reset_s=60.0)}))

    assert {b"x-ratelimit-limit-tokens": b"1000", b"x-ratelimit-reset-tokens": b"1m0s"} == told


def fleet(nano: ModelInfo | None = None, cloud: ModelInfo | None = None) -> Fleet:
    """Give one of two devices, with a model each."""
    there = {name: info for name, info in (("nano", nano), ("cloud", cloud)) if info is not None}
    beats = {name: Heartbeat(device=name, boot="b1", seq=1, remote=name == "cloud") for name in there}
    return Fleet({name: Device(beats[name], {info.name: info}) for name, info in there.items()})


def budgeted(*units: Unit, **fields: Any) -> Grant:
    return replace(GRANT, budgets=tuple(Budget(unit=unit, limit=10**9) for unit in units), **fields)


def test_an_answer_without_a_bound_gets_one_where_there_is_a_budget() -> None:
    """Prompt and answer are set aside, and the job can't write more than that."""
    bounded = worth(HI, budgeted(Unit.TOKENS), fleet(LOCAL))
    free = worth(HI, GRANT, fleet(LOCAL))

    assert (MOST_ANSWER_TOKENS, None) == (bounded.request.options.max_tokens, free.request.options.max_tokens)
    assert MOST_ANSWER_TOKENS < bounded.reservation.tokens < MOST_ANSWER_TOKENS + 100


@pytest.mark.parametrize(("fewer", "answer"), [(0, MOST_ANSWER_TOKENS), (1000, MOST_ANSWER_TOKENS - 1000)])
def test_an_answer_keeps_to_what_was_set_aside(fewer: int, answer: int) -> None:
    """A budget that has less left than is wanted bounds it further, if its client has named no bound, and no id under which
    it might ask the same again."""
    once = replace(HI, resends=0)
    wanted, chosen = (worth(chat, budgeted(Unit.TOKENS), fleet(LOCAL)) for chat in (once, HI))
    named = worth(replace(once, options=Options(max_tokens=1000)), budgeted(Unit.TOKENS), fleet(LOCAL))
    least = wanted.reservation.tokens - MOST_ANSWER_TOKENS + LEAST_ANSWER_TOKENS

    assert [least, None, None] == [one.reservation.least_tokens for one in (wanted, named, chosen)]
    assert answer == wanted.within(wanted.reservation.tokens - fewer).options.max_tokens
    assert wanted.request == wanted.within(None)


@pytest.mark.parametrize(
    ("changes", "low", "high"),
    [
        ({}, 10_000, 10_500),
        ({"model": "gpt-4o"}, 10_000, 10_500),
        ({"model": "llama3.2:1b"}, 0, 0),
        ({"model": "auto:local"}, 0, 0),
        ({"max_cost_usd": 5e-6}, 5, 5),
        ({"allow_models": ("llama*",)}, 0, 0),
        ({"allow_devices": ("nano*",)}, 0, 0),
        ({"device": "nano"}, 0, 0),
        ({"model": "auto@nano"}, 0, 0),
        ({"model": "auto@cloud"}, 10_000, 10_500),
    ],
)
def test_money_is_set_aside_for_the_dearest_model_that_may_answer(changes: dict[str, Any], low: int, high: int) -> None:
    """On a device that may: what is not asked for, or lies outside of what the key is for, costs nothing."""
    asked = replace(HI, options=Options(max_tokens=1000), **changes)
    most = worth(asked, budgeted(Unit.MONEY), fleet(LOCAL, cloud=PAID))

    assert low <= most.reservation.micro_usd <= high
    assert most.request.max_cost_usd == pytest.approx(most.reservation.micro_usd / 1e6, abs=1e-6)


def test_without_money_only_what_is_free_may_answer() -> None:
    """Where there is such a model."""
    most = worth(HI, budgeted(Unit.MONEY), fleet(LOCAL, cloud=PAID)).unpaid()

    assert (0.0, 0) == (most.request.max_cost_usd, most.reservation.micro_usd)
    assert (True, False) == (has_free(HI, fleet(LOCAL, cloud=PAID)), has_free(HI, fleet(cloud=PAID)))


def test_scopes_are_what_a_caller_may() -> None:
    """An administrator may all; whoever needs no key as well."""
    chat, admin = granted(GRANT), granted(replace(GRANT, scopes=(Scope.ADMIN,)))

    assert (True, False) == (chat.may(Scope.CHAT), chat.may(Scope.FLEET))
    assert all(caller.may(scope) for caller in (admin, Caller(tenant="t")) for scope in Scope)


def test_on_whose_behalf_a_job_is_stays_inside_its_key() -> None:
    """Two keys of one tenant that name the same user are two users; without keys the name stays as it is."""
    one, other = granted(GRANT), granted(replace(GRANT, user="u2"))
    asked = replace(HI, user="bob")

    assert "bob" == on_behalf(Caller(tenant="t"), asked).user
    assert ("u1", "u1/bob", "u2/bob") == (
        on_behalf(one, HI).user,
        on_behalf(one, asked).user,
        on_behalf(other, asked).user,
    )
    assert len(str(on_behalf(one, replace(HI, user="x" * 256)).user)) <= 256
