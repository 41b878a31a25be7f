"""Which index is used: this process's own, or the one in the Redis that all share; it knows no vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.cache.index.memory import MemoryIndex
from dispatcher.cache.index.scopes import IndexBounds
from dispatcher.cache.protocols import VectorIndex

if TYPE_CHECKING:
    from dispatcher.cache.redis_client import RedisClient


def open_index(redis: RedisClient | None, prefix: str, bounds: IndexBounds) -> VectorIndex:
    """Give the index that fits: of this process alone without a Redis, and with one by the size that scopes may have."""
    if redis is None:
        return MemoryIndex(bounds)
    from dispatcher.cache.index.redis_chosen import redis_index  # noqa: PLC0415  # its library is slow to load

    return redis_index(redis, prefix, bounds)
