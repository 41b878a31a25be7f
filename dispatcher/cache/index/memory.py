"""Likeness in this process alone: what is added is forgotten with it, and other dispatchers never see it."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.cache.index.scopes import IndexBounds, Scopes, Spot
from dispatcher.cache.index.search import Search
from dispatcher.cache.index.vectors import unit
from dispatcher.cache.values import Near, StoreStats
from dispatcher.embed.protocol import EmbedderId, Vector


class MemoryIndex:
    """A `VectorIndex` of matrices. Never raises `CacheUnavailable`."""

    def __init__(self, bounds: IndexBounds) -> None:
        self._scopes = Scopes(bounds)
        self._search = Search()

    async def nearest(self, tenant: str, scope: str, embedder: EmbedderId, vector: Vector, *, count: int) -> list[Near]:
        """Give the most alike. Raises `ValueError` for what is no vector of that embedder."""
        asked = unit(vector, embedder)
        rows = self._scopes.find(Spot(tenant, scope, embedder))
        return [] if rows is None else await self._search.nearest(rows, asked, count)

    async def add(self, tenant: str, scope: str, embedder: EmbedderId, vector: Vector, exact: str) -> None:
        """Keep a vector. Raises `ValueError` for what is no vector of that embedder."""
        self._scopes.add(Spot(tenant, scope, embedder), exact, unit(vector, embedder))

    async def remove(self, tenant: str, scope: str, keys: Sequence[str]) -> None:
        """Forget some entries of a scope."""
        self._scopes.remove(tenant, scope, keys)

    async def purge(self, tenant: str | None) -> None:
        """Forget a tenant's vectors, or all."""
        self._scopes.purge(tenant)

    async def stats(self) -> StoreStats:
        """Say what is kept."""
        scopes = self._scopes
        return StoreStats(kind="memory", entries=scopes.entries, size_bytes=scopes.size_bytes, evicted=scopes.evicted)
