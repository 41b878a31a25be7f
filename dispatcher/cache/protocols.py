"""What the cache needs of whoever keeps answers and vectors; it knows no store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dispatcher.cache.values import Entry, Near, StoreStats, Summary
from dispatcher.embed.protocol import EmbedderId, Vector


class AnswerStore(Protocol):
    """Keeps answers by tenant and key, for as long as its owner set, the least recently used making room first.

    Every method may raise `CacheUnavailable`, and is called with a bound on its time: cancelling one leaves the store whole.
    """

    async def get(self, tenant: str, keys: Sequence[str]) -> list[Entry | None]:
        """Give the entries of some keys, in their order, in one round trip; `None` for each that is not there, or has expired, or
        can't be read. Looking is not using."""
        ...

    async def used(self, tenant: str, key: str) -> None:
        """Note that an entry was given: it is the last to make room now, and its hits go up by one."""
        ...

    async def put(self, entry: Entry) -> None:
        """Keep an entry, in place of one under the same key. One that is too large for the bounds is left out."""
        ...

    async def remove(self, tenant: str, keys: Sequence[str]) -> int:
        """Forget some entries; gives how many there were."""
        ...

    async def listed(self, tenant: str | None, *, limit: int) -> list[Summary]:
        """Give the entries of a tenant, or of all, the latest used first."""
        ...

    async def purge(self, tenant: str | None) -> int:
        """Forget all entries of a tenant, or of all; gives how many there were."""
        ...

    async def claim(self, tenant: str, key: str, owner: str, lease_s: float) -> bool:
        """Say that `owner` makes the answer under a key; False while another's claim holds. Claiming again renews the lease."""
        ...

    async def release(self, tenant: str, key: str, owner: str) -> None:
        """Give up a claim, if it is still held by `owner`."""
        ...

    async def stats(self) -> StoreStats:
        """Say what is kept."""
        ...


class VectorIndex(Protocol):
    """Finds, inside one scope, the entries whose questions are like another one. Vectors of different embedders never meet: their
    identity is part of every key.

    Every method may raise `CacheUnavailable`, and is called with a bound on its time.
    """

    async def nearest(self, tenant: str, scope: str, embedder: EmbedderId, vector: Vector, *, count: int) -> list[Near]:
        """Give the most alike, best first."""
        ...

    async def add(self, tenant: str, scope: str, embedder: EmbedderId, vector: Vector, exact: str) -> None:
        """Have an entry be found. A scope that is full forgets its oldest."""
        ...

    async def remove(self, tenant: str, scope: str, keys: Sequence[str]) -> None:
        """Have some entries of a scope not be found any more, whatever embedder their vectors are of."""
        ...

    async def purge(self, tenant: str | None) -> None:
        """Forget all vectors of a tenant, or of all."""
        ...

    async def stats(self) -> StoreStats:
        """Say what is kept: `entries` are vectors."""
        ...
