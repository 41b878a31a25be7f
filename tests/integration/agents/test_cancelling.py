"""Cancelling on a real agent while its engine reads a prompt or loads: the simulator tells what the engine really does."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.agent_process import Stream
from tests.integration.agents.rigs import MODEL, Rig, rig

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = "word " * 900


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Rig]:
    async with rig(DROVER_HEARTBEAT_S="0.2") as standing:
        yield standing


@pytest_asyncio.fixture(loop_scope="module")
async def orin(shared: Rig) -> AsyncIterator[Rig]:
    """The shared rig, idle and without faults before and after each test."""
    yield shared
    await shared.sim.call("DELETE", "/sim/faults")
    await shared.device.until_idle()
    await shared.sim.until({"in_flight": 0})


async def reading(orin: Rig, job: str) -> Stream:
    """Start a job whose prompt takes the engine some seconds, and wait until it reads it."""
    warm = await orin.device.send(options={"max_tokens": 1})
    await warm.whole()
    await orin.sim.fault("slow", factor=300, times=1)
    stream = await orin.device.send(PROMPT, job=job)
    await orin.sim.until({"prefilling": 1})
    return stream


async def test_a_job_cancelled_in_prefill_ends_at_once(orin: Rig) -> None:
    """Its stream is closed while the engine still reads the prompt."""
    stream = await reading(orin, "reads")

    answer = await orin.device.ask("cancel", b'{"job":"reads"}')
    await stream.whole()
    state = await orin.sim.state()

    assert (answer, stream.kinds[-2:], stream.error) == ({"cancelled": True}, ["err", ""], "cancelled")
    assert (state["prefilling"], state["aborted_by_client"]) == (1, 0)


async def test_the_slot_is_busy_until_the_engine_has_let_go(orin: Rig) -> None:
    """Heartbeats show it taken as long as the engine reads, by no dispatcher; free means free."""
    before = await orin.sim.state()
    stream = await reading(orin, "holds")
    await orin.device.ask("cancel", b'{"job":"holds"}')
    await stream.whole()

    held = await orin.device.until(lambda beat: "tester" not in beat.jobs_by_dispatcher)
    still = await orin.sim.state()
    free = await orin.device.until(lambda beat: beat.in_flight == 0)
    after = await orin.sim.until({"in_flight": 0})

    assert (held.in_flight, still["prefilling"]) == (1, 1)
    assert (free.state, after["prefilling"]) == ("ready", 0)
    assert after["aborted_by_client"] == before["aborted_by_client"] + 1


async def test_a_job_behind_a_cancelled_one_is_refused_until_then(orin: Rig) -> None:
    """As busy, while the engine reads; afterwards it runs, and does not wait inside the engine."""
    stream = await reading(orin, "blocks")
    await orin.device.ask("cancel", b'{"job":"blocks"}')
    await stream.whole()
    refused = await orin.device.send(options={"max_tokens": 1})
    await refused.whole()
    still = await orin.sim.state()

    await orin.device.until(lambda beat: beat.in_flight == 0)
    taken = await orin.device.send(options={"max_tokens": 1})
    await taken.whole()

    assert (refused.error, still["prefilling"]) == ("busy", 1)
    assert (taken.error, taken.kinds) == (None, ["ack", "tok", "end", ""])


async def test_a_load_is_finished_although_its_job_was_cancelled(orin: Rig) -> None:
    """A hang-up would make the engine give the load up, and the next job would pay for it again."""
    await orin.sim.fault("slow", factor=100, times=1)
    stream = await orin.device.send(job="loads", model="llama3.2:3b", options={"max_tokens": 5})
    await orin.sim.until({"loading": 1})

    await orin.device.ask("cancel", b'{"job":"loads"}')
    await stream.whole()
    await orin.device.until(lambda beat: beat.in_flight == 0)
    state = await orin.sim.state()

    assert stream.error == "cancelled"
    assert state["loads_aborted"] == 0
    assert "llama3.2:3b" in state["loaded"]


async def test_a_hung_engine_does_not_keep_the_agent_from_going() -> None:
    """What a cancelled job left behind is hung up on when the agent ends; see `test_life` for its signals."""
    async with rig() as own:
        await own.sim.fault("hang")
        stream = await own.device.send(job="hangs", model=MODEL)
        await own.sim.until({"in_flight": 1})
        await own.device.ask("cancel", b'{"job":"hangs"}')
        await stream.whole()
        busy = (await own.device.ask("probe"))["in_flight"]

        own.agent.signal(signal.SIGTERM)
        await own.agent.ended()
        await own.sim.until({"in_flight": 0})

        assert busy == 1
