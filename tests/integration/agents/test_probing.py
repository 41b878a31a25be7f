"""The probe door of a real agent: what a simulated engine that hangs, works or sleeps is found to be."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from common.messages import DeviceState
from tests.integration.agents.rigs import MODEL, Rig, rig

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASK = b'{"generate":true,"timeout_s":20}'
HASTY = b'{"generate":true,"timeout_s":0.5}'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Rig]:
    async with rig(num_parallel=2, DROVER_HEARTBEAT_S="0.2") as standing:
        yield standing


@pytest_asyncio.fixture(loop_scope="module")
async def orin(shared: Rig) -> AsyncIterator[Rig]:
    """The shared rig, with a loaded model; idle and without faults before and after each test."""
    warm = await shared.device.send(options={"max_tokens": 1})
    await warm.whole()
    yield shared
    await shared.sim.call("DELETE", "/sim/faults")
    await shared.device.until_idle()
    await shared.sim.until({"in_flight": 0})
    await shared.device.ask("probe", ASK)


async def test_an_engine_that_works_proves_it(orin: Rig) -> None:
    """By a token of the loaded model, which is not loaded anew for it."""
    before = await orin.sim.state()
    answer = await orin.device.ask("probe", ASK)
    after = await orin.sim.state()

    assert (answer["verdict"], answer["ok"], answer["model"], answer["state"]) == ("ok", True, MODEL, "ready")
    assert answer["seconds"] > 0
    assert (after["completed"] - before["completed"], after["loads"]) == (1, before["loads"])


async def test_a_large_context_stays_loaded(orin: Rig) -> None:
    """The probe asks for the very context that is loaded."""
    await (await orin.device.send(model="llama3.2:3b", options={"max_tokens": 1, "context_tokens": 8192})).whole()
    before = await orin.sim.state()
    answer = await orin.device.ask("probe", ASK)
    after = await orin.sim.state()

    assert (answer["model"], after["loads"]) == ("llama3.2:3b", before["loads"])


async def test_a_hung_engine_is_found(orin: Rig) -> None:
    """Although it still tells what is loaded: the answer comes in time, the heartbeat is faulty, and a token clears it."""
    await orin.sim.fault("hang")
    answer = await orin.device.ask("probe", HASTY)
    faulty = await orin.device.until(lambda beat: beat.state is DeviceState.FAULTY, ever=True)
    await orin.sim.call("DELETE", "/sim/faults")
    again = await orin.device.ask("probe", ASK)

    assert (answer["verdict"], answer["ok"], answer["state"]) == ("failed", False, "faulty")
    assert "no token within 0.5 s" in answer["reason"]
    assert "one-token probe" in (faulty.reason or "")
    assert (again["verdict"], again["state"]) == ("ok", "ready")


async def test_a_job_that_succeeds_clears_the_engine(orin: Rig) -> None:
    """Its first piece is as good as a probe's; a faulty device refuses nothing that is sent to it."""
    await orin.sim.fault("hang", times=1)
    await orin.device.ask("probe", HASTY)
    stream = await orin.device.send(options={"max_tokens": 3})
    await stream.whole()

    assert (stream.error, (await orin.device.ask("probe"))["state"]) == (None, "ready")


async def test_a_full_engine_says_how_long_it_has_been_silent(orin: Rig) -> None:
    """A probe would only wait behind the jobs."""
    await orin.sim.fault("hang")
    streams = [await orin.device.send(job=f"full-{number}") for number in range(2)]
    for stream in streams:
        await stream.until("ka")
    before = await orin.sim.state()
    answer = await orin.device.ask("probe", HASTY)
    after = await orin.sim.state()
    for number, stream in enumerate(streams):
        await orin.device.ask("cancel", b'{"job":"full-%d"}' % number)
        await stream.whole()

    assert (answer["verdict"], "ok" in answer, answer["in_flight"]) == ("busy", False, 2)
    assert answer["silent_s"] >= 0.9
    assert after["accepted"] == before["accepted"]


async def test_nothing_is_loaded_for_a_probe() -> None:
    """A device that holds no model says so."""
    async with rig() as own:
        answer = await own.device.ask("probe", ASK)
        state = await own.sim.state()

        assert (answer["verdict"], "ok" in answer, answer["state"], state["loads"]) == (
            "nothing_loaded",
            False,
            "ready",
            0,
        )


@pytest.mark.parametrize(
    "payload", [b'{"generate":"perhaps"}', b'{"generate":true,"timeout_s":0}', b'{"generate":true,"timeout_s":31}']
)
async def test_a_wrong_request_is_refused(orin: Rig, payload: bytes) -> None:
    """By the name of its field."""
    assert (await orin.device.ask("probe", payload))["error"]["code"] == "bad_request"


async def test_a_bare_probe_asks_nothing_of_the_engine(orin: Rig) -> None:
    """Whoever only wants to know that the agent is there gets that, at once."""
    before = await orin.sim.state()
    answer = await orin.device.ask("probe")
    after = await orin.sim.state()

    assert set(answer) == {"state", "boot", "in_flight"}
    assert after["accepted"] == before["accepted"]
