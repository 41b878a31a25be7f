"""What every index in Redis has in common: how its keys are called, and the books that bound it. It knows no vector.

The books say how many vectors each scope holds, so that all together stay under a bound: the tenant that holds most gives way, with
the scope that it added to least recently. Redis lets scopes expire by itself; the books notice when they come by. A server that
drops keys for want of memory may drop a page of them: then less is known than is kept, until that expires.

The scripts name keys that they find in the books, so they need one server (or a primary and its replicas), and no Redis Cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

from dispatcher.cache.redis_client import Part, RedisClient, Script
from dispatcher.cache.values import StoreStats
from dispatcher.embed.protocol import EmbedderId

LAYOUT = 1
"""Of the keys; another one leaves what was kept to expire."""

WIDE = 980
"""What a vector takes in Redis beside its numbers: its key, twice, its place in the order, and what memory is rounded up by. 2,000
bytes in all with 256 numbers in a scope of 1,000, and 3,100 where it is the only one [used_memory, 7.0 and 8.0]."""

SWEEP = 1000
"""Keys that one step of a sweep looks at: about a millisecond of the server's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Keys of one kind of index. No two tenants, scopes or embedders share one, whatever they are called."""

    prefix: str
    kind: str

    @property
    def root(self) -> str:
        return f"{self.prefix}:near:{LAYOUT}:{self.kind}"

    def scope(self, tenant: str, scope: str) -> str:
        """Name the set of a scope's bases: one for each embedder."""
        return f"{self.root}:at:{who(tenant)}:{blake2b(scope.encode(), digest_size=16).hexdigest()}"

    def base(self, tenant: str, scope: str, embedder: EmbedderId) -> str:
        """Name what the keys of one embedder's vectors in a scope begin with."""
        return f"{self.scope(tenant, scope)}:{quote(str(embedder), safe='')}"

    def pattern(self, tenant: str | None) -> str:
        """Match all keys of a tenant's vectors, or all keys there are."""
        root = "".join(f"\\{sign}" if sign in "\\*?[]^" else sign for sign in self.root)
        return f"{root}:*" if tenant is None else f"{root}:at:{who(tenant)}:*"


def who(tenant: str) -> str:
    """Write a tenant's name so that it ends where it ends, and matches nobody else's."""
    return quote(tenant, safe="")


BOOKS = """
local ROOT, WHO = ARGV[1], ARGV[2]
local HELD, SIZES, TENANTS, ENDS = ROOT .. ':held', ROOT .. ':sizes', ROOT .. ':tenants', ROOT .. ':ends'

local function uses(who) return ROOT .. ':uses:' .. who end

local function owner(base) return string.match(base, ':at:([^:]*):[^:]*:[^:]*$') end

local function forget(base)
  redis.call('UNLINK', base .. ':meta', base .. ':rows', base .. ':order', base .. ':gone', base .. ':set')
end

local function booked(base)
  local count, width = string.match(redis.call('HGET', SIZES, base) or '', '^(%d+):(%d+)$')
  return tonumber(count) or 0, tonumber(width) or 0
end

local function book(base, count, width)
  local who, was, wide = owner(base), booked(base)
  if count > 0 then
    redis.call('HSET', SIZES, base, string.format('%d:%d', count, width))
  else
    redis.call('HDEL', SIZES, base)
    redis.call('ZREM', uses(who), base)
    redis.call('ZREM', ENDS, base)
  end
  redis.call('HINCRBY', HELD, 'entries', count - was)
  redis.call('HINCRBY', HELD, 'bytes', count * width - was * wide)
  if tonumber(redis.call('ZINCRBY', TENANTS, count - was, who)) <= 0 then redis.call('ZREM', TENANTS, who) end
end

local function strike(base, why)
  redis.call('HINCRBY', HELD, why, (booked(base)))
  forget(base)
  book(base, 0, 0)
end
"""
"""Arguments of every script: the root of all keys, and the tenant as it is written in them."""

ADDED = """
-- What follows an addition: `shed` takes the oldest vector of a scope away.
local function settle(base, at, shed, width, scope_entries, entries, ttl_ms)
  local time = redis.call('TIME')
  local now_us = time[1] * 1000000 + time[2]
  local order = base .. ':order'
  while redis.call('ZCARD', order) > scope_entries do
    shed(base)
    redis.call('HINCRBY', HELD, 'evicted', 1)
  end
  redis.call('SADD', at, base)
  redis.call('ZADD', uses(WHO), now_us, base)
  redis.call('ZADD', ENDS, now_us + ttl_ms * 1000, base)
  book(base, redis.call('ZCARD', order), width)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', now_us, 'LIMIT', 0, 20)) do strike(old, 'expired') end
  for _ = 1, 100 do
    if tonumber(redis.call('HGET', HELD, 'entries') or 0) <= entries then break end
    local most = redis.call('ZREVRANGE', TENANTS, 0, 0)[1]
    local oldest = most and redis.call('ZRANGE', uses(most), 0, 0)[1] or redis.call('ZRANGE', ENDS, 0, 0)[1]
    if not oldest then -- a page is lost: the books begin anew
      redis.call('DEL', HELD, SIZES, TENANTS)
    elseif oldest == base then
      shed(base)
      redis.call('HINCRBY', HELD, 'evicted', 1)
      book(base, redis.call('ZCARD', order), width)
    else
      strike(oldest, 'evicted')
    end
  end
  for _, part in ipairs({':meta', ':rows', ':order', ':gone', ':set'}) do redis.call('PEXPIRE', base .. part, ttl_ms) end
  for _, key in ipairs({at, HELD, SIZES, TENANTS, ENDS}) do redis.call('PEXPIRE', key, ttl_ms) end
  redis.call('PEXPIRE', uses(WHO), 2 * ttl_ms) -- others' additions keep the rest alive, and may strike what is in here later
end
"""

_PURGE = Script(
    BOOKS
    + """
for _, base in ipairs(redis.call('ZRANGE', uses(WHO), 0, -1)) do
  forget(base)
  book(base, 0, 0)
end
redis.call('UNLINK', uses(WHO))
return 1
"""
)


async def purge(redis: RedisClient, names: Names, tenant: str | None) -> None:
    """Forget all of a tenant, or of all: what is in the books at once, then whatever else is called so."""
    if tenant is not None:
        await redis.script(_PURGE, [], [names.root, who(tenant)])
    cursor: Part = b"0"
    while True:
        cursor, found = (await redis.run(("SCAN", cursor, "MATCH", names.pattern(tenant), "COUNT", SWEEP)))[0]
        if found:
            await redis.run(("UNLINK", *found))
        if cursor == b"0":
            return


async def stats(redis: RedisClient, names: Names) -> StoreStats:
    """Read the books."""
    (held,) = await redis.run(("HMGET", f"{names.root}:held", "entries", "bytes", "evicted", "expired"))
    entries, size_bytes, evicted, expired = (max(_number(one), 0) for one in held)
    return StoreStats(kind=names.kind, entries=entries, size_bytes=size_bytes, evicted=evicted, expired=expired)


def _number(told: Any) -> int:
    return int(told or 0)
