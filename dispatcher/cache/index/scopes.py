"""All scopes that this process holds, by tenant, scope and embedder: bounded, and fair between tenants. It knows no Redis."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dispatcher.cache.index.rows import Rows
from dispatcher.embed.protocol import EmbedderId, Vector


@dataclass(slots=True, kw_only=True)
class IndexBounds:
    """`scope_entries`: vectors of a scope at most; `entries`: of all together, which bounds the number of scopes as well, since
    none is empty; `ttl_s`: how long a scope is kept in Redis after what was added last."""

    scope_entries: int = 200
    entries: int = 10_000
    ttl_s: float = 3600.0

    @property
    def ttl_ms(self) -> int:
        """The same as Redis takes it."""
        return max(int(self.ttl_s * 1000), 1)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where vectors are kept that may be compared with one another."""

    tenant: str
    scope: str
    embedder: EmbedderId


Shelf = OrderedDict[str, dict[EmbedderId, Rows]]
"""A tenant's scopes, the least recently used first."""


class Scopes:
    """Matrices by `Spot`. When all together are over the bound, the tenant that holds most gives way: the scope that it used least
    recently goes whole, or, if that is the one that grows, its oldest row."""

    def __init__(self, bounds: IndexBounds) -> None:
        self.entries = 0
        self.evicted = 0
        self._bounds = bounds
        self._shelves: dict[str, Shelf] = {}
        self._held: dict[str, int] = {}

    @property
    def size_bytes(self) -> int:
        """What they take in memory."""
        return sum(
            rows.size_bytes for shelf in self._shelves.values() for kinds in shelf.values() for rows in kinds.values()
        )

    def find(self, spot: Spot) -> Rows | None:
        """Give a scope's vectors if there are any. Looking is using."""
        shelf = self._shelves.get(spot.tenant)
        if shelf is None or spot.scope not in shelf:
            return None
        shelf.move_to_end(spot.scope)
        return shelf[spot.scope].get(spot.embedder)

    def add(self, spot: Spot, key: str, vector: Vector) -> Rows:
        """Keep a vector, and give the scope's."""
        shelf = self._shelves.setdefault(spot.tenant, Shelf())
        kinds = shelf.setdefault(spot.scope, {})
        shelf.move_to_end(spot.scope)
        rows = kinds.get(spot.embedder)
        if rows is None:
            most = min(self._bounds.scope_entries, self._bounds.entries)
            rows = kinds[spot.embedder] = Rows(spot.embedder.dimensions, most)
        before = len(rows)
        self.evicted += rows.add(key, vector)
        self._count(spot.tenant, len(rows) - before)
        while self.entries > self._bounds.entries:
            self._make_room(spot)
        return rows

    def remove(self, tenant: str, scope: str, keys: Sequence[str]) -> None:
        """Forget some keys of a scope, of all embedders."""
        for spot, _ in list(self._of(tenant, scope)):
            self.remove_at(spot, keys)

    def remove_at(self, spot: Spot, keys: Sequence[str]) -> None:
        """Forget some keys of one embedder in a scope."""
        rows = self._shelves.get(spot.tenant, Shelf()).get(spot.scope, {}).get(spot.embedder)
        if rows is None:
            return
        self._count(spot.tenant, -sum(rows.remove(key) for key in keys))
        if not len(rows):
            self.drop(spot)

    def drop(self, spot: Spot) -> int:
        """Forget a scope's vectors of one embedder; gives how many."""
        kinds = self._shelves.get(spot.tenant, Shelf()).get(spot.scope, {})
        rows = kinds.pop(spot.embedder, None)
        if rows is None:
            return 0
        count = len(rows)
        rows.clear()
        if not kinds:
            del self._shelves[spot.tenant][spot.scope]
        self._count(spot.tenant, -count)
        return count

    def purge(self, tenant: str | None) -> None:
        """Forget all of a tenant, or of all."""
        for name in [tenant] if tenant is not None else list(self._shelves):
            for scope in list(self._shelves.get(name, Shelf())):
                for spot, _ in list(self._of(name, scope)):
                    self.drop(spot)

    def _of(self, tenant: str, scope: str) -> Iterator[tuple[Spot, Rows]]:
        for embedder, rows in self._shelves.get(tenant, Shelf()).get(scope, {}).items():
            yield Spot(tenant, scope, embedder), rows

    def _make_room(self, growing: Spot) -> None:
        tenant = max(self._held, key=self._held.__getitem__)
        scope = next(iter(self._shelves[tenant]))
        for spot, rows in list(self._of(tenant, scope)):
            if spot != growing:
                self.evicted += self.drop(spot)
                return
            if len(self._shelves[tenant][scope]) == 1:
                rows.forget_oldest()
                self._count(tenant, -1)
                self.evicted += 1

    def _count(self, tenant: str, more: int) -> None:
        self.entries += more
        held = self._held.get(tenant, 0) + more
        if held or self._shelves.get(tenant):
            self._held[tenant] = held
        else:
            self._held.pop(tenant, None)
            self._shelves.pop(tenant, None)
