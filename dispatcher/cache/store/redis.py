"""Answers in the Redis that all dispatchers share. It knows neither who asks nor how long one may wait for it.

An entry is one string, read with MGET, that the server itself lets expire. An index beside it keeps bounds and order; it is
changed in scripts only, which the server runs one at a time, whichever dispatcher sends them:

    PREFIX:1:e:OWNER:KEY    the entry
    PREFIX:1:u:OWNER        when each of the tenant's entries was used (microseconds of the server's clock)
    PREFIX:1:m:OWNER        what each takes, and how often it was given
    PREFIX:1:c, PREFIX:1:b  how many entries, and how many bytes, each tenant has
    PREFIX:1:x              when each entry expires
    PREFIX:1:n              how many were evicted, and have expired
    PREFIX:1:k:OWNER:KEY    who makes an answer

OWNER is a hash of the tenant. Who makes room is decided as in `memory`. A server that forgets by itself (`maxmemory-policy`) takes
entries away, or parts of the index. What does not fit is found and mended while putting: the tenant's own counts at once, names
without an entry a few at a time, by age and by lot, and entries without a name on a walk through the server's names, of some steps
each time. Meanwhile the bounds may be missed by as much; what is never found expires.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from common.clock import Clock
from common.errors import CacheUnavailable
from common.logs import get_logger
from dispatcher.cache.redis_client import Part, RedisClient, Script, State
from dispatcher.cache.store.packing import OVERHEAD_BYTES, Bounds, Foreign, Unreadable, hashed, pack, summary, unpack
from dispatcher.cache.values import Entry, StoreStats, Summary
from dispatcher.settings.cache import CacheSection

log = get_logger("cache.store")

VERSION = 1
"""Of the names and the index."""

MOST_LISTED = 20_000
"""Finding these takes the server some tens of milliseconds, in which it does nothing else."""

_LISTED_AT_ONCE = 16
_PURGED_AT_ONCE = 200
_SCANNED_AT_ONCE = 1000
_MOST_SCANS = 100_000
"""A hundred million names; a server that has more is not ours alone."""

_PRELUDE = """
local p = ARGV[1]
local function num(value) return tonumber(value) or 0 end
local function now()
  local time = redis.call('TIME')
  return num(time[1]) * 1000000 + num(time[2])
end
-- A tenant without its sum of bytes is left without one, so that `mend` sees it.
local function count(owner, entries, bytes)
  local has = num(redis.call('ZINCRBY', p .. 'c', entries, owner))
  if has <= 0 then
    redis.call('ZREM', p .. 'c', owner)
    redis.call('ZREM', p .. 'b', owner)
  elseif has == entries then
    redis.call('ZADD', p .. 'b', bytes, owner)
  elseif redis.call('ZSCORE', p .. 'b', owner) then
    redis.call('ZINCRBY', p .. 'b', bytes, owner)
  end
end
-- Forget one entry; gives whether there was one.
local function drop(owner, key)
  local was = redis.call('DEL', p .. 'e:' .. owner .. ':' .. key)
  local meta = redis.call('HGET', p .. 'm:' .. owner, key)
  redis.call('ZREM', p .. 'u:' .. owner, key)
  redis.call('ZREM', p .. 'x', owner .. ':' .. key)
  if meta then
    redis.call('HDEL', p .. 'm:' .. owner, key)
    count(owner, -1, -num(string.match(meta, '^%d+')))
  end
  return was
end
-- Count a tenant's entries anew where its parts of the index contradict one another: the sizes are what is believed.
local function mend(owner)
  local sizes, uses = p .. 'm:' .. owner, p .. 'u:' .. owner
  local entries = redis.call('HLEN', sizes)
  if entries == redis.call('ZCARD', uses) and entries == num(redis.call('ZSCORE', p .. 'c', owner))
      and (entries == 0 or redis.call('ZSCORE', p .. 'b', owner)) then
    return
  end
  local bytes, known, all = 0, {}, redis.call('HGETALL', sizes)
  for at = 1, #all, 2 do
    known[all[at]] = true
    bytes = bytes + num(string.match(all[at + 1], '^%d+'))
    redis.call('ZADD', uses, 'NX', 0, all[at])
  end
  for _, key in ipairs(redis.call('ZRANGE', uses, 0, -1)) do
    if not known[key] then redis.call('ZREM', uses, key) end
  end
  redis.call('ZREM', p .. 'c', owner)
  redis.call('ZREM', p .. 'b', owner)
  if entries > 0 then
    redis.call('ZADD', p .. 'c', entries, owner)
    redis.call('ZADD', p .. 'b', bytes, owner)
  end
end
local function sum(name)
  local all, total = redis.call('ZRANGE', p .. name, 0, -1, 'WITHSCORES'), 0
  for at = 2, #all, 2 do total = total + num(all[at]) end
  return total
end
local function expire(most)
  local gone = redis.call('ZRANGEBYSCORE', p .. 'x', '-inf', now() / 1000, 'LIMIT', 0, most)
  for _, name in ipairs(gone) do
    local owner, key = string.match(name, '^([^:]*):(.*)$')
    drop(owner, key)
  end
  if #gone > 0 then redis.call('HINCRBY', p .. 'n', 'expired', #gone) end
end
local function stay(owner, ttl_ms)
  for _, name in ipairs({'u:' .. owner, 'm:' .. owner, 'x', 'c', 'b', 'n'}) do
    if redis.call('PTTL', p .. name) < ttl_ms then redis.call('PEXPIRE', p .. name, 2 * ttl_ms) end
  end
end
-- Have an entry that is there be in the index.
local function enter(owner, key, overhead, ttl_ms)
  local name = p .. 'e:' .. owner .. ':' .. key
  local size = redis.call('STRLEN', name) + overhead
  redis.call('HSET', p .. 'm:' .. owner, key, size .. ' 0')
  redis.call('ZADD', p .. 'u:' .. owner, now(), key)
  redis.call('ZADD', p .. 'x', math.floor(now() / 1000) + redis.call('PTTL', name), owner .. ':' .. key)
  count(owner, 1, size)
  stay(owner, ttl_ms)
end
"""

_PUT = Script(
    _PRELUDE
    + """
-- Look whether some entries of the index are there still; gives how many the server has taken.
local function doubt(owner)
  local uses, taken = p .. 'u:' .. owner, 0
  local some = redis.call('ZRANGE', uses, 0, 1)
  for _, key in ipairs(redis.call('ZRANDMEMBER', uses, 6)) do table.insert(some, key) end
  for _, key in ipairs(some) do
    if redis.call('EXISTS', p .. 'e:' .. owner .. ':' .. key) == 0 and redis.call('ZSCORE', uses, key) then
      drop(owner, key)
      taken = taken + 1
    end
  end
  return taken
end
-- Go on looking through the server's names for entries that the index has lost, a few at a time.
local function adopt(overhead, ttl_ms)
  local all = p .. 'e:'
  local step = redis.call('SCAN', redis.call('HGET', p .. 'n', 'cursor') or '0', 'COUNT', 8)
  redis.call('HSET', p .. 'n', 'cursor', step[1])
  for _, name in ipairs(step[2]) do
    if string.sub(name, 1, #all) == all then
      local owner, key = string.match(string.sub(name, #all + 1), '^([^:]*):(.*)$')
      if owner and redis.call('HEXISTS', p .. 'm:' .. owner, key) == 0 and redis.call('TYPE', name)['ok'] == 'string' then
        mend(owner)
        enter(owner, key, overhead, ttl_ms)
      end
    end
  end
end
local owner, key, packed, px = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local overhead, ttl_ms, most_entries, most_bytes = num(ARGV[6]), num(ARGV[7]), num(ARGV[8]), num(ARGV[9])
local name = p .. 'e:' .. owner .. ':' .. key
-- First of all, since a server that is full refuses this one, and then nothing has changed.
redis.call('SET', name, packed, 'PX', px)
local meta = redis.call('HGET', p .. 'm:' .. owner, key)
if meta then count(owner, -1, -num(string.match(meta, '^%d+'))) end
enter(owner, key, overhead, ttl_ms)
mend(owner)
expire(32)
local evicted = doubt(owner)
adopt(overhead, ttl_ms)
local entries, bytes = sum('c'), sum('b')
for _ = 1, 1000 do
  if entries <= most_entries and bytes <= most_bytes then break end
  local most = redis.call('ZREVRANGE', p .. (bytes > most_bytes and 'b' or 'c'), 0, 0)[1]
  local oldest = most and redis.call('ZRANGE', p .. 'u:' .. most, 0, 0)[1]
  if oldest and redis.call('HEXISTS', p .. 'm:' .. most, oldest) == 1 then
    drop(most, oldest)
    evicted = evicted + 1
  elseif most then
    mend(most)
  else
    break
  end
  entries, bytes = sum('c'), sum('b')
end
if evicted > 0 then redis.call('HINCRBY', p .. 'n', 'evicted', evicted) end
stay(owner, ttl_ms)
return evicted
"""
)

_USED = Script(
    _PRELUDE
    + """
local owner, key = ARGV[2], ARGV[3]
if redis.call('TYPE', p .. 'e:' .. owner .. ':' .. key)['ok'] ~= 'string' then return drop(owner, key) end
local meta = redis.call('HGET', p .. 'm:' .. owner, key)
if not meta then
  enter(owner, key, num(ARGV[4]), num(ARGV[5]))
  mend(owner)
  meta = redis.call('HGET', p .. 'm:' .. owner, key)
end
local size, hits = string.match(meta, '^(%d+) (%d+)$')
redis.call('HSET', p .. 'm:' .. owner, key, (size or 0) .. ' ' .. (num(hits) + 1))
redis.call('ZADD', p .. 'u:' .. owner, now(), key)
return 1
"""
)

_REMOVE = Script(
    _PRELUDE
    + """
local gone = 0
for at = 3, #ARGV do gone = gone + drop(ARGV[2], ARGV[at]) end
return gone
"""
)

_PURGE_SOME = Script(
    _PRELUDE
    + """
local gone, owner = 0, ARGV[2]
if owner == '' then owner = redis.call('ZRANGE', p .. 'c', 0, 0)[1] end
if not owner then return {0, 0} end
mend(owner)
for _, key in ipairs(redis.call('ZRANGE', p .. 'u:' .. owner, 0, num(ARGV[3]) - 1)) do gone = gone + drop(owner, key) end
if ARGV[2] == '' then return {redis.call('ZCARD', p .. 'c'), gone} end
return {redis.call('ZCARD', p .. 'u:' .. owner), gone}
"""
)

_LATEST = Script(
    _PRELUDE
    + """
local owners, rows = {ARGV[2]}, {}
if ARGV[2] == '' then owners = redis.call('ZREVRANGE', p .. 'c', 0, 999) end
for _, owner in ipairs(owners) do
  local uses = redis.call('ZREVRANGE', p .. 'u:' .. owner, 0, num(ARGV[3]) - 1, 'WITHSCORES')
  for at = 1, #uses, 2 do
    table.insert(rows, {num(uses[at + 1]), owner, uses[at]})
  end
end
table.sort(rows, function(one, other) return one[1] > other[1] end)
local latest = {}
for at = 1, math.min(#rows, num(ARGV[3])) do
  local _, owner, key = unpack(rows[at])
  table.insert(latest, {owner, key, redis.call('HGET', p .. 'm:' .. owner, key)})
end
return latest
"""
)

_STATS = Script(
    _PRELUDE
    + """
expire(1000)
for _, owner in ipairs(redis.call('ZRANGE', p .. 'c', 0, 999)) do mend(owner) end
local told = redis.call('HMGET', p .. 'n', 'evicted', 'expired')
return {sum('c'), sum('b'), num(told[1]), num(told[2])}
"""
)

_CLAIM = Script(
    """
local holder = redis.pcall('GET', KEYS[1])
if type(holder) == 'string' and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
)

_RELEASE = Script(
    """
if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
)

_TYPES = Script(
    _PRELUDE
    + """
local function be(kind, name)
  local is = redis.call('TYPE', p .. name)['ok']
  if is ~= 'none' and is ~= kind then redis.call('DEL', p .. name) end
end
be('zset', 'x') be('zset', 'c') be('zset', 'b') be('hash', 'n')
local owners = redis.call('ZRANGE', p .. 'c', 0, -1)
table.insert(owners, ARGV[2])
for _, owner in ipairs(owners) do be('zset', 'u:' .. owner) be('hash', 'm:' .. owner) end
return 0
"""
)
"""Takes away what stands in the index's place and is of another type."""

Row: TypeAlias = tuple[str, str, bytes | None]


class RedisAnswers:
    """An `AnswerStore`."""

    def __init__(self, client: RedisClient, settings: CacheSection, clock: Clock) -> None:
        self._client = client
        self._prefix = f"{settings.prefix}:{VERSION}:"
        self._most_entries = settings.entries
        self.tune(settings)
        self._clock = clock
        self._told = False

    def tune(self, settings: CacheSection) -> None:
        """Take how long and how large answers are from these settings; those that are kept already stay until one more comes."""
        self._most_bytes, self._ttl_s = settings.size_mb << 20, settings.ttl_s
        self._bounds = Bounds(answer_bytes=settings.answer_kb << 10)

    async def get(self, tenant: str, keys: Sequence[str]) -> list[Entry | None]:
        if not keys:
            return []
        whose = hashed(tenant)
        return await self._sound([(whose, key) for key in keys])

    async def used(self, tenant: str, key: str) -> None:
        await self._script(_USED, hashed(tenant), key, OVERHEAD_BYTES, self._ttl_ms)

    async def put(self, entry: Entry) -> None:
        tenant, key = entry.place.tenant, entry.place.exact
        packed = pack(entry, self._bounds)
        left_ms = int(min(self._ttl_s, entry.created_unix_s + self._ttl_s - self._clock.unix_s()) * 1000)
        if packed is None or len(packed) + OVERHEAD_BYTES > self._most_bytes or left_ms <= 0:
            log.info("cache.left_out", tenant=tenant, id=entry.id)
            return
        bounds = (OVERHEAD_BYTES, self._ttl_ms, self._most_entries, self._most_bytes)
        await self._script(_PUT, hashed(tenant), key, packed, left_ms, *bounds)

    async def remove(self, tenant: str, keys: Sequence[str]) -> int:
        return int(await self._script(_REMOVE, hashed(tenant), *keys)) if keys else 0

    async def listed(self, tenant: str | None, *, limit: int) -> list[Summary]:
        whose = "" if tenant is None else hashed(tenant)
        rows: list[Row] = [
            (name.decode(), key.decode(), meta)
            for name, key, meta in await self._script(_LATEST, whose, max(0, min(limit, MOST_LISTED)))
        ]
        found: list[Summary] = []
        for start in range(0, len(rows), _LISTED_AT_ONCE):
            found += await self._summaries(rows[start : start + _LISTED_AT_ONCE])
        return found

    async def purge(self, tenant: str | None) -> int:
        """Forget all entries, those as well that the index has lost sight of. Raises `CacheUnavailable` when the server has more
        names than can be looked through."""
        whose = "" if tenant is None else hashed(tenant)
        gone = 0
        for _ in range(_MOST_SCANS):
            left, dropped = await self._script(_PURGE_SOME, whose, _PURGED_AT_ONCE)
            gone += int(dropped)
            if not left:
                return gone + await self._purge_lost(whose)
        raise self._unfinished(gone)

    async def claim(self, tenant: str, key: str, owner: str, lease_s: float) -> bool:
        lease_ms = max(1, int(lease_s * 1000))
        return bool(await self._client.script(_CLAIM, [self._claim_name(tenant, key)], [owner, lease_ms]))

    async def release(self, tenant: str, key: str, owner: str) -> None:
        await self._client.script(_RELEASE, [self._claim_name(tenant, key)], [owner])

    async def stats(self) -> StoreStats:
        entries, size_bytes, evicted, expired = await self._script(_STATS)
        return StoreStats(
            kind="redis",
            entries=int(entries),
            size_bytes=int(size_bytes),
            evicted=int(evicted),
            expired=int(expired),
            detail=f"Redis at {self._client.where}",
        )

    @property
    def _ttl_ms(self) -> int:
        return max(1, int(self._ttl_s * 1000))

    def _name(self, whose: str, key: str) -> str:
        return f"{self._prefix}e:{whose}:{key}"

    def _claim_name(self, tenant: str, key: str) -> str:
        return f"{self._prefix}k:{hashed(tenant)}:{key}"

    def _lives(self, entry: Entry) -> bool:
        """The server lets it expire too, but may have been given it by a dispatcher that keeps answers for longer."""
        return entry.created_unix_s + self._ttl_s > self._clock.unix_s()

    async def _script(self, script: Script, *arguments: Part) -> Any:
        """Run a script on the index; where something of another type stands in its place, that makes room."""
        told = [self._prefix, *arguments]
        try:
            return await self._client.script(script, [], told)
        except CacheUnavailable as error:
            if error.details.get("reply") != "WRONGTYPE":
                raise
        await self._client.script(_TYPES, [], told[:2] if len(told) > 1 else [*told, ""])
        return await self._client.script(script, [], told)

    async def _sound(self, names: Sequence[tuple[str, str]]) -> list[Entry | None]:
        """Give the entries that lie under some names and belong there; what does not is taken away."""
        (values,) = await self._client.run(("MGET", *(self._name(*name) for name in names)))
        entries: list[Entry | None] = []
        for (whose, key), value in zip(names, values, strict=True):
            entry = None
            try:
                entry = self._read(value, whose, key)
            except Foreign as error:
                self._tell(error)
            except Unreadable as error:
                self._tell(error)
                await self._script(_REMOVE, whose, key)
            entries.append(entry)
        return entries

    def _read(self, value: bytes | None, whose: str, key: str) -> Entry | None:
        """Give an entry that is current. Raises `Unreadable`, also for one that lies under another's name."""
        if value is None:
            return None
        entry = unpack(value, self._bounds)
        if (hashed(entry.place.tenant), entry.place.exact) != (whose, key):
            raise Unreadable("it is another entry than its name says")
        return entry if self._lives(entry) else None

    def _tell(self, error: Unreadable) -> None:
        if not self._told:
            self._told = True
            log.warning("cache.unreadable", where=self._client.where, error=error.message)

    async def _summaries(self, rows: Sequence[Row]) -> list[Summary]:
        entries = await self._sound([(whose, key) for whose, key, _ in rows])
        found = [
            (entry, *_figures(meta)) for entry, (_, _, meta) in zip(entries, rows, strict=True) if entry is not None
        ]
        return [summary(*one) for one in found]

    async def _purge_lost(self, whose: str) -> int:
        pattern = _ESCAPED.sub(r"\\\g<0>", f"{self._prefix}e:{whose}") + "*"
        cursor, gone = b"0", 0
        for _ in range(_MOST_SCANS):
            ((cursor, names),) = await self._client.run(("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED_AT_ONCE))
            if names:
                gone += (await self._client.run(("DEL", *names)))[0]
            if cursor == b"0":
                return gone
        raise self._unfinished(gone)

    def _unfinished(self, gone: int) -> CacheUnavailable:
        return CacheUnavailable(
            f"Redis at {self._client.where} has too much to look through: {gone} entries are forgotten, purge again",
            state=State.AWAY,
        )


def _figures(meta: bytes | None) -> tuple[int, int]:
    """Give an entry's size and its hits."""
    size, _, hits = (meta or b"").partition(b" ")
    return int(size) if size.isdigit() else 0, int(hits) if hits.isdigit() else 0


_ESCAPED = re.compile(r"[\\*?\[\]^]")
