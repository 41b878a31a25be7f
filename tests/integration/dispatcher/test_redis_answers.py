"""Answers in a real redis-server that forgets, is written by others, or is shared."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from common.errors import CacheUnavailable
from dispatcher.cache.redis_client import RedisClient, State, redis_client
from dispatcher.cache.store.packing import Bounds, hashed, pack, sealed
from dispatcher.cache.store.redis import RedisAnswers
from tests.answers import HandClock, entry, key, settings
from tests.redis_server import RedisServer, needs_redis, redis_server

pytestmark = needs_redis

GUARD_S = 60.0
INDEX = ["c", "b", "x", "n", f"u:{hashed('alice')}", f"m:{hashed('alice')}"]


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[RedisClient]:
    async with redis_client(server.url) as one:
        yield one


@pytest.fixture
def store(client: RedisClient) -> RedisAnswers:
    return answers(client)


def answers(client: RedisClient, **values: object) -> RedisAnswers:
    return RedisAnswers(client, settings(**values), HandClock())


def name(word: str = "one", tenant: str = "alice") -> str:
    """Give the name of an entry in Redis."""
    return f"drover:1:e:{hashed(tenant)}:{key(word)}"


async def there(client: RedisClient) -> int:
    """Count the entries that are really there."""
    names = (await client.run(("KEYS", "drover:1:e:*")))[0]
    return len(names)


async def is_there(store: RedisAnswers, word: str, tenant: str = "alice") -> bool:
    return await store.get(tenant, [key(word)]) != [None]


async def test_the_server_lets_it_expire_as_well(store: RedisAnswers, client: RedisClient) -> None:
    """An entry has a time to live of its own, of which only what is left of it is given."""
    await answers(client, ttl_s=1000.0).put(entry(created_unix_s=HandClock().now_s - 900.0))

    (left_ms,) = await client.run(("PTTL", name()))

    assert 0 < left_ms <= 100_000


async def test_what_the_server_let_expire_is_counted(client: RedisClient) -> None:
    """Its bytes are given back, and it stands among the expired."""
    store = answers(client, ttl_s=0.02)
    await store.put(entry("one"))
    async with asyncio.timeout(GUARD_S):
        while await there(client):
            pass
    stats = await store.stats()
    while stats.entries:  # the server's clock may be within the same millisecond still
        stats = await store.stats()

    assert (0, 1) == (stats.size_bytes, stats.expired)


async def test_what_was_removed_does_not_expire_again(client: RedisClient) -> None:
    """Of two whose time is over, the one that was removed before is not among the expired."""
    await answers(client, ttl_s=1000.0).put(entry("stays, and the index with it"))
    brief = answers(client, ttl_s=0.05)
    await brief.put(entry("removed"))
    await brief.put(entry("expires"))
    await brief.remove("alice", [key("removed")])
    async with asyncio.timeout(GUARD_S):
        while (stats := await brief.stats()).entries > 1:
            pass

    assert 1 == stats.expired


async def test_nothing_stays_in_a_server_that_is_not_used(store: RedisAnswers, client: RedisClient) -> None:
    """Every name of ours expires by itself, the index too."""
    await store.put(entry())
    await store.used("alice", key("one"))
    await store.claim("alice", key("two"), "first", 60.0)
    (names,) = await client.run(("KEYS", "*"))

    lasting = [each for each in names if (await client.run(("PTTL", each)))[0] < 0]

    assert (8, []) == (len(names), lasting)


async def test_the_names_tell_nobody_who_asks(store: RedisAnswers, client: RedisClient) -> None:
    """No name has the tenant or the question in it, and all begin with the prefix."""
    await store.put(entry(tenant="alice"))

    (names,) = await client.run(("KEYS", "*"))

    assert [] == [each for each in names if b"alice" in each or not each.startswith(b"drover:1:")]


@pytest.mark.parametrize("prefix", ["other", "drover:1", "dro*", "[d]rover", "d?over", "\\drover"])
async def test_purging_leaves_what_is_not_ours(store: RedisAnswers, client: RedisClient, prefix: str) -> None:
    """Another prefix is another store, also one whose name would match ours as a pattern."""
    await store.put(entry())

    gone = await answers(client, prefix=prefix).purge(None)

    assert (0, True) == (gone, await is_there(store, "one"))


async def test_purging_finds_what_the_index_lost(store: RedisAnswers, client: RedisClient) -> None:
    """A server that has forgotten the index still forgets all entries of the tenant, and no other's."""
    for word in ("one", "two", "three"):
        await store.put(entry(word))
    await store.put(entry("one", tenant="bob"))
    await client.run(("DEL", *(f"drover:1:{part}" for part in INDEX)))

    gone = await store.purge("alice")

    assert (3, 1, True) == (gone, await there(client), await is_there(store, "one", "bob"))


async def test_what_was_flushed_is_not_counted(store: RedisAnswers, client: RedisClient) -> None:
    """After FLUSHALL the store is empty, and works."""
    await store.put(entry("one"))
    await client.run(("FLUSHALL",))
    empty = await store.stats()
    await store.put(entry("two"))

    assert (0, 0, 1) == (empty.entries, empty.size_bytes, (await store.stats()).entries)


@pytest.mark.parametrize("part", INDEX)
async def test_an_index_that_lost_a_part_mends_itself(client: RedisClient, part: str) -> None:
    """Whatever part of the index the server forgets: after some more answers the bounds hold, and the count is the truth."""
    store = answers(client, entries=20)
    for number in range(20):
        await store.put(entry(f"before{number}"))
    await client.run(("DEL", f"drover:1:{part}"))
    for number in range(40):
        await store.put(entry(f"after{number}"))
        await store.used("alice", key(f"before{number % 20}"))

    stats, rows = await store.stats(), await store.listed("alice", limit=100)

    assert (20, 20, sum(row.size_bytes for row in rows)) == (stats.entries, len(rows), stats.size_bytes)


async def test_entries_that_the_index_lost_are_found_again(client: RedisClient) -> None:
    """A server that forgot the whole index, and no entry, is walked through while others are put."""
    store = answers(client, entries=1000)
    for number in range(60):
        await store.put(entry(f"{number}", tenant=f"t{number % 3}"))
    await client.run(*(("DEL", f"drover:1:{part}") for part in ("c", "b", "x", "n")))
    await client.run(*(("DEL", f"drover:1:{part}:{hashed(f't{number}')}") for part in "um" for number in range(3)))
    put = 60
    async with asyncio.timeout(GUARD_S):
        while (await store.stats()).entries != await there(client):
            await store.put(entry(f"{put}"))
            put += 1

    assert await there(client) == len(await store.listed(None, limit=1000))


@pytest.mark.parametrize("part", INDEX)
async def test_an_index_with_anothers_value_in_it_mends_itself(client: RedisClient, part: str) -> None:
    """A value of another type in the place of a part of the index is taken away."""
    store = answers(client, entries=20)
    await store.put(entry("one"))
    await client.run(("DEL", f"drover:1:{part}"), ("SET", f"drover:1:{part}", "something else"))
    for number in range(30):
        await store.put(entry(f"after{number}"))

    assert (20, True) == ((await store.stats()).entries, await is_there(store, "after29"))


async def test_entries_that_the_server_took_are_found_out(client: RedisClient) -> None:
    """A server that makes room by itself leaves names in the index; they go while others are put."""
    store = answers(client, entries=1000)
    for number in range(60):
        await store.put(entry(f"{number}"))
    await client.run(("DEL", *(name(f"{number}") for number in range(0, 60, 2))))
    put = 60
    async with asyncio.timeout(GUARD_S):
        while (await store.stats()).entries != await there(client):
            await store.put(entry(f"{put}"))
            put += 1

    rows = await store.listed("alice", limit=1000)

    assert await there(client) == len(rows)


async def test_a_server_that_makes_room_by_itself_is_no_trouble(client: RedisClient) -> None:
    """With `allkeys-lru` and too little memory, answers are put and given, and afterwards the count comes near the truth."""
    store = answers(client, entries=100_000)
    base = int((await client.info("memory"))["used_memory"])
    await client.run(
        ("CONFIG", "SET", "maxmemory", str(base + (1 << 20))), ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    )
    found = 0
    for number in range(1500):
        await store.put(entry(f"{number}", text=f"{number}" * 200))
        found += await is_there(store, f"{number}")
    evicted = int((await client.info("stats"))["evicted_keys"])
    await client.run(("CONFIG", "SET", "maxmemory", "0"))
    put = 1500
    async with asyncio.timeout(GUARD_S):
        while abs((await store.stats()).entries - await there(client)) > 20:
            await store.put(entry(f"{put}"))
            put += 1

    assert evicted > 100
    assert found > 1400


async def test_a_full_server_can_be_read(store: RedisAnswers, client: RedisClient) -> None:
    """What can't be put changes nothing; what was put before is given; and with room it goes on."""
    await store.put(entry("one"))
    await client.run(("CONFIG", "SET", "maxmemory", "64kb"))
    with pytest.raises(CacheUnavailable) as caught:
        await store.put(entry("two"))
    read = await is_there(store, "one"), await is_there(store, "two"), (await store.stats()).entries
    await client.run(("CONFIG", "SET", "maxmemory", "0"))
    await store.put(entry("two"))

    assert (State.FULL, (True, False, 1), 2) == (caught.value.details["state"], read, (await store.stats()).entries)


async def test_a_value_of_another_type_is_no_entry(store: RedisAnswers, client: RedisClient) -> None:
    """It is absent, is no hindrance to those beside it, and makes way for an entry."""
    await store.put(entry("two"))
    await client.run(("LPUSH", name("one"), "x"), ("LPUSH", f"drover:1:k:{hashed('alice')}:{key('one')}", "x"))
    found = await store.get("alice", [key("one"), key("two")])
    await store.used("alice", key("one"))
    claimed = await store.claim("alice", key("one"), "first", 60.0)
    await store.put(entry("one"))

    assert ([None, entry("two")], True, True) == (found, claimed, await is_there(store, "one"))


def _garbled() -> dict[str, bytes]:
    packed = pack(entry("one", text="Blue. " * 1000), Bounds(answer_bytes=1 << 20)) or b""
    other = pack(entry("two"), Bounds(answer_bytes=1 << 20)) or b""
    theirs = pack(entry("one", tenant="bob"), Bounds(answer_bytes=1 << 20)) or b""
    middle = len(packed) // 2
    return {
        "nothing": b"",
        "noise": bytes(range(256)),
        "cut": packed[:-1],
        "cut to its head": packed[:8],
        "longer": packed + b"x",
        "one bit": packed[:middle] + bytes([packed[middle] ^ 1]) + packed[middle + 1 :],
        "another entry": other,
        "another tenant's": theirs,
    }


@pytest.mark.parametrize("value", _garbled().values(), ids=_garbled())
async def test_what_is_garbled_is_absent_and_taken_away(store: RedisAnswers, client: RedisClient, value: bytes) -> None:
    """What does not belong under its name is never given, whoever put it there."""
    await store.put(entry("one"))
    await client.run(("SET", name("one"), value))

    found = await store.get("alice", [key("one")])

    assert ([None], [0], 0) == (found, await client.run(("EXISTS", name("one"))), (await store.stats()).entries)


async def test_a_bomb_is_not_unfolded(store: RedisAnswers, client: RedisClient) -> None:
    """A value that would unfold to more than any entry has is absent."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(64)) + deflate.flush()
    await client.run(("SET", name("one"), sealed(1, body)))

    assert [None] == await store.get("alice", [key("one")])


async def test_garbled_values_are_told_once(store: RedisAnswers, client: RedisClient) -> None:
    """One line, however many there are."""
    await client.run(*(("SET", name(f"{number}"), "x") for number in range(5)))
    with capture_logs() as lines:
        for number in range(5):
            await store.get("alice", [key(f"{number}")])

    assert ["cache.unreadable"] == [line["event"] for line in lines]


async def test_what_another_version_wrote_is_left_alone(store: RedisAnswers, client: RedisClient) -> None:
    """While dispatchers are being renewed, each passes over the others' entries, and takes none of them away."""
    packed = pack(entry("one"), Bounds(answer_bytes=1 << 20)) or b""
    await client.run(("SET", name("one"), packed[:2] + b"\x63" + packed[3:]))

    found = await store.get("alice", [key("one")])

    assert ([None], [1]) == (found, await client.run(("EXISTS", name("one"))))


async def test_what_stands_in_no_index_is_given_and_taken_in(store: RedisAnswers, client: RedisClient) -> None:
    """An entry that the index has lost is as good as any; its first use has it counted again."""
    await store.put(entry("one"))
    await client.run(("DEL", *(f"drover:1:{part}" for part in INDEX)))
    await store.used("alice", key("one"))

    (row,) = await store.listed(None, limit=5)

    assert (1, 1) == (row.hits, (await store.stats()).entries)


async def test_two_dispatchers_keep_the_bounds_together(server: RedisServer) -> None:
    """Two that put, use and remove at once never have more than the room that both were set, and agree on what is there."""
    async with redis_client(server.url) as one, redis_client(server.url) as other:
        stores = [answers(one, entries=30), answers(other, entries=30)]
        most = 0

        async def work(store: RedisAnswers, mine: int) -> None:
            nonlocal most
            for number in range(100):
                tenant = f"t{number % 4}"
                await store.put(entry(f"{number * mine}", tenant=tenant, text="x" * (number * 7 % 300)))
                await store.used(tenant, key(f"{number}"))
                await store.remove(tenant, [key(f"{number // 2}")])
                most = max(most, (await store.stats()).entries)

        async with asyncio.TaskGroup() as tasks:
            for mine in (1, 2, 3):
                tasks.create_task(work(stores[0], mine))
                tasks.create_task(work(stores[1], mine))
        told = [await store.stats() for store in stores]
        rows = await stores[1].listed(None, limit=1000)

        assert told[0] == told[1]
        assert (len(rows), sum(row.size_bytes for row in rows)) == (told[0].entries, told[0].size_bytes)
        assert await there(one) == told[0].entries
        assert 0 < told[0].entries <= most <= 30


async def test_only_one_of_many_dispatchers_makes_an_answer(server: RedisServer) -> None:
    """Of all who claim at once, over several connections, one has it."""
    async with redis_client(server.url) as one, redis_client(server.url) as other:
        stores = [answers(one), answers(other)]
        async with asyncio.TaskGroup() as tasks:
            claims = [
                tasks.create_task(stores[number % 2].claim("alice", key("one"), f"owner{number}", 60.0))
                for number in range(40)
            ]

        assert 1 == sum(claim.result() for claim in claims)


async def test_leaving_in_the_middle_leaves_the_store_whole(client: RedisClient) -> None:
    """Calls that are cancelled at any moment were either done or not; counts and bytes agree afterwards."""
    store = answers(client, entries=10)
    for number in range(40):
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(store.put(entry(f"{number}", tenant=f"t{number % 3}")))
            for _ in range(number % 8):
                await asyncio.sleep(0)
            task.cancel()

    stats, rows = await store.stats(), await store.listed(None, limit=100)

    assert (len(rows), sum(row.size_bytes for row in rows)) == (stats.entries, stats.size_bytes)
