"""The wires: what they delay, hold, swallow and repeat, and what order they keep."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from common.bus import Delivery
from common.errors import BusTimeout, NoResponders
from tests.simulation.loop import run
from tests.simulation.network import QuickBroker, Wire

Heard = list[tuple[float, bytes]]
Act = Callable[[Wire, Wire], Awaitable[None]]


def hear(act: Act) -> Heard:
    """Run two clients on one broker, and give what the second hears on `x.*`, with the time."""
    heard: Heard = []

    async def main() -> None:
        broker = QuickBroker(rng=random.Random(1))
        one, other = Wire(broker), Wire(broker)
        loop = asyncio.get_running_loop()
        await other.subscribe("x.*", lambda delivery: heard.append((loop.time(), delivery.data)))
        await act(one, other)
        await asyncio.sleep(100)

    run(main())
    return heard


def test_a_delay_keeps_the_order_of_a_connection() -> None:
    """A message behind a slow one does not overtake it, though the wire is fast again."""

    async def act(one: Wire, other: Wire) -> None:
        one.up.delay_s = 2.0
        await one.publish("x.a", b"1")
        one.up.delay_s = 0.0
        await one.publish("x.b", b"2")

    assert hear(act) == [(2.0, b"1"), (2.0, b"2")]


def test_messages_of_two_connections_overtake() -> None:
    """Order holds per connection, and not between them."""

    async def act(one: Wire, other: Wire) -> None:
        one.up.delay_s = 2.0
        await one.publish("x.a", b"1")
        await other.publish("x.a", b"2")

    assert hear(act) == [(0.0, b"2"), (2.0, b"1")]


def test_what_is_held_comes_later() -> None:
    """A stopped process hears everything when it goes on, in order."""

    async def act(one: Wire, other: Wire) -> None:
        other.down.hold()
        await one.publish("x.a", b"1")
        await one.publish("x.a", b"2")
        await asyncio.sleep(5)
        other.down.release()

    assert hear(act) == [(5.0, b"1"), (5.0, b"2")]


def test_what_is_cut_is_lost() -> None:
    """What comes during a partition, or is under way when it begins, never arrives."""

    async def act(one: Wire, other: Wire) -> None:
        one.up.delay_s = 1.0
        await one.publish("x.a", b"1")
        one.up.cut = True
        await asyncio.sleep(2)
        await one.publish("x.a", b"2")
        one.up.cut = False
        await one.publish("x.a", b"3")

    assert hear(act) == [(3.0, b"3")]


def test_one_is_dropped_and_one_repeated() -> None:
    """So many of the next messages, and no more."""

    async def act(one: Wire, other: Wire) -> None:
        one.up.drop_next = other.down.repeat_next = 1
        for number in (b"1", b"2", b"3"):
            await one.publish("x.a", number)

    assert [data for _, data in hear(act)] == [b"2", b"2", b"3"]


def test_nobody_means_no_responders() -> None:
    """The broker behind the wires answers as the plain one does."""

    async def act(one: Wire, other: Wire) -> None:
        with pytest.raises(NoResponders):
            await one.request("y", b"", timeout_s=1.0)
        other.close()
        with pytest.raises(NoResponders):
            await one.request("x.a", b"", timeout_s=1.0)

    assert hear(act) == []


def test_a_flush_takes_as_long_as_the_wire() -> None:
    """It returns when the broker has all, and raises when that takes too long."""

    async def act(one: Wire, other: Wire) -> None:
        one.up.delay_s = 3.0
        one.say(Delivery("x.a", b"1"))
        with pytest.raises(BusTimeout):
            await one.flush(timeout_s=1.0)
        await one.flush(timeout_s=5.0)
        await one.publish("x.b", b"2")

    assert hear(act) == [(3.0, b"1"), (pytest.approx(6.0, abs=0.01), b"2")]
