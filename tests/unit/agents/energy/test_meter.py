"""What the device drew, and whose it was, on readings and changes that are set by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.energy.charge import Charge
from agents.energy.meter import GUARD_S, HOLD_S, Meter
from agents.energy.usual import Profile
from agents.power import Reading
from common.energy import Energy
from common.frames import Phase
from tests.unit.agents.hand_clock import HandClock

IDLE_W, BUSY_W = 5.0, 15.0


@dataclass
class Bench:
    """A meter on a clock that starts at 0, with a profile of 5 W idle and 15 W busy."""

    clock: HandClock = field(default_factory=lambda: HandClock(0.0))
    profile: Profile = field(default_factory=lambda: Profile(idle_w=IDLE_W, busy_w=BUSY_W))

    def __post_init__(self) -> None:
        self.meter = Meter(self.clock, profile=lambda: self.profile, loaded=lambda: True)

    def read(self, at_s: float, watts: float, *, measured: bool = True) -> None:
        self.clock.now_s = at_s
        self.meter.read(
            Reading(at_s=at_s, watts=watts, rail="VDD_IN", source="test", measured=measured, uncertainty=0.0)
        )

    def begin(self, at_s: float, phase: Phase = Phase.PREFILL, *, load_s: float | None = None) -> Charge:
        self.clock.now_s = at_s
        charge = Charge(self.meter)
        charge.begin(phase, load_s=load_s)
        return charge

    def hear(self, at_s: float, charge: Charge) -> None:
        self.clock.now_s = at_s
        charge.hear()

    def end(self, at_s: float, charge: Charge) -> Energy:
        self.clock.now_s = at_s
        energy = charge.take()
        charge.leave()
        assert energy is not None
        return energy


def test_the_first_reading_holds_back_and_the_last_one_on() -> None:
    """A job between two idle readings is charged what was read while it ran, and nothing of the readings beside it."""
    bench = Bench()
    bench.read(9.9, IDLE_W)
    job = bench.begin(10.0)
    bench.read(10.4, BUSY_W)
    bench.read(10.6, BUSY_W)
    energy = bench.end(11.0, job)
    bench.read(11.1, IDLE_W)

    assert (energy.joules, energy.idle_joules) == (pytest.approx(10.0), pytest.approx(5.0))


def test_between_two_readings_the_draw_moves_evenly() -> None:
    """The trapezoid, with edges held."""
    bench = Bench()
    job = bench.begin(10.0)
    bench.read(10.5, 11.0)
    bench.read(11.5, 15.0)
    energy = bench.end(12.0, job)

    assert energy.joules == pytest.approx(0.5 * 6 + 1.0 * 8 + 0.5 * 10)


def test_a_reading_at_the_very_edge_is_of_nobody() -> None:
    """The engine was done some milliseconds before the agent heard of it: what was read then was the idle device."""
    bench = Bench()
    job = bench.begin(10.0)
    bench.read(10.3, BUSY_W)
    bench.read(11.0 - GUARD_S / 2, IDLE_W)
    energy = bench.end(11.0, job)

    assert energy.joules == pytest.approx(10.0)


def test_a_measured_job_says_so() -> None:
    """Two readings of a sensor make a measurement, and its reader is named."""
    bench = Bench()
    job = bench.begin(10.0)
    bench.read(10.3, BUSY_W)
    bench.read(10.6, BUSY_W)
    energy = bench.end(11.0, job)

    assert (energy.measured, energy.source) == (True, "test")


def test_one_reading_is_no_measurement() -> None:
    """It counts, and it is told that it is little."""
    bench = Bench()
    job = bench.begin(10.0)
    bench.read(10.3, BUSY_W)
    energy = bench.end(11.0, job)

    assert (energy.joules, energy.measured, energy.source) == (pytest.approx(10.0), False, "test")


def test_an_estimating_reader_measures_nothing() -> None:
    """However many readings it gives."""
    bench = Bench()
    job = bench.begin(10.0)
    bench.read(10.3, BUSY_W, measured=False)
    bench.read(10.6, BUSY_W, measured=False)

    assert bench.end(11.0, job).measured is False


def test_a_job_without_a_reading_is_charged_what_is_usual() -> None:
    """Learnt of a job before it."""
    bench = Bench()
    first = bench.begin(10.0)
    bench.hear(10.1, first)
    bench.read(10.3, 13.0)
    bench.end(11.0, first)
    job = bench.begin(20.0)
    bench.hear(20.01, job)
    energy = bench.end(20.5, job)

    assert (energy.joules, energy.measured, energy.uncertainty > 0.25) == (
        pytest.approx(0.01 * 1.2 * 8 + 0.49 * 8.0),
        False,
        True,
    )


def test_a_job_on_a_device_that_was_never_read_is_charged_by_the_profile() -> None:
    """And says that it is a guess."""
    bench = Bench()
    job = bench.begin(10.0)
    bench.hear(10.0, job)
    energy = bench.end(11.0, job)

    assert (energy.joules, energy.source, energy.uncertainty > 0.5) == (pytest.approx(10.0), "model", True)


def test_two_jobs_at_once_share() -> None:
    """What is above idle by weight, the idle part evenly, and both only while they run."""
    bench = Bench()
    one = bench.begin(10.0)
    bench.hear(10.0, one)
    bench.read(10.5, BUSY_W)
    other = bench.begin(11.0, Phase.LOAD)
    bench.read(11.5, BUSY_W)
    first = bench.end(12.0, one)
    bench.read(12.5, 8.0)
    second = bench.end(13.0, other)

    assert (first.joules, second.joules, first.idle_joules, second.idle_joules) == pytest.approx(
        (10 + 10 / 1.3, 10 * 0.3 / 1.3 + 3.0, 5 + 2.5, 2.5 + 5)
    )


def test_a_load_is_a_prefill_when_it_has_taken_as_long_as_usual() -> None:
    """The engine does not say when a model is loaded; what loading took before does."""
    bench = Bench()
    cold = bench.begin(10.0, Phase.LOAD, load_s=1.0)

    assert (cold.work(10.9).phase, cold.work(11.1).phase) == (Phase.LOAD, Phase.PREFILL)


def test_a_job_that_stalls_pays_less_and_less() -> None:
    """A token that is overdue lowers the speed before it comes."""
    bench = Bench()
    job = bench.begin(10.0)
    for at_s in (10.1, 10.2, 10.3):
        bench.hear(at_s, job)

    assert (job.work(10.35).tokens_s, job.work(12.3).tokens_s) == pytest.approx((10.0, 0.5))


def test_what_an_ended_job_still_takes_is_nobodys() -> None:
    """The engine computes on for a job whose receipt is written: the other job pays its own half."""
    bench = Bench()
    ended, running = bench.begin(10.0), bench.begin(10.0)
    bench.read(10.5, BUSY_W)
    bench.clock.now_s = 10.8
    receipt = ended.take()
    bench.read(11.0, BUSY_W)
    bench.read(11.4, BUSY_W)
    energy = bench.end(11.5, running)
    ended.leave()

    assert receipt is not None
    assert (receipt.joules, energy.joules) == pytest.approx((4.0, 7.5))


def test_a_receipt_is_written_once() -> None:
    """Asked again, it is the same."""
    bench = Bench()
    job = bench.begin(10.0)
    bench.read(10.5, BUSY_W)
    bench.clock.now_s = 11.0
    first = job.take()
    bench.clock.now_s = 12.0

    assert job.take() is first


def test_a_job_that_never_began_has_no_receipt() -> None:
    """It was refused, or never reached the engine."""
    assert Charge(Bench().meter).take() is None


def test_a_reader_that_fails_leaves_a_guess() -> None:
    """Its last reading does not hold for ever: what is usual fills in, and the figure is no measurement."""
    bench = Bench()
    job = bench.begin(10.0)
    bench.hear(10.0, job)
    bench.read(10.5, BUSY_W)
    bench.read(10.7, BUSY_W)
    energy = bench.end(10.7 + 10 * HOLD_S, job)

    assert (energy.joules, energy.measured) == (pytest.approx((0.7 + 10 * HOLD_S) * 10), False)


def test_an_older_reading_changes_nothing() -> None:
    """A reader that gives its last figure again, or one from before the job, says nothing new."""
    bench = Bench()
    bench.read(9.0, IDLE_W)
    job = bench.begin(10.0)
    bench.read(9.5, 100.0)
    bench.read(10.5, BUSY_W)
    bench.read(10.5, 100.0)

    assert bench.end(11.0, job).joules == pytest.approx(10.0)


def test_the_baseline_is_learnt_of_the_idle_device_alone() -> None:
    """Neither while a job runs, nor in the seconds after one."""
    bench = Bench()
    for number in range(5):
        bench.read(1.0 + number, 4.0)
    job = bench.begin(10.0)
    for number in range(8):
        bench.read(10.5 + number / 10, BUSY_W)
    bench.end(12.0, job)
    for number in range(8):
        bench.read(12.1 + number / 10, 9.0)
    bench.begin(14.0)

    assert bench.meter.idle.watts == 4.0


def test_a_first_reading_that_saw_the_idle_device_is_passed_over() -> None:
    """A sensor that is late shows what was before: the next reading holds in its place."""
    bench = Bench()
    job = bench.begin(10.0)
    bench.read(10.2, IDLE_W + 0.1)
    bench.read(10.4, BUSY_W)

    assert bench.end(11.0, job).joules == pytest.approx(10.0)


def test_so_is_no_later_one() -> None:
    """A device that idles in the middle of a job idles."""
    bench = Bench()
    job = bench.begin(10.0)
    bench.read(11.0, IDLE_W)
    bench.read(12.0, BUSY_W)

    assert bench.end(12.5, job).joules == pytest.approx(0 + 5.0 + 5.0)


def test_a_crowd_is_booked_now_and_then() -> None:
    """Of a thousand jobs that come within a second none is lost, and they pay together what the device took."""
    bench = Bench()
    jobs = []
    for number in range(1000):
        jobs.append(bench.begin(10.0 + number / 1000))
        if number % 200 == 100:
            bench.read(bench.clock.now_s, BUSY_W)
    bench.clock.now_s = 12.0
    paid_j = [energy.joules for job in jobs if (energy := job.take())]

    assert (len(paid_j), sum(paid_j)) == (1000, pytest.approx(20.0, rel=0.05))


LENGTHS = st.floats(0.0, 3.0)
WATTS = st.floats(0.0, 40.0)
DEEDS = st.lists(
    st.tuples(LENGTHS, st.sampled_from(["read", "begin", "cold", "hear", "take", "leave"]), st.integers(0, 3), WATTS),
    max_size=60,
)


@settings(deadline=None)
@given(DEEDS)
def test_nothing_is_lost_doubled_or_negative(deeds: list[tuple[float, str, int, float]]) -> None:
    """Whatever is read and whoever runs: what all jobs took and what nobody took is what the device took."""
    bench, at_s = Bench(), 0.0
    jobs: list[Charge] = []
    for length_s, what, which, watts in deeds:
        at_s += length_s
        bench.clock.now_s = at_s
        if what == "read":
            bench.read(at_s, watts)
        elif what in ("begin", "cold"):
            jobs.append(bench.begin(at_s, Phase.LOAD if what == "cold" else Phase.PREFILL, load_s=1.0))
        elif jobs:
            job = jobs[which % len(jobs)]
            {"hear": job.hear, "take": job.take, "leave": job.leave}[what]()
    receipts = [energy for job in jobs if (energy := job.take()) is not None]
    bench.meter.settle()

    parts = [bench.meter.unassigned_j, *(one.joules for one in receipts), *(one.idle_joules for one in receipts)]
    assert (sum(parts), min(parts) >= 0) == (pytest.approx(bench.meter.energy_j, abs=1e-6), True)


TRACES = st.lists(st.tuples(st.floats(0.05, 1.0), st.floats(10.0, 30.0)), min_size=1, max_size=20)


def clamped_j(trace: list[tuple[float, float]], from_s: float, to_s: float) -> float:
    """Integrate as the reference says: a trapezoid over the readings inside, the first held back, the last held on."""
    inside = [(at_s, watts) for at_s, watts in trace if from_s <= at_s <= to_s]
    (first_s, first_w), (last_s, last_w) = inside[0], inside[-1]
    joules = (first_s - from_s) * first_w + (to_s - last_s) * last_w
    for (one_s, one_w), (next_s, next_w) in pairwise(inside):
        joules += (next_s - one_s) * (one_w + next_w) / 2
    return joules


@settings(deadline=None)
@given(TRACES, st.floats(2 * GUARD_S, 1.0))
def test_one_job_is_the_trapezoid_with_clamped_edges(steps: list[tuple[float, float]], rest_s: float) -> None:
    """Reading by reading the same comes out as over the whole trace at once."""
    bench = Bench(profile=Profile(idle_w=0.0))
    bench.read(9.0, 30.0)
    job = bench.begin(10.0)
    trace, at_s = [], 10.0
    for length_s, watts in steps:
        at_s += length_s
        trace.append((at_s, watts))
        bench.read(at_s, watts)
    end_s = at_s + rest_s
    energy = bench.end(end_s, job)

    assert energy.joules + energy.idle_joules == pytest.approx(clamped_j(trace, 10.0, end_s), abs=1e-6)
