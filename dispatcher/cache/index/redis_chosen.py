"""Which way of searching a Redis is used; it knows no vector."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.cache.index.redis_durable import DurableIndex
from dispatcher.cache.index.redis_vectors import VectorSetIndex
from dispatcher.cache.index.scopes import IndexBounds
from dispatcher.cache.protocols import VectorIndex
from dispatcher.cache.redis_client import RedisClient
from dispatcher.cache.values import Near, StoreStats
from dispatcher.embed.protocol import EmbedderId, Vector

VECTOR_SETS_ABOVE = 25_000
"""Vectors of a scope from which on the server's own search is the faster one: numpy and the way to Redis took 0.18, 0.51 and 1.31
ms among 10,000, 20,000 and 40,000 questions of 256 numbers, and a vector set 0.69, 0.64 and 0.80 ms [2 vCPU, busy]. Below it
numpy is, and it is exact, and an addition costs the server far less."""


class ServersChoice:
    """Vector sets where the server has them, else matrices. Found out once, when it first answers, and the same for all dispatchers
    of one server with the same settings: the two don't see each other's vectors."""

    def __init__(self, redis: RedisClient, prefix: str, bounds: IndexBounds) -> None:
        self._redis = redis
        self._prefix = prefix
        self._bounds = bounds
        self._index: VectorIndex | None = None

    async def nearest(self, tenant: str, scope: str, embedder: EmbedderId, vector: Vector, *, count: int) -> list[Near]:
        """Give the most alike."""
        return await (await self._chosen()).nearest(tenant, scope, embedder, vector, count=count)

    async def add(self, tenant: str, scope: str, embedder: EmbedderId, vector: Vector, exact: str) -> None:
        """Keep a vector."""
        await (await self._chosen()).add(tenant, scope, embedder, vector, exact)

    async def remove(self, tenant: str, scope: str, keys: Sequence[str]) -> None:
        """Forget some entries of a scope."""
        await (await self._chosen()).remove(tenant, scope, keys)

    async def purge(self, tenant: str | None) -> None:
        """Forget a tenant's vectors, or all."""
        await (await self._chosen()).purge(tenant)

    async def stats(self) -> StoreStats:
        """Say what is kept."""
        return await (await self._chosen()).stats()

    async def _chosen(self) -> VectorIndex:
        if self._index is None:
            kind = VectorSetIndex if await self._redis.has("VSIM") else DurableIndex
            self._index = kind(self._redis, self._prefix, self._bounds)
        return self._index


def redis_index(redis: RedisClient, prefix: str, bounds: IndexBounds) -> VectorIndex:
    """Give the index that fits the size that scopes may have."""
    kind = ServersChoice if min(bounds.scope_entries, bounds.entries) > VECTOR_SETS_ABOVE else DurableIndex
    return kind(redis, prefix, bounds)
