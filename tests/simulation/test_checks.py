"""Each invariant is really looked at: a dispatcher with the bug in it is caught, and one without is not."""

from __future__ import annotations

import pytest

from tests.simulation import bugs
from tests.simulation.agents import RealDevice
from tests.simulation.ambush import Moment
from tests.simulation.campaign import campaign
from tests.simulation.hosts import Build
from tests.simulation.schedule import Kind, Schedule
from tests.simulation.world import Rules, simulate

SEEDS = 3000
"""More than any of these bugs needs, wherever one begins."""

BUGS = [
    ("I0", bugs.betrayed(bugs.Clumsy), 5),
    ("I1", bugs.betrayed(bugs.LosesTheEnd), 48),
    ("I2", bugs.betrayed(bugs.TalksOn), 0),
    ("I3", bugs.betrayed(bugs.SkipsAToken), 0),
    ("I3", bugs.betrayed(bugs.BeginsAnew), 140),
    ("I3", bugs.betrayed(bugs.NoFence), 8),
    ("I4", bugs.betrayed(bugs.NoFence), 237),
    ("I5", bugs.betrayed(bugs.AsksTwice), 0),
    ("I6", bugs.betrayed(bugs.SeesMoreSlots), 6),
    ("I7", bugs.betrayed(bugs.NeverStopsDevices), 34),
    ("I7", bugs.betrayed(bugs.DeafToCancel), 136),
    ("I8", bugs.betrayed(bugs.NoSenseOfTime), 0),
    ("I9", bugs.changed(bugs.keeps_slots), 0),
    ("Q1", bugs.betrayed(bugs.BuriesSilently), 22),
    ("Q2", bugs.betrayed(bugs.TellsTwice), 12),
    ("Q2", bugs.betrayed(bugs.NoCompareAndSet), 932),
    ("Q3", bugs.betrayed(bugs.LosesText), 12),
    ("Q4", bugs.betrayed(bugs.AcksFirst), 12),
    ("Q6", bugs.betrayed(bugs.LeavesAll), 12),
]
"""The invariant that each breaks, and the seed at which the simulation finds it now: from another on it takes longer."""


@pytest.mark.parametrize(("invariant", "build", "first"), BUGS)
@pytest.mark.timeout(300)
def test_a_bug_is_caught_by_its_invariant(invariant: str, build: Build, first: int) -> None:
    """A dispatcher with this bug breaks this invariant, in few schedules."""
    told = campaign(range(first, first + SEEDS), rules=Rules(build=build), until=invariant)

    assert told.broken[invariant] > 0


@pytest.mark.parametrize(("build", "broken"), [(bugs.Honest, set()), (bugs.SaysCancelled, {"Q5"})])
def test_a_promise_that_is_not_kept_is_caught(build: type[bugs.Treacherous], broken: set[str]) -> None:
    """Who is told that a durable job is cancelled, where nothing fails, is told the truth: a liar breaks Q5, and nothing else."""
    schedule = Schedule.durable((Kind.MOOD, 3), (Kind.QUEUE, 0), (Kind.QUEUE_CANCEL, 0), (Kind.WAIT, 0))
    ledger = simulate(schedule, rules=Rules(build=bugs.betrayed(build)))

    assert broken == {one.invariant for one in ledger.violations}
    assert ledger.counts[Kind.QUEUE_CANCEL] == 1


@pytest.mark.parametrize(("build", "broken"), [(bugs.Honest, set()), (bugs.CountsLosses, {"Q7"})])
def test_a_job_that_dies_with_its_dispatchers_is_not_given_up(build: type[bugs.Treacherous], broken: set[str]) -> None:
    """Three dispatchers die as soon as they have claimed it, which is all the tries that it has: the fourth answers it."""
    ambush, start = (Kind.AMBUSH, list(Moment).index(Moment.CLAIMED)), (Kind.DISPATCHER_START, 0)
    again = [start, ambush, (Kind.WAIT, 0)]  # it is delivered again two seconds after each death
    schedule = Schedule.durable(ambush, (Kind.QUEUE, 0), *again, *again, start, pause_s=0.6)
    ledger = simulate(schedule, rules=Rules(build=bugs.betrayed(build)))

    assert broken == {one.invariant for one in ledger.violations}
    assert ledger.counts["struck when claimed"] == 3


@pytest.mark.parametrize(("build", "broken"), [(bugs.Honest, set()), (bugs.StoresNoAnswers, {"I10"})])
@pytest.mark.parametrize("way", [0, 2, 3], ids=["frames", "held", "one reply"])
def test_an_answer_that_dies_with_its_dispatcher_is_caught(
    build: type[bugs.Treacherous], broken: set[str], way: int
) -> None:
    """Who has heard an end comes back after a kill, and hears the same: a dispatcher that stores nothing breaks I10 alone."""
    end, again = (Kind.DISPATCHER_KILL, Kind.DISPATCHER_START), (Kind.COME_BACK, 0)
    schedule = Schedule.durable((Kind.SUBMIT, way), *[(Kind.WAIT, 0)] * 8, *[(kind, 0) for kind in end], again)
    ledger = simulate(schedule, rules=Rules(build=bugs.betrayed(build)))

    assert broken == {one.invariant for one in ledger.violations}
    assert ledger.counts["heard again"] == 1


@pytest.mark.timeout(300)
def test_a_bus_that_changes_nothing_breaks_nothing() -> None:
    """What catches the bugs is not the bus on which they are planted."""
    seeds = {*range(20), *(first for _, _, first in BUGS)}
    told = campaign(sorted(seeds), rules=Rules(build=bugs.betrayed(bugs.Honest)))

    assert ([], len(seeds)) == ([str(failure) for failure in told.failures], told.schedules)


@pytest.mark.parametrize(("invariant", "device", "first"), [("I6", bugs.Overbooked, 6), ("I7", bugs.DeafDevice, 67)])
@pytest.mark.timeout(300)
def test_a_bug_of_an_agent_is_caught(invariant: str, device: type[RealDevice], first: int) -> None:
    """The real agent with a bug breaks an invariant of devices."""
    told = campaign(range(first, first + SEEDS), rules=Rules(device=device), until=invariant)

    assert told.broken[invariant] > 0


@pytest.mark.timeout(300)
def test_a_failure_is_told_small_and_can_be_repeated() -> None:
    """Of a schedule that fails only what matters is left, and the digits that are printed fail in the same way."""
    rules = Rules(build=bugs.betrayed(bugs.TalksOn))
    failure = campaign(range(SEEDS), rules=rules).failures[0]
    digits = str(failure).partition("--schedule ")[2].split()[0]
    again = simulate(Schedule(bytes.fromhex(digits)), rules=rules)

    assert failure.schedule.length <= 2
    assert [str(one) for one in failure.violations] == [str(one) for one in again.violations]
