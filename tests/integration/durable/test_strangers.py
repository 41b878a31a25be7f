"""What anybody may publish who is let onto the bus: garbage, forged headers, the ids of others. None of it stops a dispatcher."""

from __future__ import annotations

import pytest

from common import codec
from common.durable import Stage
from tests.integration.dispatcher.scripted import answer, ignore
from tests.integration.durable.world import dispatching, world

ANSWER = answer("all ", "of it")


@pytest.mark.parametrize("order", [b'{"tenant":[]}', b'{"tenant":{},"seq":[]}', b'{"seq":-1}', b"[]", b"\xff"])
async def test_an_order_to_cancel_that_makes_no_sense(order: bytes) -> None:
    """It says nothing of whose job is meant: the job is cancelled, and the dispatcher goes on with the next one."""
    async with world() as here:
        device = await here.device("nano", ignore, ANSWER, slots=2)
        async with dispatching(here):
            job = await here.submit()
            await device.attempt()
            reply = await here.bus.request(here.subjects.control(job, "cancel"), order, timeout_s=10.0)
            states = [(await here.over(job)).state, (await here.over(await here.submit("next"))).state]

    assert (True, [Stage.CANCELLED, Stage.DONE]) == (codec.decode(reply.data)["cancelled"], states)
