"""The receipt of energy in what a worker answers, however the job ended."""

from __future__ import annotations

from typing import Any

import pytest

from agents.backends import BackendDone
from agents.energy.charge import Charge
from agents.energy.meter import Meter
from agents.energy.usual import Profile
from agents.power import Reading
from common.energy import from_wire
from common.errors import BackendError, JobCancelled
from common.messages import Usage
from tests.unit.agents.hand_clock import HandClock
from tests.unit.agents.worker_rig import FIRST, Rig, frames, opened

IDLE_W, BUSY_W = 5.0, 15.0


class Desk:
    """A meter on a clock that is moved by hand; the worker's own clock is the loop's."""

    def __init__(self) -> None:
        self.clock = HandClock(0.0)
        self.meter = Meter(self.clock, profile=lambda: Profile(idle_w=IDLE_W), loaded=lambda: True)

    def charge(self) -> Charge:
        return Charge(self.meter)

    def pass_time(self, seconds: float) -> None:
        """Let time pass at the busy draw, read twice."""
        for part in (0.25, 0.5):
            self._read(self.clock.now_s + part * seconds)
        self.clock.now_s += seconds

    def _read(self, at_s: float) -> None:
        self.meter.read(Reading(at_s=at_s, watts=BUSY_W, rail="VDD_IN", source="test", measured=True, uncertainty=0.02))


async def spoken(rig: Rig, desk: Desk) -> None:
    """Have the job under way say something, after two seconds of work."""
    await rig.backend.started.wait()
    desk.pass_time(1.0)
    rig.backend.say("a")
    await rig.backend.idle()
    desk.pass_time(1.0)


async def test_an_answer_says_what_it_took() -> None:
    """Joules above idle and the idle part, the reader, and the tokens that the engine counted."""
    desk = Desk()
    async with opened(charge=desk.charge) as rig:
        heard = await rig.send()
        await spoken(rig, desk)
        rig.backend.finish(BackendDone(usage=Usage(completion_tokens=7)))
        await heard.until(4)

    taken = from_wire(frames(heard)[-2]["energy"])
    assert (taken.joules, taken.idle_joules, taken.measured, taken.source, taken.tokens) == (
        pytest.approx(20.0),
        pytest.approx(10.0),
        True,
        "test",
        7,
    )


async def test_a_failure_says_it_too() -> None:
    """What an attempt took before it failed, with the tokens that were heard."""
    desk = Desk()
    async with opened(charge=desk.charge) as rig:
        heard = await rig.send()
        await spoken(rig, desk)
        rig.backend.fail(BackendError("out of memory"))
        await heard.until(4)

    taken = from_wire(frames(heard)[-2]["details"]["energy"])
    assert (taken.joules, taken.tokens) == (pytest.approx(20.0), 1)


async def test_a_crash_says_it_too() -> None:
    """Even one that nobody foresaw."""
    desk = Desk()
    async with opened(charge=desk.charge) as rig:
        heard = await rig.send()
        await spoken(rig, desk)
        rig.backend.fail(ZeroDivisionError())
        await heard.until(4)

    end = frames(heard)[-2]
    assert (end["code"], from_wire(end["details"]["energy"]).joules) == ("internal", pytest.approx(20.0))


async def test_a_cancelled_job_says_it_and_pays_no_more() -> None:
    """Until the engine lets go of it, it keeps its share, which then is nobody's."""
    desk = Desk()
    async with opened(charge=desk.charge) as rig:
        heard = await rig.send()
        await rig.backend.started.wait()
        desk.pass_time(1.0)
        rig.worker.attempts.cancel(FIRST)
        await heard.until(3)
        after_j = desk.meter.unassigned_j
        held = desk.meter.in_flight
        desk.pass_time(1.0)
        rig.backend.say("too late")
        await rig.idle()

    taken = from_wire(frames(heard)[-2]["details"]["energy"])
    assert (taken.joules, held, desk.meter.in_flight, desk.meter.unassigned_j - after_j) == (
        pytest.approx(10.0),
        1,
        0,
        pytest.approx(15.0),
    )


async def refused(rig: Rig) -> dict[str, Any]:
    """Have a job refused while another one runs."""
    await rig.send(1)
    await rig.backend.started.wait()
    heard = await rig.send(2)
    await heard.until(1)
    return frames(heard)[0]


async def test_a_refusal_took_nothing() -> None:
    """There is no receipt for what the engine never had."""
    async with opened(charge=Desk().charge) as rig:
        answer = await refused(rig)

    assert (answer["code"], "energy" in answer.get("details", {})) == ("busy", False)


async def test_without_a_meter_there_is_no_receipt() -> None:
    """An agent whose models run elsewhere has nothing to tell."""
    async with opened() as rig:
        heard = await rig.send()
        rig.backend.finish()
        await heard.until(3)

    assert "energy" not in frames(heard)[-2]


async def test_a_verdict_keeps_its_own_details() -> None:
    """The receipt stands beside what the error says already."""
    desk = Desk()
    async with opened(charge=desk.charge) as rig:
        heard = await rig.send()
        await spoken(rig, desk)
        rig.backend.fail(JobCancelled("stopped", by="owner"))
        await heard.until(4)

    assert set(frames(heard)[-2]["details"]) == {"by", "energy"}
