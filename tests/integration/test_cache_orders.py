"""What operators ask of every dispatcher's cache, over a real server with scripted dispatchers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from common import codec
from common.bus import Bus
from common.bus.nats import NatsOptions, connect_nats
from common.cache_orders import CacheOrders, entries, first_error, purged, reported
from common.discovery import ServiceInfo, discoverable
from common.errors import BadRequest, BusTimeout, CacheUnavailable, GarbledReply, NoDispatcher, UnknownJob
from common.gathering import Gathered, gather
from tests.listening import GUARD_S
from tests.nats_server import nats_server
from tests.scripted_cache import ENTRY, SILENT, SUBJECTS, Order, cache_keeper, stats

AWAY = {"error": {"code": "cache", "message": "Redis is away"}}
UNKNOWN = {"error": {"code": "unknown_job", "message": "there is no such entry"}}


@dataclass(frozen=True)
class Desk:
    """A server, and an operator on it."""

    url: str
    bus: Bus

    def orders(self, tenant: str | None = None) -> CacheOrders:
        return CacheOrders(self.bus, SUBJECTS, tenant=tenant)


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    async with (
        nats_server() as server,
        connect_nats(NatsOptions(urls=(server.url,), initial_connect_timeout_s=GUARD_S)) as bus,
    ):
        yield Desk(server.url, bus)


def names(found: Gathered) -> list[str]:
    """Give who answered, in order."""
    return sorted(str(answer.get("dispatcher")) for answer in found.answers)


async def test_everyone_is_asked_once() -> None:
    """Every dispatcher hears an order once and is heard, whether discovery finds it or not."""
    async with (
        desk() as here,
        cache_keeper(here.url, "d1", {"stats": stats("d1")}) as first,
        cache_keeper(here.url, "d2", {"stats": stats("d2")}) as second,
        cache_keeper(here.url, "d3", {"stats": stats("d3")}, found=False) as third,
    ):
        found = await here.orders().stats()

    assert (names(found), found.silent) == (["d1", "d2", "d3"], ())
    assert [*first, *second, *third] == [Order("stats", None, {})] * 3


@pytest.mark.parametrize(
    ("ask", "order"),
    [
        (lambda orders: orders.stats(), Order("stats", "alice", {})),
        (lambda orders: orders.show(limit=7), Order("show", "alice", {"limit": 7})),
        (lambda orders: orders.find("0123"), Order("show", "alice", {"id": "0123"})),
        (lambda orders: orders.purge(), Order("purge", "alice", {})),
        (lambda orders: orders.report("0123456"), Order("report", "alice", {"id": "0123456"})),
    ],
)
async def test_of_one_tenant(ask: Callable[[CacheOrders], Awaitable[Gathered]], order: Order) -> None:
    """With a tenant an order goes to that tenant's subject, with what its verb needs."""
    answer: dict[str, Any] = {"dispatcher": "d1"}
    async with (
        desk() as here,
        cache_keeper(here.url, "d1", dict.fromkeys(("stats", "show", "purge", "report"), answer)) as heard,
    ):
        await ask(here.orders("alice"))

    assert heard == [order]


async def test_who_said_nothing() -> None:
    """A dispatcher that is there and does not answer is named, and what the others said is given all the same."""
    async with (
        desk() as here,
        cache_keeper(here.url, "d1", {"stats": stats("d1")}),
        cache_keeper(here.url, "d2", {"stats": SILENT}),
    ):
        found = await gather(
            here.bus, "llm-dispatcher", SUBJECTS.cache("stats"), b"{}", named_by="dispatcher", within_s=1.0
        )

    assert (names(found), found.silent) == (["d1"], ("d2",))


async def test_nobody_answers() -> None:
    """Dispatchers that are there and say nothing are named in the error."""
    async with desk() as here, cache_keeper(here.url, "d1", {}), cache_keeper(here.url, "d2", {}):
        with pytest.raises(BusTimeout, match=r"d1, d2 did not answer within"):
            await here.orders()._asked("stats", {}, within_s=0.5)


async def test_nobody_is_there() -> None:
    """Without a dispatcher the error says how to start one, at once."""
    async with desk() as here:
        with pytest.raises(NoDispatcher, match="no dispatcher runs"):
            await here.orders().stats()


async def test_older_dispatchers() -> None:
    """Dispatchers that can be found and have no ear for a cache are told of as what they are."""
    async with desk() as here:
        info = ServiceInfo(name="llm-dispatcher", id="old", version="0.1.0")
        async with discoverable(here.bus, info, list):
            await here.bus.flush()
            with pytest.raises(NoDispatcher, match="old knows no cache"):
                await here.orders().stats()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(UNKNOWN, UNKNOWN, UnknownJob), (UNKNOWN, AWAY, CacheUnavailable), (AWAY, UNKNOWN, CacheUnavailable)],
)
async def test_all_refuse(first: dict[str, Any], second: dict[str, Any], expected: type[Exception]) -> None:
    """When nobody could do it, the error is theirs; that Redis is away says more than that an entry is unknown."""
    async with (
        desk() as here,
        cache_keeper(here.url, "d1", {"report": first}),
        cache_keeper(here.url, "d2", {"report": second}),
    ):
        with pytest.raises(expected):
            await here.orders().report("0123456")


async def test_garbled_answer() -> None:
    """An answer that can't be read is an error of its own kind, and stops nobody else's."""
    async with (
        desk() as here,
        cache_keeper(here.url, "d1", {"stats": b"\xff\x00 no object"}),
        cache_keeper(here.url, "d2", {"stats": stats("d2")}),
    ):
        found = await here.orders().stats()

    assert ([answer["dispatcher"] for answer in found.told], type(first_error(found))) == (["d2"], GarbledReply)


async def test_short_prefix() -> None:
    """A wrong answer is named by six characters at least: fewer could mean another entry."""
    async with desk() as here:
        with pytest.raises(BadRequest, match="'01234' is too short"):
            await here.orders().report("01234")


async def test_tenant_that_is_no_name() -> None:
    """A tenant that could not stand in a subject is refused before anybody is asked."""
    async with desk() as here:
        with pytest.raises(BadRequest, match=r"tenant '\*'"):
            here.orders("*")


def test_shared_entries_count_once() -> None:
    """Entries in one Redis are told once, and without an owner; those in processes are told with the process that has them."""
    told = [
        {"dispatcher": "d1", "store": "redis", "entries": [ENTRY]},
        {"dispatcher": "d2", "store": "redis", "entries": [ENTRY]},
        {"dispatcher": "d3", "store": "memory", "entries": [ENTRY]},
        {"dispatcher": "d4", "store": "memory", "entries": [ENTRY, {**ENTRY, "tenant": "bob"}]},
    ]

    assert [(one["dispatcher"], one["tenant"]) for one in entries(told)] == [
        ("", "default"),
        ("d3", "default"),
        ("d4", "default"),
        ("d4", "bob"),
    ]


def test_what_was_purged_is_added_up() -> None:
    """Those who share a store remove its entries side by side, and none is removed twice."""
    told = [
        {"store": "redis", "removed": 2},
        {"store": "redis", "removed": 7},
        {"store": "memory", "removed": 3},
        {"store": "memory", "removed": 4},
    ]

    assert 16 == purged(told)


def test_reported_ids_stand_once() -> None:
    """An entry that several dispatchers removed is told once."""
    assert ["a", "b"] == reported([{"removed": ["a", "b"]}, {"removed": ["b"]}])


def test_an_answer_without_a_name_is_still_one() -> None:
    """Errors come without the dispatcher's name: whoever sent one is not told of as silent."""
    found = Gathered(answers=(AWAY, codec.decode(b'{"dispatcher":"d2"}')))

    assert ([error.code for error in found.errors], list(found.told)) == (["cache"], [{"dispatcher": "d2"}])
