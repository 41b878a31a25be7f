"""What the shelter counts as a failure, and whose budget is spent by what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np

from common.clock import LoopClock
from common.errors import CacheUnavailable
from dispatcher.cache.store import MemoryAnswers, Shelter
from dispatcher.cache.values import Entry, Near, StoreStats
from dispatcher.embed.protocol import EmbedderId, Vector
from tests.answers import HandClock, entry, key, settings

MINI = EmbedderId(name="mini", version="1", dimensions=2)
AMPLE_S = 20.0


class Lame(MemoryAnswers):
    """Answers as long as `limps` is not set; then it takes for ever, or blocks the loop for so long."""

    def __init__(self) -> None:
        super().__init__(settings(), HandClock())
        self.limps = False
        self.blocks_s = 0.0
        self.asked = 0

    async def get(self, tenant: str, keys: Sequence[str]) -> list[Entry | None]:
        self.asked += 1
        if self.limps:
            await asyncio.Event().wait()
        if self.blocks_s:
            time.sleep(self.blocks_s)  # noqa: ASYNC251  # a loop that is busy with something else
            await asyncio.sleep(0.001)
        return await super().get(tenant, keys)


class Broken:
    """A `VectorIndex` that can't do anything."""

    async def nearest(self, tenant: str, scope: str, embedder: EmbedderId, vector: Vector, *, count: int) -> list[Near]:
        raise CacheUnavailable("no vectors today", state="refused")

    async def add(self, tenant: str, scope: str, embedder: EmbedderId, vector: Vector, exact: str) -> None:
        raise CacheUnavailable("no vectors today", state="refused")

    async def remove(self, tenant: str, scope: str, keys: Sequence[str]) -> None:
        raise CacheUnavailable("no vectors today", state="refused")

    async def purge(self, tenant: str | None) -> None:
        raise CacheUnavailable("no vectors today", state="refused")

    async def stats(self) -> StoreStats:
        raise CacheUnavailable("no vectors today", state="refused")


async def test_vectors_fail_alone() -> None:
    """Where likeness is out of order, the very same question is still answered."""
    shelter = Shelter(Lame(), Broken(), kind="memory", budget_s=AMPLE_S, clock=LoopClock())
    await shelter.put(entry())
    vector = np.array([1.0, 0.0], dtype=np.float32)
    alike = [await shelter.request().nearest("alice", "s", MINI, vector, count=3) for _ in range(5)]
    await shelter.add("alice", "s", MINI, vector, key("one"))
    await shelter.unlink("alice", "s", [key("one")])

    assert ([[]] * 5, [entry()]) == (alike, await shelter.request().get("alice", [key("one")]))
    assert [("answers", "open"), ("vectors", "refused")] == [(one.part, one.state) for one in shelter.health]
    assert ["open", "refused"] == [one.state for one in await shelter.stats()]


async def test_three_that_are_late_open_the_breaker() -> None:
    """The fourth request is not kept waiting, and the store is not asked."""
    store = Lame()
    shelter = Shelter(store, None, kind="memory", budget_s=0.02, clock=LoopClock())
    store.limps = True
    for _ in range(10):
        await shelter.request().get("alice", [key("one")])

    assert (3, "slow") == (store.asked, shelter.health[0].state)


async def test_a_success_between_them_forgives() -> None:
    """Failures count in a row."""
    store = Lame()
    shelter = Shelter(store, None, kind="memory", budget_s=0.05, clock=LoopClock())
    for limps in (True, True, False, True, True, False):
        store.limps = limps
        await shelter.request().get("alice", [key("one")])

    assert (6, "open") == (store.asked, shelter.health[0].state)


async def test_a_loop_that_is_late_is_not_the_stores_fault() -> None:
    """Where this process itself had no time, nothing is known about the store: it is asked again."""
    store = Lame()
    shelter = Shelter(store, None, kind="memory", budget_s=0.01, clock=LoopClock())
    store.blocks_s = 0.05
    for _ in range(5):
        await shelter.request().get("alice", [key("one")])

    assert (5, "open") == (store.asked, shelter.health[0].state)


async def test_only_waiting_is_paid_for() -> None:
    """What a request does between its questions is none of the store's business."""
    shelter = Shelter(Lame(), None, kind="memory", budget_s=0.02, clock=LoopClock())
    await shelter.put(entry())
    asking = shelter.request()
    time.sleep(0.05)  # noqa: ASYNC251  # an embedder at work

    assert [entry()] == await asking.get("alice", [key("one")])


async def test_without_vectors_nothing_is_alike() -> None:
    """A dispatcher that keeps no vectors asks nobody."""
    shelter = Shelter(Lame(), None, kind="memory", budget_s=AMPLE_S, clock=LoopClock())
    vector = np.array([1.0, 0.0], dtype=np.float32)
    await shelter.add("alice", "s", MINI, vector, key("one"))
    await shelter.remove_vectors("alice", "s", [key("one")])

    assert [] == await shelter.request().nearest("alice", "s", MINI, vector, count=3)
