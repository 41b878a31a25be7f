"""What a dispatcher does for its attempts when its own connection broke and is back."""

from __future__ import annotations

import asyncio

import pytest

from common.bus.memory import MemoryBroker, MemoryBus, connect_memory
from common.bus.mux import reply_mux
from common.frames import Token
from common.subjects import Subjects
from dispatcher.delivery.pulse import Pulse
from tests.integration.dispatcher.house import memory_wires, open_house
from tests.integration.dispatcher.scripted import Hold, Script, answer, go_on, ignore, stall, until


@pytest.mark.parametrize(("first", "sent"), [(ignore, 2), (stall("ok"), 1)], ids=["not accepted", "accepted"])
async def test_what_no_device_has_accepted_is_sent_again(first: Script, sent: int) -> None:
    """A dispatch that may have gone with the connection is sent once more, as the same attempt, to the only device there is; one
    that was accepted is not."""
    async with open_house(memory_wires) as house:
        bus, pulse = house.bus, house.pipeline.courier.pulse
        assert isinstance(bus, MemoryBus)
        nano = await house.device("nano", first, answer("ok"), slots=2)
        stream = await house.stream()
        await until(lambda: len(nano.attempts) == 1, "the device has it")
        if sent == 1:
            await stream.seen(Token)
        bus.disconnect()
        bus.reconnect()
        if sent == 1:
            await until(lambda: not pulse.returning, "the reconnect is dealt with")
            await go_on()(nano.attempts[0])
        end = await stream.end()
        assert end.route is not None

        assert ("ok", [1] * sent, ["ok"]) == (
            stream.text,
            [one.dispatch.attempt for one in nano.attempts],
            [one["outcome"] for one in end.route["attempts"]],
        )


async def test_what_was_sent_behind_the_reconnect_is_not_sent_again() -> None:
    """A dispatch that the new connection carried is on its way; its device has just not accepted it yet."""
    async with open_house(memory_wires) as house:
        bus, pulse = house.bus, house.pipeline.courier.pulse
        assert isinstance(bus, MemoryBus)
        hold = Hold("ok", ack=False)
        nano = await house.device("nano", hold, slots=2)
        bus.disconnect()
        bus.reconnect()
        stream = await house.stream()
        await hold.reached.wait()
        before = pulse.returning
        await until(lambda: not pulse.returning, "the reconnect is dealt with")
        hold.released.set()
        await stream.end()

        assert (True, 1) == (before, len(nano.attempts))


async def test_a_reconnect_during_another_is_not_forgotten() -> None:
    """When the connection goes and comes again while the devices are being asked, they are asked once more."""
    calls: list[int] = []
    inside, go_ahead = asyncio.Event(), asyncio.Event()

    async def back() -> None:
        calls.append(len(calls))
        inside.set()
        await go_ahead.wait()

    async with (
        connect_memory(MemoryBroker()) as bus,
        reply_mux(bus, "_INBOX_pulse") as mux,
        asyncio.TaskGroup() as tasks,
    ):
        pulse = Pulse(bus, Subjects(), busy=list, gone=_nobody, hung=_nobody, back=back)
        beating = tasks.create_task(pulse.beat(mux))
        bus.disconnect()
        bus.reconnect()
        await inside.wait()
        bus.disconnect()
        bus.reconnect()
        go_ahead.set()
        await until(lambda: len(calls) == 2, "the devices are asked again")
        beating.cancel()

    assert [0, 1] == calls


async def test_one_that_can_not_be_sent_again_does_not_stop_the_others() -> None:
    """After a reconnect the bus refuses the first job as too large, and the second gets to its device all the same."""
    async with open_house(memory_wires) as house:
        bus = house.bus
        assert isinstance(bus, MemoryBus)
        nano = await house.device("nano", ignore, ignore, answer("small"), slots=2)
        large = await house.stream("x" * 5000)
        await until(lambda: len(nano.attempts) == 1, "the device has the large one")
        small = await house.stream("y")
        await until(lambda: len(nano.attempts) == 2, "the device has both")
        bus.disconnect()
        bus._broker.max_payload = 4000
        bus.reconnect()
        await small.end()

        assert ("small", False) == (small.text, large.ended)


def _nobody(*_: object) -> None:
    """Is told of nothing."""
