"""Jobs that end before the backend has said a word: who is told at once, and who holds the slot until the engine lets go."""

from __future__ import annotations

import asyncio
import time

import pytest

from agents.probe import Prober
from agents.slots import STOPPING
from common.errors import BackendError
from common.messages import ModelInfo
from tests.listening import GUARD_S
from tests.unit.agents.hand_clock import HandClock
from tests.unit.agents.worker_rig import FIRST, Rig, frames, kinds, opened


async def cancelled_in_prefill(rig: Rig) -> None:
    """Send a job, and cancel it while the backend reads its prompt."""
    heard = await rig.send(1)
    await rig.backend.started.wait()
    rig.worker.attempts.cancel(FIRST)
    await heard.until(3)

    assert [frame.get("code") for frame in frames(heard)] == [None, "cancelled", None]


async def test_the_slot_of_a_job_cancelled_in_prefill_stays_taken() -> None:
    """Its stream has ended, and the backend still has the request; nobody's dispatcher counts the slot as its own."""
    async with opened() as rig:
        await cancelled_in_prefill(rig)
        workload = rig.worker.workload()

        assert (workload.in_flight, workload.jobs_by_dispatcher) == (1, {STOPPING: 1})
        assert rig.backend.closed.is_set() is False


async def test_a_job_behind_a_cancelled_one_is_refused() -> None:
    """And told why there is no room although nothing seems to run."""
    async with opened() as rig:
        await cancelled_in_prefill(rig)

        second = await rig.send(2)
        await second.until(2)

        assert frames(second)[0]["code"] == "busy"
        assert "cancelled" in frames(second)[0]["message"]


async def test_the_first_piece_frees_the_slot() -> None:
    """The backend is hung up on with it, which stops the engine; the next job runs."""
    async with opened() as rig:
        await cancelled_in_prefill(rig)
        rig.backend.say("At last")
        async with asyncio.timeout(GUARD_S):
            await rig.backend.closed.wait()
        await rig.idle()
        second = await rig.send(2)
        rig.backend.finish()
        await second.until(3)

        assert kinds(second) == ["ack", "end", None]


@pytest.mark.parametrize("outcome", ["done", "broken", "nothing"])
async def test_whatever_the_backend_says_frees_the_slot(outcome: str) -> None:
    """A whole answer at once, an answer without any, or an error: it is done with the job."""
    async with opened() as rig:
        await cancelled_in_prefill(rig)
        if outcome == "done":
            rig.backend.finish()
        elif outcome == "nothing":
            rig.backend.break_off()
        else:
            rig.backend.fail(BackendError("the runner died"))
        await rig.idle()

        assert (rig.worker.workload().in_flight, rig.worker.workload().fault) == (0, None)


async def test_a_deadline_in_prefill_holds_the_slot_likewise() -> None:
    """The engine does not know of deadlines."""
    async with opened() as rig:
        heard = await rig.send(1, deadline_ms=int((time.time() + 0.1) * 1000))
        await heard.until(3)
        held = rig.worker.workload().in_flight
        rig.backend.say("Too late")
        await rig.idle()

        assert (frames(heard)[1]["code"], held) == ("deadline", 1)


async def test_an_agent_that_goes_hangs_up_at_once() -> None:
    """On what is left, and on what ends from then on."""
    async with opened(slots=2) as rig:
        await cancelled_in_prefill(rig)
        running = await rig.send(2)
        await running.until(1)

        rig.worker.hand_back()
        rig.worker.close()
        await rig.backend.hung_up(2)
        await rig.idle()

        assert rig.worker.workload().in_flight == 0


async def test_an_engine_that_never_lets_go_is_a_fault() -> None:
    """After a minute of silence on a cancelled job the device says so, and keeps the slot; the first sign of life ends it."""
    clock = HandClock()
    async with opened(clock=clock) as rig:
        await cancelled_in_prefill(rig)
        clock.now_s += 59
        early = rig.worker.workload().fault
        clock.now_s += 2
        late = rig.worker.workload()
        rig.backend.say("Here I am")
        await rig.idle()

        assert (early, late.in_flight, rig.worker.workload().fault) == (None, 1, None)
        assert "silent on m" in (late.fault or "")


@pytest.mark.parametrize("slots", [1, 2])
async def test_an_engine_silent_on_a_cancelled_job_is_probed(slots: int) -> None:
    """Nothing else would clear it: a faulty device gets no jobs. A token does, also where the silent job has the only slot."""
    clock = HandClock()
    async with opened(slots=slots, clock=clock) as rig, asyncio.TaskGroup() as group:
        await cancelled_in_prefill(rig)
        rig.backend.listed = (ModelInfo(name="other", loaded=True),)
        rig.backend.token.set()
        clock.now_s += 61
        doubted = rig.worker.workload().fault
        prober = Prober(rig.backend, rig.worker, rig.liveness, group, clock=clock, again_s=0.01)
        watching = group.create_task(prober.watch())
        async with asyncio.timeout(GUARD_S):
            await rig.backend.probing.wait()
        await prober.probe(GUARD_S)
        watching.cancel()
        prober.close()

        assert (True, None) == ("silent on m" in (doubted or ""), rig.worker.workload().fault)


async def test_an_engine_that_was_given_up_stays_doubted() -> None:
    """The backend's own limit of silence ends the wait and frees the slot; the doubt stays until something is heard."""
    clock = HandClock()
    async with opened(clock=clock) as rig:
        await cancelled_in_prefill(rig)
        clock.now_s += 600
        rig.backend.fail(BackendError("Ollama fell silent"))
        await rig.idle()
        doubted = rig.worker.workload().fault
        heard = await rig.send(2)
        rig.backend.finish()
        await heard.until(3)

        assert "Ollama fell silent" in (doubted or "")
        assert rig.worker.workload().fault is None
