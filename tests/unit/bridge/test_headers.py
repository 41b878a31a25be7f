"""What headers of a request ask for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from common.errors import BadRequest
from common.frames import RouteNote
from common.messages import CacheWish, ChatRequest
from dispatcher.bridge.headers import CACHE_HEADER, MAX_VALUE, STRATEGY_HEADER, cache_text, route_headers
from dispatcher.bridge.wishes import cache, cache_control, strategy, wished


@pytest.mark.parametrize(
    ("text", "meant"),
    [("Hybrid", "hybrid"), (" WEIGHTED:Coding ", "weighted:Coding"), ("energy:eco", "energy:eco"), ("", None)],
)
def test_a_variant_keeps_its_letters(text: str, meant: str | None) -> None:
    """Names of strategies are ours, and what stands behind the colon may be a workload of the owner's."""
    assert meant == strategy({STRATEGY_HEADER: text})


def test_without_the_header_nothing_is_asked() -> None:
    """The tenant's strategy holds."""
    assert strategy({}) is None


HIT: dict[str, Any] = {
    "outcome": "hit",
    "kind": "semantic",
    "id": "0123456789abcdef",
    "similarity": 0.97345,
    "age_s": 34.2,
    "source": {"job": "j1", "device": "pi5-1", "model": "llama3.2:3b"},
}


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("no-store", CacheWish.OFF),
        ("NO-STORE", CacheWish.OFF),
        ("no-cache", CacheWish.REFRESH),
        ("max-age=0", CacheWish.REFRESH),
        ("Max-Age = 00", CacheWish.REFRESH),
        ('max-age="0"', CacheWish.REFRESH),
        ("no-cache, no-store", CacheWish.OFF),
        ("max-age=0,,no-store ,", CacheWish.OFF),
        ('no-cache="x, y"', CacheWish.REFRESH),
        ("", None),
        (",", None),
        ("max-age=60", None),
        ("max-age=", None),
        ("max-age=-0", None),
        ("no-transform, only-if-cached, max-stale", None),
        ("no-stores, xno-cache", None),
        ('say="no-store, no-cache"', None),
        (r'say="a \", no-store", max-age=0', CacheWish.REFRESH),
    ],
)
def test_cache_control(value: str, meant: CacheWish | None) -> None:
    """Three directives count, whatever their case and company; what stands in quotes is no directive, the rest is ignored."""
    assert meant is cache_control({"cache-control": value})


def test_cache_control_in_several_lines() -> None:
    """HTTP lets a list stand in several headers."""
    lines = Headers(raw=[(b"cache-control", b"max-age=0"), (b"cache-control", b"no-store")])

    assert cache_control(lines) is CacheWish.OFF


@given(st.text(max_size=300))
def test_any_cache_control_is_read(value: str) -> None:
    """No text is an error: what can't be read says nothing."""
    assert cache_control({"cache-control": value}) in {None, CacheWish.OFF, CacheWish.REFRESH}


@pytest.mark.parametrize(
    ("body", "header", "control", "meant"),
    [
        (None, None, None, None),
        ("semantic", None, None, "semantic"),
        (None, "Exact ", None, "exact"),
        ("exact", "exact", None, "exact"),
        ("semantic", None, "no-cache", "refresh"),
        (None, "exact", "no-store", "off"),
        ("off", None, "no-cache", "off"),
        ("refresh", None, "no-store", "off"),
        ("off", None, "max-age=60", "off"),
        (None, None, "max-age=0", "refresh"),
    ],
)
def test_cache_control_is_a_veto(body: str | None, header: str | None, control: str | None, meant: str | None) -> None:
    """What the body or the header asks for holds, and Cache-Control can only forbid more."""
    chat = ChatRequest(prompt="hi", cache=None if body is None else CacheWish(body))
    headers = {name: value for name, value in ((CACHE_HEADER, header), ("cache-control", control)) if value is not None}

    assert meant == wished(chat, headers).cache


@pytest.mark.parametrize("value", ["", "on", "true", "no-store", "off, exact", "x" * 9000])
def test_a_wish_that_there_is_not(value: str) -> None:
    """The error names the four, and quotes little."""
    with pytest.raises(BadRequest, match="send one of off, refresh, exact, semantic") as caught:
        cache({CACHE_HEADER: value})

    assert (caught.value.details["param"], len(caught.value.message) < 150) == (CACHE_HEADER, True)


def test_header_and_body_must_not_want_two_things_of_the_cache() -> None:
    """Neither wins in silence."""
    with pytest.raises(BadRequest, match=f"{CACHE_HEADER} says exact, and the body's cache off"):
        wished(ChatRequest(prompt="hi", cache=CacheWish.OFF), {CACHE_HEADER: "exact"})


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (HIT, "hit; kind=semantic; similarity=0.9735; age=34; source=pi5-1; id=0123456789abcdef"),
        (
            {**HIT, "kind": "exact", "similarity": 1.0, "age_s": 0},
            "hit; kind=exact; similarity=1; age=0; source=pi5-1; id=0123456789abcdef",
        ),
        ({"outcome": "hit"}, "hit"),
        (
            {"outcome": "hit", "kind": 5, "similarity": "x", "age_s": None, "source": "me", "id": "a\r\nb;c"},
            "hit; id=a__b_c",
        ),
        ({"outcome": "miss", "why": "no such request was answered"}, 'miss; why="no such request was answered"'),
        ({"outcome": "refused", "why": 'it says "now"\r\nX-Evil: 1'}, "refused; why=\"it says 'now' X-Evil: 1\""),
        ({"outcome": "bypass"}, "bypass"),
        ({}, "unknown"),
    ],
)
def test_what_the_cache_did_fits_a_header(told: dict[str, Any], text: str) -> None:
    """A hit says what it is from, all else why there was none; what is no fact is left out."""
    assert text == cache_text(told)


_JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=3)


@given(
    st.sampled_from(["hit", "miss", "x y"]),
    st.dictionaries(st.sampled_from(["kind", "similarity", "age_s", "source", "id", "why"]), _JSON),
)
def test_whatever_the_cache_says_fits_a_header(outcome: str, told: dict[str, Any]) -> None:
    """A header is printable ASCII in one line, and bounded."""
    text = cache_text({"outcome": outcome, **told})

    assert (text.isascii() and text.isprintable(), len(text) <= MAX_VALUE) == (True, True)


def test_the_account_says_more_than_the_note() -> None:
    """Without an account the note's word on the cache stands in the header, and else the account's."""
    note = RouteNote("j", "cache", "m", "exact", 1, {"outcome": "hit"})
    told = [dict(route_headers("j", note, cache=one))[b"x-drover-cache"] for one in (None, {"outcome": "miss"})]

    assert told == [b"hit", b"miss"]


def test_without_a_word_on_the_cache_there_is_no_header() -> None:
    """A tenant whose cache is off is told nothing of one."""
    assert b"x-drover-cache" not in dict(route_headers("j", RouteNote("j", "nano", "m", "fits", 1)))
