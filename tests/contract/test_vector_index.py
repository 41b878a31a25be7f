"""What `VectorIndex` promises, held against matrices in memory, their copies in a real Redis, and the vector sets of a Redis 8."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import CacheUnavailable
from dispatcher.cache.index import IndexBounds, MemoryIndex, open_index
from dispatcher.cache.index.redis_chosen import VECTOR_SETS_ABOVE, ServersChoice
from dispatcher.cache.index.redis_durable import DurableIndex
from dispatcher.cache.index.redis_vectors import VectorSetIndex
from dispatcher.cache.protocols import VectorIndex
from dispatcher.cache.redis_client import RedisClient, redis_client
from dispatcher.embed.protocol import EmbedderId, Vector, Vectors
from tests.redis_server import PROGRAM, REDIS8, RedisServer, needs_redis, needs_redis8, redis_server

GUARD_S = 30.0
EMBEDDER = EmbedderId(name="minilm-static", version="8e1c75dc772b", dimensions=8)
SCOPE = "5c" * 32
CLOSE = 1e-5
RUNS = itertools.count()


@dataclass(slots=True)
class Redis:
    """One server, and ways to it: a client for each dispatcher."""

    server: RedisServer
    kind: type[DurableIndex | VectorSetIndex]
    closing: AsyncExitStack
    clients: list[RedisClient] = field(default_factory=list)

    async def index(self, bounds: IndexBounds = IndexBounds(), prefix: str = "test") -> DurableIndex | VectorSetIndex:  # noqa: B008
        """Give an index of a dispatcher of its own."""
        client = await self.closing.enter_async_context(redis_client(self.server.url))
        self.clients.append(client)
        return self.kind(client, prefix, bounds)

    async def run(self, *command: Any) -> Any:
        return (await self.clients[0].run(command))[0]

    async def keys(self, pattern: str = "*") -> list[bytes]:
        return sorted(await self.run("KEYS", pattern))


class Memory:
    """The same without a server."""

    async def index(self, bounds: IndexBounds = IndexBounds(), prefix: str = "test") -> MemoryIndex:  # noqa: B008
        return MemoryIndex(bounds)


DURABLE = pytest.param("matrix", marks=needs_redis)
DURABLE8 = pytest.param("matrix8", marks=needs_redis8)
SETS8 = pytest.param("sets8", marks=needs_redis8)
KINDS = {"matrix": (DurableIndex, PROGRAM), "matrix8": (DurableIndex, REDIS8), "sets8": (VectorSetIndex, REDIS8)}


async def _redis(kind: str) -> AsyncIterator[Redis]:
    index, program = KINDS[kind]
    async with redis_server(program=program) as server, AsyncExitStack() as closing:
        yield Redis(server, index, closing)


@pytest.fixture(params=["memory", DURABLE, DURABLE8, SETS8])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[Redis | Memory]:
    if request.param == "memory":
        yield Memory()
        return
    async for redis in _redis(request.param):
        yield redis


@pytest.fixture
async def index(world: Redis | Memory) -> VectorIndex:
    return await world.index()


@pytest.fixture(params=[DURABLE, DURABLE8, SETS8])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    async for one in _redis(request.param):
        yield one


def key(number: int) -> str:
    """Give a key as entries have it."""
    return f"{number:064x}"


def unit(*numbers: float) -> Vector:
    """Give a vector of norm 1 that points there; what is not named is 0."""
    vector = np.zeros(EMBEDDER.dimensions, dtype=np.float32)
    vector[: len(numbers)] = numbers
    return vector / np.float32(np.linalg.norm(vector))


def random_units(count: int, seed: int = 1, dimensions: int = EMBEDDER.dimensions) -> Vectors:
    rows = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


async def fill(
    index: VectorIndex, vectors: Sequence[Vector] | Vectors, *, tenant: str = "alice", scope: str = SCOPE
) -> None:
    for number, vector in enumerate(vectors):
        await index.add(tenant, scope, EMBEDDER, vector, key(number))


async def found(
    index: VectorIndex, vector: Vector, *, tenant: str = "alice", scope: str = SCOPE, count: int = 50
) -> list[str]:
    return [near.exact for near in await index.nearest(tenant, scope, EMBEDDER, vector, count=count)]


async def settled(index: VectorIndex, vector: Vector, want: int) -> list[str]:
    """Look until so many are seen: a large scope comes in several looks."""
    seen: list[str] = []
    async with asyncio.timeout(GUARD_S):
        while len(seen) < want:
            seen = await found(index, vector, count=want)
    return seen


# --- what is found


async def test_nothing_is_found_where_nothing_is(world: Redis | Memory) -> None:
    """An index that is empty finds nothing, and keeps no trace of the question."""
    index = await world.index()

    assert [] == await found(index, unit(1))
    assert 0 == (await index.stats()).entries


async def test_the_most_alike_come_first(world: Redis | Memory) -> None:
    """Order is by cosine, and the cosine is told, down to -1."""
    index = await world.index()
    await fill(index, [unit(1), unit(1, 1), unit(0, 1), unit(-1)])

    near = await index.nearest("alice", SCOPE, EMBEDDER, unit(1), count=4)

    assert [key(0), key(1), key(2), key(3)] == [one.exact for one in near]
    assert [one.similarity for one in near] == pytest.approx([1.0, 0.5**0.5, 0.0, -1.0], abs=CLOSE)


async def test_only_so_many_are_given(world: Redis | Memory) -> None:
    """`count` bounds the answer, the best are kept, and none may be asked for."""
    index = await world.index()
    await fill(index, [unit(1, step / 10) for step in range(10)])

    assert [key(0), key(1), key(2)] == await found(index, unit(1), count=3)
    assert [key(0)] == await found(index, unit(1), count=1)
    assert [] == await found(index, unit(1), count=0)


async def test_a_cosine_is_never_over_one(world: Redis | Memory) -> None:
    """A question that was asked before has 1 at most, whatever rounding says."""
    index = await world.index()
    vectors = random_units(40, seed=5)
    await fill(index, vectors)

    best = [(await index.nearest("alice", SCOPE, EMBEDDER, one, count=1))[0] for one in vectors]

    assert [key(number) for number in range(40)] == [one.exact for one in best]
    assert all(1 - CLOSE <= one.similarity <= 1.0 for one in best)


_CHANGES = st.lists(st.tuples(st.integers(0, 11), st.integers(-1, 30)), min_size=1, max_size=40)
"""Keys and what becomes of them: -1 is removed, another number is a vector."""


@given(changes=_CHANGES, asked=st.integers(0, 30), count=st.integers(1, 12))
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_what_is_found_is_what_brute_force_finds(
    index: VectorIndex, changes: list[tuple[int, int]], asked: int, count: int
) -> None:
    """After any additions, replacements and removals the similarities are those of all vectors compared one by one, each that of
    its own key."""
    vectors = random_units(31, seed=3)
    scope = f"run {next(RUNS)}"
    kept: dict[str, Vector] = {}
    for number, which in changes:
        if which < 0:
            kept.pop(key(number), None)
            await index.remove("alice", scope, [key(number)])
        else:
            kept[key(number)] = vectors[which]
            await index.add("alice", scope, EMBEDDER, vectors[which], key(number))
    truth = sorted((float(vector @ vectors[asked]) for vector in kept.values()), reverse=True)[:count]

    near = await index.nearest("alice", scope, EMBEDDER, vectors[asked], count=count)

    assert [one.similarity for one in near] == pytest.approx(truth, abs=CLOSE)
    assert all(abs(one.similarity - float(kept[one.exact] @ vectors[asked])) < CLOSE for one in near)
    assert len({one.exact for one in near}) == len(near)


async def test_a_key_has_one_vector(world: Redis | Memory) -> None:
    """Added again, a key is found by its new vector alone, and is the newest."""
    index = await world.index(IndexBounds(scope_entries=2))
    await fill(index, [unit(1), unit(0, 1)])
    await index.add("alice", SCOPE, EMBEDDER, unit(0, 0, 1), key(0))
    await index.add("alice", SCOPE, EMBEDDER, unit(0, 0, 0, 1), key(2))

    near = await index.nearest("alice", SCOPE, EMBEDDER, unit(0, 0, 1), count=9)

    assert [key(0), key(2)] == [one.exact for one in near]
    assert [1.0, 0.0] == pytest.approx([one.similarity for one in near], abs=CLOSE)


# --- who finds it


def flips(text: str) -> list[str]:
    """Give a text with each of its bytes changed by one bit, as far as it stays a text."""
    return [text[:at] + chr(ord(letter) ^ 1) + text[at + 1 :] for at, letter in enumerate(text)]


async def test_a_tenant_finds_its_own_alone(world: Redis | Memory) -> None:
    """One flipped bit in the tenant's name, a name that is longer, shorter, a pattern or holds a separator: nothing is found."""
    index = await world.index()
    await fill(index, [unit(1)], tenant="alice:b")

    others = [*flips("alice:b"), "alice", "alice:", "alice:b:", "ALICE:B", "*", "alice*", "alice%3Ab", "", " alice:b"]

    assert [] == [one for one in others if await found(index, unit(1), tenant=one)]
    assert [key(0)] == await found(index, unit(1), tenant="alice:b")


async def test_a_scope_finds_its_own_alone(world: Redis | Memory) -> None:
    """One flipped bit anywhere in the scope: nothing is found, nor where tenant and scope only say the same together."""
    index = await world.index()
    await fill(index, [unit(1)])

    assert [] == [one for one in flips(SCOPE) if await found(index, unit(1), scope=one)]
    assert [] == await found(index, unit(1), tenant="alice:5c", scope=SCOPE[2:])
    assert [key(0)] == await found(index, unit(1))


async def test_vectors_of_two_embedders_never_meet(world: Redis | Memory) -> None:
    """Another version, name or number of dimensions is another space."""
    index = await world.index()
    await fill(index, [unit(1)])
    others = [
        *(replace(EMBEDDER, version=one) for one in flips(EMBEDDER.version)),
        *(replace(EMBEDDER, name=one) for one in flips(EMBEDDER.name)),
    ]
    wider = replace(EMBEDDER, dimensions=9)

    assert [] == [one for one in others if await index.nearest("alice", SCOPE, one, unit(1), count=1)]
    assert [] == await index.nearest("alice", SCOPE, wider, np.append(unit(1), np.float32(0)), count=1)


async def test_prefixes_are_kept_apart(redis: Redis) -> None:
    """Two fleets on one server with prefixes of their own find and purge their own alone, also where one looks like a pattern."""
    ours, theirs = await redis.index(prefix="dr*ver"), await redis.index(prefix="drover")
    await fill(ours, [unit(1)])
    await fill(theirs, [unit(0, 1)])

    await ours.purge(None)

    assert [] == await found(ours, unit(1))
    assert [key(0)] == await found(theirs, unit(1))


# --- what is no vector


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(np.full(8, np.nan, dtype=np.float32), id="nan"),
        pytest.param(np.full(8, np.inf, dtype=np.float32), id="infinite"),
        pytest.param(np.full(8, 3e38, dtype=np.float32), id="overflows"),
        pytest.param(np.zeros(8, dtype=np.float32), id="nothing"),
        pytest.param(np.ones(8, dtype=np.float32), id="norm"),
        pytest.param(np.array([1, 0, 0], dtype=np.float32), id="short"),
        pytest.param(np.eye(8, dtype=np.float32), id="rows"),
        pytest.param(np.eye(8)[0], id="doubles"),
    ],
)
async def test_what_is_no_vector_is_refused(world: Redis | Memory, wrong: Any) -> None:
    """Whoever hands over what the embedder can't have made is told so, and nothing is kept."""
    index = await world.index()

    with pytest.raises(ValueError, match="a vector of minilm-static-8@8e1c75dc772b"):
        await index.add("alice", SCOPE, EMBEDDER, wrong, key(1))
    with pytest.raises(ValueError, match="a vector of minilm-static-8@8e1c75dc772b"):
        await index.nearest("alice", SCOPE, EMBEDDER, wrong, count=1)
    assert 0 == (await index.stats()).entries


async def test_a_vector_that_is_slightly_off_is_brought_to_norm_1(world: Redis | Memory) -> None:
    """What an embedder rounds does not become a wrong cosine, on either side."""
    index = await world.index()
    await index.add("alice", SCOPE, EMBEDDER, unit(3, 4) * np.float32(1.008), key(1))

    near = await index.nearest("alice", SCOPE, EMBEDDER, unit(1) * np.float32(0.993), count=1)

    assert [0.6] == pytest.approx([one.similarity for one in near], abs=CLOSE)


# --- bounds


async def test_a_full_scope_forgets_its_oldest(world: Redis | Memory) -> None:
    """The newest stay; what went is counted, and other scopes keep theirs."""
    index = await world.index(IndexBounds(scope_entries=5))
    await fill(index, random_units(3), scope="other")

    await fill(index, random_units(12))

    assert {key(number) for number in range(7, 12)} == set(await found(index, unit(1)))
    assert 3 == len(await found(index, unit(1), scope="other"))
    stats = await index.stats()
    assert (8, 7) == (stats.entries, stats.evicted)


async def test_the_tenant_that_holds_most_gives_way(world: Redis | Memory) -> None:
    """Over the bound of all, the largest tenant's scope that was used longest ago goes, and nobody else's."""
    index = await world.index(IndexBounds(scope_entries=5, entries=12))
    await fill(index, random_units(3), tenant="small")
    for scope in ("first", "second", "third"):
        await fill(index, random_units(4), tenant="large", scope=scope)

    kept = [len(await found(index, unit(1), tenant="large", scope=one)) for one in ("first", "second", "third")]

    assert ([0, 4, 4], 3) == (kept, len(await found(index, unit(1), tenant="small")))
    assert (11, 4) == ((stats := await index.stats()).entries, stats.evicted)


async def test_a_tenant_with_one_scope_loses_its_oldest(world: Redis | Memory) -> None:
    """Where the largest tenant has but the scope that grows, rows of it go, never the smaller tenant's."""
    index = await world.index(IndexBounds(scope_entries=50, entries=10))
    await fill(index, random_units(3), tenant="small")

    await fill(index, random_units(20), tenant="large")

    assert {key(number) for number in range(13, 20)} == set(await found(index, unit(1), tenant="large"))
    assert 3 == len(await found(index, unit(1), tenant="small"))


async def test_bytes_are_counted(world: Redis | Memory) -> None:
    """What is kept has a size, at least that of its numbers, and none when all is gone."""
    index = await world.index()
    await fill(index, random_units(20))
    before = (await index.stats()).size_bytes

    await index.purge("alice")

    assert 20 * 32 <= before <= 20 * 2000
    assert (0, 0) == ((stats := await index.stats()).entries, stats.size_bytes)


# --- what is taken back


async def test_what_is_removed_is_not_found(world: Redis | Memory) -> None:
    """Removal is of keys, of one scope and one tenant; a key that is not there is no error."""
    index = await world.index()
    await fill(index, random_units(4))
    await fill(index, random_units(4), scope="other")
    await fill(index, random_units(4), tenant="bob")

    await index.remove("alice", SCOPE, [key(1), key(3), key(99)])

    assert {key(0), key(2)} == set(await found(index, unit(1)))
    assert 4 == len(await found(index, unit(1), scope="other"))
    assert 4 == len(await found(index, unit(1), tenant="bob"))
    assert 10 == (await index.stats()).entries


async def test_removal_is_of_all_embedders(world: Redis | Memory) -> None:
    """An entry that is taken back is not found by any embedder's vector."""
    index = await world.index()
    other = replace(EMBEDDER, version="another")
    for embedder in (EMBEDDER, other):
        await index.add("alice", SCOPE, embedder, unit(1), key(1))

    await index.remove("alice", SCOPE, [key(1)])

    assert [] == await index.nearest("alice", SCOPE, EMBEDDER, unit(1), count=1)
    assert [] == await index.nearest("alice", SCOPE, other, unit(1), count=1)


async def test_a_tenant_is_purged_alone(world: Redis | Memory) -> None:
    """All scopes and embedders of one tenant go, and a tenant whose name begins alike keeps its own."""
    index = await world.index()
    for tenant in ("al", "al*", "alice"):
        await fill(index, random_units(3), tenant=tenant)
        await fill(index, random_units(3), tenant=tenant, scope="other")

    await index.purge("al*")

    kept = {
        tenant: [len(await found(index, unit(1), tenant=tenant, scope=scope)) for scope in (SCOPE, "other")]
        for tenant in ("al", "al*", "alice")
    }
    assert {"al": [3, 3], "al*": [0, 0], "alice": [3, 3]} == kept
    assert 12 == (await index.stats()).entries


async def test_all_are_purged(world: Redis | Memory) -> None:
    """Without a tenant everybody's go, and additions work as before."""
    index = await world.index()
    for tenant in ("alice", "bob"):
        await fill(index, random_units(3), tenant=tenant)

    await index.purge(None)

    assert [[], []] == [await found(index, unit(1), tenant=tenant) for tenant in ("alice", "bob")]
    await fill(index, [unit(1)])
    assert [key(0)] == await found(index, unit(1))


async def test_all_at_once_leaves_a_sound_index(world: Redis | Memory) -> None:
    """Additions, removals and looks side by side end with what was added and not removed, each under its own vector."""
    index = await world.index()
    vectors = random_units(60)
    await fill(index, vectors[:20])
    async with asyncio.TaskGroup() as tasks:
        for number in range(20, 60):
            tasks.create_task(index.add("alice", SCOPE, EMBEDDER, vectors[number], key(number)))
            tasks.create_task(found(index, vectors[number]))
            tasks.create_task(index.remove("alice", SCOPE, [key(number // 2 - 10)]))

    seen = await index.nearest("alice", SCOPE, EMBEDDER, unit(1), count=100)
    assert {key(number) for number in range(20, 60)} == {one.exact for one in seen}
    assert all(abs(one.similarity - float(vectors[int(one.exact, 16)][0])) < CLOSE for one in seen)


# --- one Redis, many dispatchers


async def test_dispatchers_see_each_others(redis: Redis) -> None:
    """What one adds, replaces, removes or purges, the other finds so at its next look, though it looked before."""
    one, other = await redis.index(), await redis.index()
    await fill(one, [unit(1), unit(0, 1)])
    assert [key(0), key(1)] == await found(other, unit(1))

    await one.add("alice", SCOPE, EMBEDDER, unit(1, 0.1), key(2))
    assert [key(0), key(2), key(1)] == await found(other, unit(1))
    await other.remove("alice", SCOPE, [key(0)])
    assert [key(2), key(1)] == await found(one, unit(1))
    await one.add("alice", SCOPE, EMBEDDER, unit(1), key(0))
    assert [key(0), key(2), key(1)] == await found(other, unit(1))
    await other.purge("alice")
    assert [] == await found(one, unit(1))


async def test_a_dispatcher_that_starts_again_finds_what_was_kept(redis: Redis) -> None:
    """A new process has all of a scope, also one that does not come in one reply."""
    embedder = replace(EMBEDDER, dimensions=384)
    vectors = random_units(600, dimensions=384)
    one = await redis.index(IndexBounds(scope_entries=1000))
    for number, vector in enumerate(vectors):
        await one.add("alice", SCOPE, embedder, vector, key(number))

    new = await redis.index(IndexBounds(scope_entries=1000))

    best: list[str] = []
    async with asyncio.timeout(GUARD_S):
        while key(599) not in best:
            best = [near.exact for near in await new.nearest("alice", SCOPE, embedder, vectors[599], count=1)]
    sample = range(0, 600, 50)
    near = [(await new.nearest("alice", SCOPE, embedder, vectors[number], count=1))[0].exact for number in sample]
    assert [key(number) for number in sample] == near


async def test_a_server_that_forgot_all_is_believed(redis: Redis) -> None:
    """After a restart without its data nothing of before is found, and what is added then is, under the same numbers."""
    index = await redis.index()
    await fill(index, [unit(1), unit(0, 1)])
    assert 2 == len(await found(index, unit(1)))

    await redis.server.restart()

    async with asyncio.timeout(GUARD_S):
        seen = None
        while seen is None:
            try:
                seen = await found(index, unit(1))
            except CacheUnavailable:
                continue
    assert [] == seen
    await index.add("alice", SCOPE, EMBEDDER, unit(0, 0, 1), key(7))
    await index.add("alice", SCOPE, EMBEDDER, unit(0, 0, 1), key(8))
    assert [key(7), key(8)] == await found(index, unit(1))


async def test_without_the_server_nothing_is_found_and_it_is_said(redis: Redis) -> None:
    """Each verb raises `CacheUnavailable` when the server is gone: none answers from memory, which may have been taken back."""
    index = await redis.index()
    await fill(index, [unit(1)])
    assert [key(0)] == await found(index, unit(1))
    await redis.server.kill()

    for verb in (
        index.nearest("alice", SCOPE, EMBEDDER, unit(1), count=1),
        index.add("alice", SCOPE, EMBEDDER, unit(1), key(1)),
        index.remove("alice", SCOPE, [key(1)]),
        index.purge("alice"),
        index.purge(None),
        index.stats(),
    ):
        with pytest.raises(CacheUnavailable):
            await verb


async def test_a_full_server_says_so(redis: Redis) -> None:
    """A server that takes nothing more refuses additions as `full`; looks still find what is there."""
    index = await redis.index()
    await fill(index, [unit(1)])
    await redis.run("CONFIG", "SET", "maxmemory", "1")

    with pytest.raises(CacheUnavailable) as full:
        await index.add("alice", SCOPE, EMBEDDER, unit(0, 1), key(1))

    assert "full" == full.value.details["state"]
    assert [key(0)] == await found(index, unit(1))


async def test_scopes_expire_after_their_last_addition(redis: Redis) -> None:
    """Every key ends by itself, later with each addition, and what expired leaves the books."""
    index = await redis.index(IndexBounds(ttl_s=3600.0))
    await fill(index, [unit(1)])
    keys = await redis.keys()
    for one in keys:
        await redis.run("PEXPIRE", one, 60_000)
    await fill(index, [unit(1), unit(0, 1)])

    ends_ms = [await redis.run("PTTL", one) for one in keys]

    assert keys
    assert all(3_500_000 < one <= 7_200_000 for one in ends_ms)


async def test_what_expired_leaves_the_books(redis: Redis) -> None:
    """Scopes that ended are no longer counted once anybody adds something, and those that live on are."""
    short, long = await redis.index(IndexBounds(ttl_s=0.02)), await redis.index(IndexBounds(ttl_s=3600.0))
    await fill(long, random_units(2), tenant="bob")
    await fill(short, random_units(3), scope="old")
    await fill(short, random_units(3), scope="old too")
    await fill(long, random_units(2), tenant="bob", scope="other")
    async with asyncio.timeout(GUARD_S):
        while await redis.keys("*:order") != await redis.keys("*:at:bob:*:order"):
            continue

    await fill(long, [unit(1)], tenant="carol")

    stats = await long.stats()
    assert (5, 6) == (stats.entries, stats.expired)
    assert [2, 2] == [len(await found(long, unit(1), tenant="bob", scope=scope)) for scope in (SCOPE, "other")]


async def test_nothing_stays_of_a_purge(redis: Redis) -> None:
    """Also what the books lost sight of goes: no key of the tenant is left, and the server's other keys are untouched."""
    index = await redis.index()
    await fill(index, random_units(3))
    await fill(index, random_units(3), tenant="bob")
    await redis.run("SET", "somebody:else", "1")
    for one in await redis.keys("*:uses:*"):
        await redis.run("DEL", one)

    await index.purge("alice")
    assert [] == await redis.keys("*alice*")
    await index.purge(None)

    assert [b"somebody:else"] == await redis.keys()


async def test_books_that_lost_a_page_do_not_grow_without_end(redis: Redis) -> None:
    """A server may drop keys for want of memory: whichever of ours it is, additions and looks go on, and the scope is whole."""
    index = await redis.index(IndexBounds(scope_entries=4, entries=8))
    names = ("held", "sizes", "tenants", "ends", "uses", "meta", "rows", "order", "gone", "set", "at")
    for name in names:
        await fill(index, random_units(6))
        await index.remove("alice", SCOPE, [key(5)])
        for one in [*await redis.keys(f"*:{name}"), *await redis.keys(f"*:{name}:*{'?' * 12}")]:
            await redis.run("DEL", one)
        await fill(index, random_units(6, seed=2))

        assert {key(number) for number in range(2, 6)} >= set(await found(index, unit(1)))
        assert key(5) in await found(index, unit(1))


@pytest.mark.parametrize("redis", [DURABLE], indirect=True)
@pytest.mark.parametrize(
    "garbled",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"x" * 31, id="short"),
        pytest.param(np.full(8, np.nan, dtype="<f4").tobytes(), id="nan"),
        pytest.param(np.full(8, 7.0, dtype="<f4").tobytes(), id="norm"),
        pytest.param(np.zeros(8, dtype="<f4").tobytes(), id="nothing"),
        pytest.param(np.full(8, 3e38, dtype="<f4").tobytes(), id="overflows"),
    ],
)
async def test_garbled_rows_are_dropped(redis: Redis, garbled: bytes) -> None:
    """What somebody else made of a vector is not found, and its neighbours are, each under its own key."""
    one = await redis.index()
    await fill(one, [unit(1), unit(0, 1), unit(1, 1)])
    (rows,) = await redis.keys("*:rows")
    await redis.run("HSET", rows, key(1), garbled)

    near = await (await redis.index()).nearest("alice", SCOPE, EMBEDDER, unit(1), count=9)

    assert [(key(0), 1.0), (key(2), 0.5**0.5)] == [
        (one.exact, pytest.approx(one.similarity, abs=CLOSE)) for one in near
    ]


@pytest.mark.parametrize("redis", [DURABLE], indirect=True)
async def test_removals_that_were_missed_begin_anew(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that slept through more removals than Redis tells of finds none of them."""
    monkeypatch.setattr("dispatcher.cache.index.redis_durable.REMEMBERED", 3)
    one, sleeper = await redis.index(), await redis.index()
    await fill(one, random_units(20))
    assert 20 == len(await found(sleeper, unit(1)))

    for number in range(10):
        await one.remove("alice", SCOPE, [key(number)])

    assert {key(number) for number in range(10, 20)} == set(await found(sleeper, unit(1)))


@pytest.mark.parametrize("redis", [DURABLE], indirect=True)
async def test_one_look_takes_one_bounded_reply(redis: Redis) -> None:
    """A large scope comes in pieces, the oldest first, so that a first look takes no longer than others; the last piece ends it."""
    one = await redis.index(IndexBounds(scope_entries=3000))
    vectors = random_units(2500, seed=9)
    await fill(one, vectors)
    new = await redis.index(IndexBounds(scope_entries=3000))

    first = await found(new, unit(1), count=3000)
    rest = await settled(new, unit(1), 2500)

    assert {key(number) for number in range(1000)} == set(first)
    assert {key(number) for number in range(2500)} == set(rest)


# --- which one it is


def test_without_a_redis_it_is_memory() -> None:
    """No server, no shared index."""
    assert isinstance(open_index(None, "test", IndexBounds()), MemoryIndex)


async def test_small_scopes_are_searched_here(redis: Redis) -> None:
    """Whatever the server can do, numpy is faster up to the measured size."""
    await redis.index()

    assert isinstance(open_index(redis.clients[0], "test", IndexBounds()), DurableIndex)


@pytest.mark.parametrize(
    ("redis", "kind"),
    [pytest.param("matrix", "matrix", marks=needs_redis), pytest.param("sets8", "vectorset", marks=needs_redis8)],
    indirect=["redis"],
)
async def test_large_scopes_are_searched_where_it_is_faster(redis: Redis, kind: str) -> None:
    """The server's own search is taken if it has one, and all verbs go there."""
    await redis.index()
    large = VECTOR_SETS_ABOVE + 1
    index = open_index(redis.clients[0], "test", IndexBounds(scope_entries=large, entries=large))
    await fill(index, [unit(1), unit(0, 1)])
    await index.remove("alice", SCOPE, [key(1)])

    assert isinstance(index, ServersChoice)
    assert (kind, [key(0)]) == ((await index.stats()).kind, await found(index, unit(1)))
    await index.purge("alice")
    assert [] == await found(index, unit(1))
