"""What anybody may publish who is let onto the bus: garbage, forged headers, the ids of others. None of it stops a dispatcher."""

from __future__ import annotations

import pytest

from common import codec
from common.bus.jetstream import JetStream
from common.bus.streams import StreamState
from common.client import chat_request
from common.durable import Stage
from common.durable_client import DurableJobs
from common.errors import BusDisconnected, FleetError
from tests.integration.dispatcher.scripted import Hold, answer, ignore
from tests.integration.durable.world import World, dispatching, eventually, world

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


class _CutStreams(JetStream):
    """The server is killed when a search has begun."""

    def __init__(self, here: World) -> None:
        super().__init__(here.bus)
        self._here = here

    async def state(self, stream: str) -> StreamState:
        found = await super().state(stream)
        await self._here.server.kill()
        return found


@pytest.mark.parametrize("verb", ["look", "result", "cancel"])
async def test_a_server_that_is_lost_during_a_search_is_one_typed_error(verb: str) -> None:
    """Whoever asks for a queued job then gets what any other call gives: `BusDisconnected`, and no group of errors."""
    async with world() as here:
        async with dispatching(here):
            pass
        for number in range(40):
            await here.submit(f"{number}")
        jobs = DurableJobs(here.bus, _CutStreams(here), tenant="default", subjects=here.subjects)
        with pytest.raises(BusDisconnected):
            await getattr(jobs, verb)("elsewhere")
