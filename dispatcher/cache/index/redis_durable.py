"""Likeness by numpy in this process, with Redis as the durable copy that all dispatchers share. Any Redis will do.

A look-up asks Redis what changed in the scope since the last one, in one round trip, and then looks through its own matrix. What a
first look-up does not get into one reply, the next ones bring: of a scope of 10,000 the first forty don't see all. Without Redis
nothing is found, though the matrix is at hand: who can't ask doesn't know what was taken back.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.logs import get_logger
from dispatcher.cache.index import redis_books
from dispatcher.cache.index.redis_books import ADDED, BOOKS, WIDE, Names, who
from dispatcher.cache.index.scopes import IndexBounds, Scopes, Spot
from dispatcher.cache.index.search import Search
from dispatcher.cache.index.vectors import WRITTEN, read, unit, written
from dispatcher.cache.redis_client import RedisClient, Script
from dispatcher.cache.values import Near, StoreStats
from dispatcher.embed.protocol import EmbedderId, Vector

log = get_logger("cache")

REPLY_BYTES = 256 << 10
"""Of vectors in one reply: a scope of 200 in one, and about a millisecond of the loop's time."""

MOST_ROWS = 1000
"""Rows in one reply, however short: Lua takes some thousands of values at once."""

REMEMBERED = 1000
"""Removals of a scope that Redis tells of; a copy that missed more begins anew."""

# A scope is a hash of keys and vectors (rows), their order of arrival (order), what was removed (gone), and meta: `born`, a random
# word for this life of the scope; `version`, the number of its changes, each of which has its number; `floor`, below which removals
# are forgotten. A scope of which the server lost a part begins a new life.
_ADD = Script(
    BOOKS
    + ADDED
    + """
local base, key, vector, born = KEYS[1], ARGV[3], ARGV[4], ARGV[5]
local rows, order, meta = base .. ':rows', base .. ':order', base .. ':meta'
local function shed(of)
  local oldest = redis.call('ZPOPMIN', of .. ':order')[1]
  redis.call('HDEL', of .. ':rows', oldest)
end
if redis.call('HLEN', rows) ~= redis.call('ZCARD', order) or redis.call('EXISTS', meta) == 0 then forget(base) end
redis.call('HSETNX', meta, 'born', born)
redis.call('ZADD', order, redis.call('HINCRBY', meta, 'version', 1), key)
redis.call('HSET', rows, key, vector)
settle(base, KEYS[2], shed, #vector + ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]))
return 1
"""
)

_NEWS = Script("""
local base, born, since, most = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local meta = redis.call('HMGET', base .. ':meta', 'born', 'version', 'floor')
if not meta[1] then return {} end
local version, floor = tonumber(meta[2]), tonumber(meta[3] or 0)
if born == meta[1] and since == version then return {born} end
if born ~= meta[1] or since > version or since < floor then since = 0 end
local gone = redis.call('ZRANGEBYSCORE', base .. ':gone', '(' .. since, '+inf', 'WITHSCORES')
local some = redis.call('ZRANGEBYSCORE', base .. ':order', '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
local keys = {}
for place = 1, #some, 2 do keys[#keys + 1] = some[place] end
local vectors = {}
if #keys > 0 then vectors = redis.call('HMGET', base .. ':rows', unpack(keys)) end
local upto = version
if #keys == most then upto = tonumber(some[#some]) end
return {meta[1], since, upto, version, floor, gone, some, vectors}
""")

_REMOVE = Script(
    BOOKS
    + """
for _, base in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local order, meta, gone = base .. ':order', base .. ':meta', base .. ':gone'
  for place = 4, #ARGV do
    if redis.call('ZREM', order, ARGV[place]) == 1 then
      redis.call('HDEL', base .. ':rows', ARGV[place])
      redis.call('ZADD', gone, redis.call('HINCRBY', meta, 'version', 1), ARGV[place])
    end
  end
  while redis.call('ZCARD', gone) > tonumber(ARGV[3]) do
    redis.call('HSET', meta, 'floor', redis.call('ZPOPMIN', gone)[2])
  end
  local left_ms = redis.call('PTTL', meta)
  if left_ms > 0 then redis.call('PEXPIRE', gone, left_ms) end
  local _, width = booked(base)
  book(base, redis.call('ZCARD', order), width)
end
return 1
"""
)


class DurableIndex:
    """A `VectorIndex` over a Redis of any version. Give it a client that outlives it."""

    def __init__(self, redis: RedisClient, prefix: str, bounds: IndexBounds) -> None:
        self._redis = redis
        self._names = Names(prefix=prefix, kind="matrix")
        self._bounds = bounds
        self._scopes = Scopes(bounds)
        self._search = Search()

    async def nearest(self, tenant: str, scope: str, embedder: EmbedderId, vector: Vector, *, count: int) -> list[Near]:
        """Give the most alike. Raises `ValueError` for what is no vector of that embedder."""
        asked = unit(vector, embedder)
        spot = Spot(tenant, scope, embedder)
        rows = self._scopes.find(spot)
        mark = ("", 0) if rows is None else rows.mark
        most = min(max(REPLY_BYTES // (embedder.dimensions * WRITTEN.itemsize), 1), MOST_ROWS)
        told = await self._redis.script(_NEWS, [self._names.base(tenant, scope, embedder)], [*mark, most])
        self._follow(spot, told)
        rows = self._scopes.find(spot)
        return [] if rows is None else await self._search.nearest(rows, asked, count)

    async def add(self, tenant: str, scope: str, embedder: EmbedderId, vector: Vector, exact: str) -> None:
        """Keep a vector in Redis; look-ups here and elsewhere find it there. Raises `ValueError` for what is no vector of that
        embedder."""
        data = written(unit(vector, embedder))
        names, bounds = self._names, self._bounds
        await self._redis.script(
            _ADD,
            [names.base(tenant, scope, embedder), names.scope(tenant, scope)],
            [
                *(names.root, who(tenant), exact, data, secrets.token_hex(8), WIDE),
                *(bounds.scope_entries, bounds.entries, bounds.ttl_ms),
            ],
        )

    async def remove(self, tenant: str, scope: str, keys: Sequence[str]) -> None:
        """Forget some entries of a scope."""
        self._scopes.remove(tenant, scope, keys)
        names = self._names
        await self._redis.script(_REMOVE, [names.scope(tenant, scope)], [names.root, who(tenant), REMEMBERED, *keys])

    async def purge(self, tenant: str | None) -> None:
        """Forget a tenant's vectors, or all; other dispatchers notice at their next look."""
        self._scopes.purge(tenant)
        await redis_books.purge(self._redis, self._names, tenant)

    async def stats(self) -> StoreStats:
        """Say what Redis keeps."""
        return await redis_books.stats(self._redis, self._names)

    def _follow(self, spot: Spot, told: list[Any]) -> None:
        """Bring the copy of a scope up to what was told. Answers may overtake one another: what is known already is passed over,
        and what leaves a gap is left to the next look-up."""
        if len(told) == 1:
            return
        news = _read_news(told, spot.embedder.dimensions) if told else None
        rows = self._scopes.find(spot)
        if rows is not None and (news is None or not news.continues(*rows.mark)):
            self._scopes.drop(spot)
            rows = None
        seen = 0 if rows is None else rows.mark[1]
        if news is None or news.since > seen:
            return
        self._scopes.remove_at(spot, [key for key, number in news.gone if number > seen])
        rows = self._scopes.find(spot)
        for key, number, vector in news.rows:
            if number > seen and vector is not None:
                rows = self._scopes.add(spot, key, vector)
        if rows is not None:
            rows.mark = (news.born, max(seen, news.upto))


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    """What changed in a scope between two of its versions, `since` and `upto`: keys with the number of their change. What is `gone`
    is told up to `version`, the last there is."""

    born: str
    since: int
    upto: int
    version: int
    floor: int
    gone: list[tuple[str, int]]
    rows: list[tuple[str, int, Vector | None]]

    def continues(self, born: str, seen: int) -> bool:
        """Say whether a copy at that mark becomes right by this, and need not begin anew."""
        return born == self.born and self.floor <= seen <= self.version


def _read_news(told: list[Any], dimensions: int) -> _News:
    """Read what Redis told. Vectors that are none are left out, and logged."""
    born, since, upto, version, floor, gone, some, data = told
    vectors = read(data, dimensions)
    if lost := sum(vector is None for vector in vectors):
        log.warning("cache.vectors.unreadable", count=lost)
    rows = [(*pair, vector) for pair, vector in zip(_pairs(some), vectors, strict=True)]
    life = born.decode(errors="replace")
    return _News(born=life, since=since, upto=upto, version=version, floor=floor, gone=_pairs(gone), rows=rows)


def _pairs(flat: list[bytes]) -> list[tuple[str, int]]:
    return [(key.decode(errors="replace"), int(number)) for key, number in zip(flat[::2], flat[1::2], strict=True)]
