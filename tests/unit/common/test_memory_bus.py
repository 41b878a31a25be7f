"""What only the memory bus promises: to be exact, and to be repeatable."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack

from common.bus.memory import MemoryBroker, connect_memory
from tests.listening import Listener


async def test_nothing_is_delivered_within_publish() -> None:
    """As over a wire, a handler runs later, never inside the publisher's call."""
    async with connect_memory(MemoryBroker()) as bus:
        listener = Listener()
        await bus.subscribe("a", listener)
        await bus.publish("a", b"x")
        before = len(listener.heard)
        await bus.flush()

        assert (before, len(listener.heard)) == (0, 1)


async def test_unsubscribe_forgets_what_waits() -> None:
    """A message that has arrived and was not handed over yet is dropped by `unsubscribe`, and handed over by `drain`."""
    async with connect_memory(MemoryBroker()) as bus:
        dropped, drained = Listener(), Listener()
        first = await bus.subscribe("a", dropped)
        second = await bus.subscribe("a", drained)
        await bus.publish("a", b"x")
        await first.unsubscribe()
        await second.drain()
        await bus.flush()

    assert (dropped.data, drained.data) == ([], [b"x"])


async def test_seeded_runs_are_equal() -> None:
    """With the same seed a queue group shares its messages out in the same way."""
    assert await shares(seed=7) == await shares(seed=7)
    assert await shares(seed=7) != await shares(seed=8)


async def shares(*, seed: int) -> list[list[bytes]]:
    """Give what each of three members of a queue group heard of fifty messages."""
    broker, listeners = MemoryBroker(rng=random.Random(seed)), [Listener() for _ in range(3)]
    async with AsyncExitStack() as stack:
        buses = [await stack.enter_async_context(connect_memory(broker)) for _ in listeners]
        for bus, listener in zip(buses, listeners, strict=True):
            await bus.subscribe("work", listener, queue="q")
        for number in range(50):
            await buses[0].publish("work", b"%d" % number)
        await buses[0].flush()

    return [listener.data for listener in listeners]
