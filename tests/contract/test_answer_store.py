"""What `AnswerStore` promises, held against the store in memory and the one in a real redis-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeAlias

import pytest

from dispatcher.cache.protocols import AnswerStore
from dispatcher.cache.redis_client import RedisClient, redis_client
from dispatcher.cache.store import MemoryAnswers
from dispatcher.cache.store.packing import OVERHEAD_BYTES, Bounds, pack
from dispatcher.cache.store.redis import RedisAnswers
from dispatcher.cache.values import Entry
from tests.answers import HandClock, entry, key, settings
from tests.redis_server import needs_redis, redis_server

GUARD_S = 30.0
DAY_S = 86_400.0
Make: TypeAlias = Callable[..., MemoryAnswers | RedisAnswers]
"""Makes a store with these settings; all that one test makes share what they keep, if that is their way."""


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
async def make(request: pytest.FixtureRequest, clock: HandClock) -> AsyncIterator[Make]:
    if request.param == "memory":
        yield lambda **values: MemoryAnswers(settings(**values), clock)
        return
    async with _redis() as client:
        yield lambda **values: RedisAnswers(client, settings(**values), clock)


@asynccontextmanager
async def _redis() -> AsyncIterator[RedisClient]:
    async with redis_server() as server, redis_client(server.url) as client:
        yield client


def size_bytes(one: Entry) -> int:
    """Give what an entry takes."""
    packed = pack(one, Bounds(answer_bytes=1 << 20))
    assert packed is not None
    return len(packed) + OVERHEAD_BYTES


async def kept(store: AnswerStore, *words: str, tenant: str = "alice") -> list[str]:
    """Give those of some words whose entries are there."""
    entries = await store.get(tenant, [key(word) for word in words])
    return [word for word, one in zip(words, entries, strict=True) if one is not None]


async def test_what_was_put_is_given_whole(make: Make) -> None:
    """An entry comes back as it was put: letters of all kinds, a long text, and the receipt."""
    store = make()
    one = entry(text="Größe 🦆\0" * 5000, scope=key("scope"))
    one = replace(one, receipt=replace(one.receipt, energy_j=1.5, cost_usd=0.25, simulated=True, digest="sha256:ab"))

    await store.put(one)

    assert [one] == await store.get("alice", [one.place.exact])


async def test_entries_come_in_the_order_that_was_asked_for(make: Make) -> None:
    """Each key has its place among the answers, also one that is not there, and one that is asked for twice."""
    store = make()
    await store.put(entry("one"))
    await store.put(entry("two"))

    found = await store.get("alice", [key("two"), key("none"), key("one"), key("two")])

    assert [entry("two"), None, entry("one"), entry("two")] == found


async def test_nothing_is_found_among_no_keys(make: Make) -> None:
    """To ask for nothing is allowed."""
    assert [] == await make().get("alice", [])


async def test_a_second_entry_takes_the_first_ones_place(make: Make) -> None:
    """Under one key there is one entry, the last, and the other's bytes are given back."""
    store = make()
    await store.put(entry(text="x" * 900))
    await store.put(entry(text="Blue."))

    stats = await store.stats()

    assert (1, size_bytes(entry(text="Blue."))) == (stats.entries, stats.size_bytes)


async def test_a_tenant_never_gets_anothers(make: Make) -> None:
    """The same key under another tenant is another entry, however alike the names are."""
    store = make()
    await store.put(entry(tenant="alice"))
    others = ["alicf", "Alice", "alice ", "alic", "alice:", "", "*", "alice\0", "älice"]

    found = [one for other in others for one in await store.get(other, [key("one")])]

    assert [None] * len(others) == found


async def test_a_tenant_can_not_remove_anothers(make: Make) -> None:
    """Removing under another tenant removes nothing."""
    store = make()
    await store.put(entry(tenant="alice"))

    gone = await store.remove("mallory", [key("one")])

    assert (0, ["one"]) == (gone, await kept(store, "one"))


async def test_removing_tells_how_many_there_were(make: Make) -> None:
    """Only those count that were there, each once."""
    store = make()
    await store.put(entry("one"))
    await store.put(entry("two"))

    gone = await store.remove("alice", [key("one"), key("none"), key("one")])

    assert (1, ["two"]) == (gone, await kept(store, "one", "two"))


async def test_removing_nothing_removes_nothing(make: Make) -> None:
    """To remove no keys is allowed."""
    assert 0 == await make().remove("alice", [])


async def test_an_entry_expires(make: Make, clock: HandClock) -> None:
    """An entry is kept for the seconds that were set, and then it is not there."""
    store = make(ttl_s=60.0)
    await store.put(entry())
    clock.now_s += 59.0
    before = await kept(store, "one")
    clock.now_s += 1.0

    assert (["one"], []) == (before, await kept(store, "one"))


async def test_what_is_too_old_already_is_not_kept(make: Make, clock: HandClock) -> None:
    """An entry that has expired before it is put is left out."""
    store = make(ttl_s=60.0)

    await store.put(entry(created_unix_s=clock.now_s - 60.0))

    assert 0 == (await store.stats()).entries


async def test_an_answer_that_is_too_long_is_left_out(make: Make) -> None:
    """The longest answer that is kept has as many bytes as was set; one more, and there is no entry."""
    store = make(answer_kb=1)
    await store.put(entry("right", text="ä" * 512))
    await store.put(entry("long", text="ä" * 512 + "x"))

    assert ["right"] == await kept(store, "right", "long")


async def test_a_text_that_is_no_unicode_is_left_out(make: Make) -> None:
    """What can't be written is no entry, and no error."""
    store = make()

    await store.put(entry(text="half \ud800"))

    assert [] == await kept(store, "one")


async def test_the_least_recently_used_makes_room(make: Make) -> None:
    """With room for two, the one that was neither put nor used last goes, and is counted."""
    store = make(entries=2)
    await store.put(entry("one"))
    await store.put(entry("two"))
    await store.used("alice", key("one"))
    await store.put(entry("three"))

    left = await kept(store, "one", "two", "three")

    assert (["one", "three"], 1) == (left, (await store.stats()).evicted)


async def test_looking_is_not_using(make: Make) -> None:
    """To get an entry does not keep it any longer."""
    store = make(entries=2)
    await store.put(entry("one"))
    await store.put(entry("two"))
    await store.get("alice", [key("one")])
    await store.put(entry("three"))

    assert ["two", "three"] == await kept(store, "one", "two", "three")


async def test_bytes_are_bounded(make: Make) -> None:
    """As many entries are kept as fit into the bytes that were set."""
    store = make(size_mb=1, entries=10_000)
    words = [f"{number:04}" for number in range(2000)]
    most = (1 << 20) // size_bytes(entry("0000"))
    assert most < len(words)
    for word in words:
        await store.put(entry(word))

    assert words[-most:] == await kept(store, *words)


async def test_what_is_larger_than_all_the_room_is_left_out(make: Make) -> None:
    """Such an entry pushes nobody out."""
    store = make(size_mb=1, answer_kb=4096)
    await store.put(entry("one"))
    noise = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(1 << 20))

    await store.put(entry("huge", text=noise))

    assert ["one"] == await kept(store, "one", "huge")


async def test_who_holds_most_makes_room(make: Make) -> None:
    """A tenant that fills the store pushes out its own entries, and none of one that holds less than its share."""
    store = make(entries=10)
    for number in range(4):
        await store.put(entry(f"a{number}", tenant="alice"))
    for number in range(50):
        await store.put(entry(f"m{number}", tenant="mallory"))

    alices = await kept(store, *(f"a{number}" for number in range(4)), tenant="alice")
    mallorys = await kept(store, *(f"m{number}" for number in range(50)), tenant="mallory")

    assert (["a0", "a1", "a2", "a3"], [f"m{number}" for number in range(44, 50)]) == (alices, mallorys)


async def test_a_tenant_gets_its_share_of_a_full_store(make: Make) -> None:
    """A store that one tenant has filled makes room for another one, until both hold the same."""
    store = make(entries=10)
    for number in range(10):
        await store.put(entry(f"m{number}", tenant="mallory"))
    for number in range(20):
        await store.put(entry(f"a{number}", tenant="alice"))

    alices = await kept(store, *(f"a{number}" for number in range(20)), tenant="alice")
    mallorys = await kept(store, *(f"m{number}" for number in range(10)), tenant="mallory")

    assert (5, 5) == (len(alices), len(mallorys))


async def test_using_counts_hits(make: Make) -> None:
    """An entry that was given twice says so; its figures are those of the entry."""
    store = make()
    await store.put(entry(scope=key("scope")))
    await store.used("alice", key("one"))
    await store.used("alice", key("one"))

    (one,) = await store.listed("alice", limit=5)

    assert (
        2,
        "alice",
        "Why one?",
        "qwen3:0.6b",
        "nano-1",
        True,
        size_bytes(entry(scope=key("scope"))),
        entry().id,
    ) == (
        one.hits,
        one.tenant,
        one.question,
        one.model,
        one.device,
        one.semantic,
        one.size_bytes,
        one.id,
    )


async def test_using_what_is_not_there_makes_nothing(make: Make) -> None:
    """A use that comes too late leaves the store as it was."""
    store = make()
    await store.used("alice", key("one"))

    assert (0, 0) == ((await store.stats()).entries, (await store.stats()).size_bytes)


async def test_the_latest_used_are_listed_first(make: Make) -> None:
    """The list is in the order of use, over all tenants, and no longer than was asked for."""
    store = make()
    for word, tenant in (("one", "alice"), ("two", "bob"), ("three", "alice")):
        await store.put(entry(word, tenant=tenant))
    await store.used("alice", key("one"))

    rows = await store.listed(None, limit=2)

    assert [("alice", "Why one?"), ("alice", "Why three?")] == [(row.tenant, row.question) for row in rows]


async def test_a_tenants_list_is_its_own(make: Make) -> None:
    """The list of one tenant has nothing of another's."""
    store = make()
    await store.put(entry(tenant="alice"))

    assert [] == await store.listed("mallory", limit=9)


async def test_purging_a_tenant_leaves_the_others(make: Make) -> None:
    """Only the tenant's entries go, and are counted."""
    store = make()
    for number in range(5):
        await store.put(entry(f"a{number}", tenant="alice"))
    await store.put(entry("one", tenant="bob"))

    gone = await store.purge("alice")

    assert (5, 1, ["one"]) == (gone, (await store.stats()).entries, await kept(store, "one", tenant="bob"))


async def test_purging_all_leaves_nothing(make: Make) -> None:
    """Afterwards nothing is there, and nothing is counted."""
    store = make()
    for number in range(300):
        await store.put(entry(f"a{number}", tenant=f"tenant{number % 7}"))

    gone = await store.purge(None)
    stats = await store.stats()

    assert (300, 0, 0, []) == (gone, stats.entries, stats.size_bytes, await store.listed(None, limit=9))


async def test_purging_nothing_tells_so(make: Make) -> None:
    """Where nothing is, nothing goes."""
    assert (0, 0) == (await make().purge("alice"), await make().purge(None))


async def test_one_claims_and_others_wait(make: Make) -> None:
    """Who claims first has it, and may say so again; the claim of another key, or tenant, is another one."""
    store = make()

    said = [
        await store.claim("alice", key("one"), "first", DAY_S),
        await store.claim("alice", key("one"), "second", DAY_S),
        await store.claim("alice", key("one"), "first", DAY_S),
        await store.claim("alice", key("two"), "second", DAY_S),
        await store.claim("bob", key("one"), "second", DAY_S),
    ]

    assert [True, False, True, True, True] == said


async def test_a_claim_that_was_released_is_free(make: Make) -> None:
    """Only its owner can release it."""
    store = make()
    await store.claim("alice", key("one"), "first", DAY_S)
    await store.release("alice", key("one"), "second")
    held = await store.claim("alice", key("one"), "second", DAY_S)
    await store.release("alice", key("one"), "first")

    assert (False, True) == (held, await store.claim("alice", key("one"), "second", DAY_S))


async def test_a_claim_ends_with_its_lease(make: Make, clock: HandClock) -> None:
    """Who claimed and was never heard of again holds nobody up for longer than its lease."""
    store = make()
    await store.claim("alice", key("one"), "gone", 0.05)
    clock.now_s += 0.05
    async with asyncio.timeout(GUARD_S):
        held = False
        while not held:  # the server's clock can't be moved
            held = await store.claim("alice", key("one"), "next", DAY_S)

    assert not await store.claim("alice", key("one"), "gone", DAY_S)


async def test_other_settings_forget_nothing(make: Make) -> None:
    """What is kept still counts after a reload, for the bounds too, and whoever makes an answer still does."""
    store = make(entries=2)
    await store.put(entry("one"))
    await store.put(entry("two"))
    await store.claim("alice", key("three"), "first", 60.0)
    before = await store.stats()
    store.tune(settings(entries=2, ttl_s=DAY_S))
    after, taken = await store.stats(), await store.claim("alice", key("three"), "second", 60.0)
    await store.put(entry("three"))

    assert (before, False, ["two", "three"]) == (after, taken, await kept(store, "one", "two", "three"))


async def test_many_at_once_keep_the_bounds(make: Make) -> None:
    """Puts, uses, removals and evictions side by side leave as many entries as there is room for, and the right bytes."""
    first, second = make(entries=20), make(entries=20)
    words = [f"{number:03}" for number in range(120)]
    async with asyncio.TaskGroup() as tasks:
        for number, word in enumerate(words):
            store = second if number % 2 and isinstance(first, RedisAnswers) else first
            tenant = f"t{number % 3}"
            tasks.create_task(store.put(entry(word, tenant=tenant)))
            tasks.create_task(store.used(tenant, key(words[number // 2])))
            tasks.create_task(store.remove(tenant, [key(words[number // 3])]))

    stats = await first.stats()
    rows = await first.listed(None, limit=100)

    assert (stats.entries, stats.size_bytes) == (len(rows), sum(row.size_bytes for row in rows))
    assert 0 < stats.entries <= 20
