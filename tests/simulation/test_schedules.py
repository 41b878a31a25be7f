"""No schedule breaks an invariant: many by seed, and those that Hypothesis finds interesting.

`DROVER_SIMULATION_SCHEDULES` runs more of both, `DROVER_SIMULATION_FIRST` begins at another seed; `python -m tests.simulation` runs
ten thousand without pytest.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulation.agents import RealDevice
from tests.simulation.campaign import Campaign, campaign, silence, smallest
from tests.simulation.devices import Device
from tests.simulation.node import Node
from tests.simulation.schedule import HEADER, MOST_ACTIONS, STEP, Kind, Schedule
from tests.simulation.world import Rules, simulate

SCHEDULES = int(os.environ.get("DROVER_SIMULATION_SCHEDULES", "2000"))
"""As many as leave the other tests their time; whoever changes delivery runs ten thousand, and others than these."""
FIRST = int(os.environ.get("DROVER_SIMULATION_FIRST", "0"))
CHUNK = 250
ROOT = Path(__file__).parents[2]

DRAWN = st.binary(min_size=HEADER + 10 * STEP, max_size=HEADER + MOST_ACTIONS * STEP).map(Schedule)
"""Zeros are waits, so that a shrunk schedule is short although its bytes are not."""


def _chunk(first: int) -> Campaign:
    return campaign(range(first, min(first + CHUNK, FIRST + SCHEDULES)))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_seed_breaks_an_invariant() -> None:
    """All these schedules hold I1 to I9, and between them everything happens that can happen."""
    firsts = range(FIRST, FIRST + SCHEDULES, CHUNK)
    with ProcessPoolExecutor(min(4, os.cpu_count() or 1), multiprocessing.get_context("spawn")) as workers:
        told = sum(workers.map(_chunk, firsts), Campaign())

    assert [] == [str(failure) for failure in told.failures]
    assert SCHEDULES == told.schedules
    assert [] == [str(kind) for kind in Kind if not told.counts[kind]]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(
    max_examples=max(1, SCHEDULES // 10),
    deadline=None,
    derandomize=FIRST == 0,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(DRAWN)
def test_no_drawn_schedule_breaks_an_invariant(schedule: Schedule) -> None:
    """What Hypothesis draws holds I1 to I9; a schedule that does not is told as small as it gets, with its command."""
    with silence():
        violations = simulate(schedule).violations

    assert not violations, f"\n{smallest(schedule)}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_seed_breaks_an_invariant_with_the_real_agent() -> None:
    """The same holds when the devices run our agent, over a backend that obeys a mood."""
    told = campaign(range(FIRST, FIRST + SCHEDULES // 20), rules=Rules(device=RealDevice))

    assert [] == [str(failure) for failure in told.failures]
    assert told.counts["ended end"] > 0


@pytest.mark.parametrize(
    ("digits", "device"),
    [
        ("0082fc00dd0001008c000000c000b5e3", Device),  # two messages for one job, each dropped because of the other
        ("0000de002000080010000000a3000007", RealDevice),  # an engine that never let go of its only slot
    ],
)
def test_what_was_broken_once_holds(digits: str, device: type[Node]) -> None:
    """Schedules that have found a fault find it no more."""
    with silence():
        ledger = simulate(Schedule(bytes.fromhex(digits)), rules=Rules(device=device))

    assert [] == [str(one) for one in ledger.violations]
    assert ledger.counts["queue done"] == 1


@pytest.mark.parametrize(
    "digits",
    [
        "000073001a0000720dc7000062000000",  # the job that was offered to another dispatcher's party had just failed
        "39007f001700000000000023ed0000002400000000000017",  # an offer that came too late was told beside the party's own answer
    ],
)
def test_a_job_that_is_lent_is_told_once(digits: str) -> None:
    """Between dispatchers, too, a party hears one end, whatever happens between question, offer and acceptance."""
    with silence():
        ledger = simulate(Schedule(bytes.fromhex(digits)))

    assert [] == [str(one) for one in ledger.violations]


@pytest.mark.parametrize("seed", [7, 42])
def test_a_seed_always_gives_the_same(seed: int) -> None:
    """A schedule can be replayed: another process, where strings hash otherwise, tells the same to the letter."""
    traces = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", str(seed)],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hashing},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hashing in ("1", "2")
    ]

    assert traces[0] == traces[1]
    assert "asks j1" in traces[0]
