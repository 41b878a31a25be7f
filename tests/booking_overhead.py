"""Measures what one booking of the energy meter costs for each job that runs: run as a module, it prints; it judges nothing."""

from __future__ import annotations

import time

from agents.energy.charge import Charge
from agents.energy.meter import QUANTUM_S, Meter
from agents.energy.usual import Profile
from common.frames import Phase
from tests.unit.agents.hand_clock import HandClock

BOOKINGS = 2000


def seconds_for_each(jobs: int) -> float:
    """Give the seconds that a booking takes, divided by how many jobs share it."""
    clock = HandClock()
    meter = Meter(clock, profile=lambda: Profile(idle_w=3.0, busy_w=9.0), loaded=lambda: True)
    for _ in range(jobs):
        charge = Charge(meter)
        charge.begin(Phase.PREFILL)
        charge.hear()
    began_s = time.perf_counter()
    for _ in range(BOOKINGS):
        clock.now_s += 0.1
        meter.settle()
    return (time.perf_counter() - began_s) / BOOKINGS / jobs


def main() -> None:
    """Print a line for each number of jobs, with the share of a core that bookings take at most."""
    for jobs in (2, 8, 32):
        cost_s = seconds_for_each(jobs)
        share = cost_s * jobs / (QUANTUM_S * (jobs - 1))
        print(f"{jobs:3} jobs: {1e6 * cost_s:5.1f} us for each, at most {100 * share:4.1f} % of a core")  # noqa: T201


if __name__ == "__main__":
    main()
