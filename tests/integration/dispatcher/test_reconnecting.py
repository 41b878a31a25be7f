"""What a dispatcher does for its attempts when its own connection broke and is back."""

from __future__ import annotations

import pytest

from common.bus.memory import MemoryBus
from common.frames import Token
from tests.integration.dispatcher.house import memory_wires, open_house
from tests.integration.dispatcher.scripted import Script, answer, go_on, ignore, stall, until


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
