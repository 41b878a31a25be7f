"""Both stores against a model of a few lines: who is there, who makes room and what is counted, whatever is done in which order."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as effort
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from dispatcher.cache.protocols import AnswerStore
from dispatcher.cache.redis_client import RedisClient, redis_client
from dispatcher.cache.store import MemoryAnswers
from dispatcher.cache.store.packing import OVERHEAD_BYTES, Bounds, hashed, pack
from dispatcher.cache.store.redis import RedisAnswers
from dispatcher.cache.values import Entry
from tests.answers import HandClock, entry, key, settings
from tests.redis_server import needs_redis, redis_server

ENTRIES = 6
NOISE = [random.Random(size).randbytes(size << 9).hex() for size in (0, 1, 300, 500)]
"""Texts that hardly shrink: a few of the longest fill the one MiB that there is."""

tenants = st.sampled_from(["alice", "bob", "carol"])
words = st.sampled_from([f"{number}" for number in range(5)])
runs = count()


def size_bytes(one: Entry) -> int:
    packed = pack(one, Bounds(answer_bytes=1 << 20))
    assert packed is not None
    return len(packed) + OVERHEAD_BYTES


class Model:
    """What is kept, the least recently used first."""

    def __init__(self) -> None:
        self.kept: OrderedDict[tuple[str, str], int] = OrderedDict()
        self.hits: dict[tuple[str, str], int] = {}
        self.evicted = 0

    def put(self, one: Entry) -> None:
        name = one.place.tenant, one.place.exact
        self.kept.pop(name, None)
        self.kept[name] = size_bytes(one)
        self.hits[name] = 0
        while (large := sum(self.kept.values()) > 1 << 20) or len(self.kept) > ENTRIES:
            held: dict[str, int] = {}
            for (tenant, _), size in self.kept.items():
                held[tenant] = held.get(tenant, 0) + (size if large else 1)
            most = max(held, key=lambda tenant: (held[tenant], hashed(tenant)))
            del self.kept[next(name for name in self.kept if name[0] == most)]
            self.evicted += 1

    def used(self, name: tuple[str, str]) -> None:
        if name in self.kept:
            self.kept.move_to_end(name)
            self.hits[name] += 1


class Stores(RuleBasedStateMachine):
    """Does the same to the model and to both stores."""

    runner: asyncio.Runner
    client: RedisClient
    agreed: ClassVar[Counter[str]]
    """How often each store, with something in it, was found to be as the model: in all runs together."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        bounds: dict[str, Any] = {"entries": ENTRIES, "size_mb": 1, "answer_kb": 1024}
        self.stores: list[AnswerStore] = [
            MemoryAnswers(settings(**bounds), HandClock()),
            RedisAnswers(self.client, settings(**bounds, prefix=f"run{next(runs)}"), HandClock()),
        ]

    @rule(tenant=tenants, word=words, text=st.sampled_from(NOISE))
    def put(self, tenant: str, word: str, text: str) -> None:
        one = entry(word, tenant=tenant, text=text)
        self.model.put(one)
        for store in self.stores:
            self.runner.run(store.put(one))

    @rule(tenant=tenants, word=words)
    def use(self, tenant: str, word: str) -> None:
        self.model.used((tenant, key(word)))
        for store in self.stores:
            self.runner.run(store.used(tenant, key(word)))

    @rule(tenant=tenants, some=st.lists(words, max_size=3))
    def remove(self, tenant: str, some: list[str]) -> None:
        names = {(tenant, key(word)) for word in some} & set(self.model.kept)
        for name in names:
            del self.model.kept[name]
        for store in self.stores:
            assert len(names) == self.runner.run(store.remove(tenant, [key(word) for word in some]))

    @rule(tenant=st.none() | tenants)
    def purge(self, tenant: str | None) -> None:
        names = [name for name in self.model.kept if tenant in (None, name[0])]
        for name in names:
            del self.model.kept[name]
        for store in self.stores:
            assert len(names) == self.runner.run(store.purge(tenant))

    @rule(tenant=tenants)
    def look(self, tenant: str) -> None:
        keys = [key(f"{number}") for number in range(5)]
        for store in self.stores:
            found = self.runner.run(store.get(tenant, keys))
            assert [(tenant, one) in self.model.kept for one in keys] == [one is not None for one in found]

    @invariant()
    def all_agree(self) -> None:
        expected = [(*name, size, self.model.hits[name]) for name, size in reversed(self.model.kept.items())]
        for store in self.stores:
            # no more than there are: a name that outlived its entry would take another one's place
            rows = self.runner.run(store.listed(None, limit=len(expected)))
            stats = self.runner.run(store.stats())

            assert expected == [(row.tenant, row.exact, row.size_bytes, row.hits) for row in rows]
            assert (len(expected), sum(self.model.kept.values()), self.model.evicted) == (
                stats.entries,
                stats.size_bytes,
                stats.evicted,
            )
            self.agreed[type(store).__name__] += bool(expected)


@pytest.fixture
def machine() -> Iterator[type[Stores]]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def opened() -> RedisClient:
            server = await stack.enter_async_context(redis_server())
            return await stack.enter_async_context(redis_client(server.url))

        try:
            yield type("Machine", (Stores,), {"runner": runner, "client": runner.run(opened()), "agreed": Counter()})
        finally:
            runner.run(stack.aclose())


@needs_redis
def test_both_stores_do_as_the_model(machine: type[Stores]) -> None:
    """Puts, uses, removals, purges and looks in any order leave the same entries, order, bytes, hits and evictions everywhere: the
    machine compares after each step, and both had something in them."""
    run_state_machine_as_test(
        machine,
        settings=effort(
            max_examples=30,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shorten what fails takes longer than a test may
        ),
    )

    assert {"MemoryAnswers", "RedisAnswers"} == set(+machine.agreed)
