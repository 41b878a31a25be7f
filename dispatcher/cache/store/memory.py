"""Answers in this process, for a dispatcher alone. It knows no Redis.

Who makes room: the least recently used entry of the tenant that holds most, in bytes where the bytes are over their bound and in
entries otherwise; at a tie, of the one whose hash comes last. Whoever holds no more than the bound divided by the number of tenants
never holds most while a bound is exceeded, so no tenant can push out, nor learn of by its own losses, what another one keeps within
that share. A tenant that holds more than its share sees its own oldest entries go when the others' holdings grow: how full the
store is as a whole is no secret.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from common.clock import Clock
from common.logs import get_logger
from dispatcher.cache.store.packing import OVERHEAD_BYTES, Bounds, hashed, pack, summary, unpack
from dispatcher.cache.values import Entry, StoreStats, Summary
from dispatcher.settings.cache import CacheSection

log = get_logger("cache.store")


READ_AT_ONCE = 100
"""Entries that an operator gets without a thread: some milliseconds."""


@dataclass(slots=True)
class _Kept:
    packed: bytes
    size_bytes: int
    until_unix_s: float
    used: int
    hits: int = 0


@dataclass(slots=True)
class _Shelf:
    """What one tenant keeps, the least recently used first."""

    name: str
    kept: OrderedDict[str, _Kept] = field(default_factory=OrderedDict)
    size_bytes: int = 0


class MemoryAnswers:
    """An `AnswerStore`; nothing in it ever waits."""

    def __init__(self, settings: CacheSection, clock: Clock) -> None:
        self._most_entries = settings.entries
        self.tune(settings)
        self._clock = clock
        self._shelves: dict[str, _Shelf] = {}
        self._ends: list[tuple[float, str, str]] = []
        """When which entry expires, the next one first; some are gone or were replaced meanwhile."""
        self._claims: dict[tuple[str, str], tuple[str, float]] = {}
        self._entries = self._size_bytes = self._uses = self._evicted = self._expired = 0

    def tune(self, settings: CacheSection) -> None:
        """Take how long and how large answers are from these settings; those that are kept already stay until one more comes."""
        self._most_bytes, self._ttl_s = settings.size_mb << 20, settings.ttl_s
        self._bounds = Bounds(answer_bytes=settings.answer_kb << 10)

    async def get(self, tenant: str, keys: Sequence[str]) -> list[Entry | None]:
        return [self._read(tenant, key) for key in keys]

    async def used(self, tenant: str, key: str) -> None:
        kept = self._current(tenant, key)
        if kept is not None:
            self._uses += 1
            kept.used = self._uses
            kept.hits += 1
            self._shelves[tenant].kept.move_to_end(key)

    async def put(self, entry: Entry) -> None:
        tenant, key = entry.place.tenant, entry.place.exact
        packed = pack(entry, self._bounds)
        until_s = entry.created_unix_s + self._ttl_s
        if packed is None or len(packed) + OVERHEAD_BYTES > self._most_bytes or until_s <= self._clock.unix_s():
            log.info("cache.left_out", tenant=tenant, id=entry.id)
            return
        self._expire()
        self._drop(tenant, key)
        self._uses += 1
        size_bytes = len(packed) + OVERHEAD_BYTES
        shelf = self._shelves.setdefault(tenant, _Shelf(hashed(tenant)))
        shelf.kept[key] = _Kept(packed, size_bytes, until_s, self._uses)
        heapq.heappush(self._ends, (until_s, tenant, key))
        shelf.size_bytes += size_bytes
        self._entries += 1
        self._size_bytes += size_bytes
        self._make_room()

    async def remove(self, tenant: str, keys: Sequence[str]) -> int:
        return sum(self._drop(tenant, key) for key in keys)

    async def listed(self, tenant: str | None, *, limit: int) -> list[Summary]:
        self._expire()
        rows = sorted(self._rows(tenant), key=lambda row: -row[1].used)[: max(limit, 0)]
        found = [(kept.packed, kept.size_bytes, kept.hits) for _, kept in rows]
        # Reading ten thousand entries takes a quarter of a second, in which no job may stand still.
        return self._read_all(found) if len(found) <= READ_AT_ONCE else await asyncio.to_thread(self._read_all, found)

    def _read_all(self, found: Sequence[tuple[bytes, int, int]]) -> list[Summary]:
        return [summary(unpack(packed, self._bounds), size_bytes, hits) for packed, size_bytes, hits in found]

    async def purge(self, tenant: str | None) -> int:
        tenants = list(self._shelves) if tenant is None else [tenant]
        names = [(one, key) for one in tenants if one in self._shelves for key in self._shelves[one].kept]
        return sum(self._drop(*name) for name in names)

    async def claim(self, tenant: str, key: str, owner: str, lease_s: float) -> bool:
        now_s = self._clock.monotonic()
        holder, until_s = self._claims.get((tenant, key), ("", 0.0))
        if holder not in ("", owner) and until_s > now_s:
            return False
        for name in [name for name, (_, until_s) in self._claims.items() if until_s <= now_s]:
            del self._claims[name]
        self._claims[tenant, key] = (owner, now_s + lease_s)
        return True

    async def release(self, tenant: str, key: str, owner: str) -> None:
        if self._claims.get((tenant, key), ("", 0.0))[0] == owner:
            del self._claims[tenant, key]

    async def stats(self) -> StoreStats:
        self._expire()
        return StoreStats(
            kind="memory",
            entries=self._entries,
            size_bytes=self._size_bytes,
            evicted=self._evicted,
            expired=self._expired,
        )

    def _current(self, tenant: str, key: str) -> _Kept | None:
        kept = self._shelves[tenant].kept.get(key) if tenant in self._shelves else None
        return kept if kept is not None and kept.until_unix_s > self._clock.unix_s() else None

    def _read(self, tenant: str, key: str) -> Entry | None:
        kept = self._current(tenant, key)
        return None if kept is None else unpack(kept.packed, self._bounds)

    def _rows(self, tenant: str | None) -> Iterator[tuple[str, _Kept]]:
        for name, shelf in self._shelves.items():
            if tenant in (None, name):
                yield from shelf.kept.items()

    def _expire(self) -> None:
        now_s = self._clock.unix_s()
        while self._ends and self._ends[0][0] <= now_s:
            until_s, tenant, key = heapq.heappop(self._ends)
            kept = self._shelves[tenant].kept.get(key) if tenant in self._shelves else None
            if kept is not None and kept.until_unix_s == until_s:
                self._expired += self._drop(tenant, key)
        if len(self._ends) > 2 * self._entries + 1024:  # so many were replaced or made room
            self._ends = [
                (kept.until_unix_s, tenant, key)
                for tenant, shelf in self._shelves.items()
                for key, kept in shelf.kept.items()
            ]
            heapq.heapify(self._ends)

    def _drop(self, tenant: str, key: str) -> int:
        """Forget an entry; gives how many there were."""
        shelf = self._shelves.get(tenant)
        kept = shelf.kept.pop(key, None) if shelf is not None else None
        if shelf is None or kept is None:
            return 0
        shelf.size_bytes -= kept.size_bytes
        self._size_bytes -= kept.size_bytes
        self._entries -= 1
        if not shelf.kept:
            del self._shelves[tenant]
        return 1

    def _make_room(self) -> None:
        while (large := self._size_bytes > self._most_bytes) or self._entries > self._most_entries:
            most = max(
                self._shelves,
                key=lambda one: (self._holds(one, large), self._shelves[one].name),
            )
            self._evicted += self._drop(most, next(iter(self._shelves[most].kept)))

    def _holds(self, tenant: str, in_bytes: bool) -> int:
        shelf = self._shelves[tenant]
        return shelf.size_bytes if in_bytes else len(shelf.kept)
