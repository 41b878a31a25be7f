"""Many schedules, one after the other; a failing one is made small, and told with the command that runs it again."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from tests.simulation.agents import RealDevice
from tests.simulation.ledger import Ledger, Violation
from tests.simulation.schedule import HEADER, STEP, Schedule
from tests.simulation.world import RULES, Rules, simulate

MOST_TRIES = 400
"""Runs that a failing schedule gets to become smaller; a few milliseconds each."""


@dataclass(slots=True)
class Failure:
    """A schedule that breaks an invariant, as small as it could be made."""

    schedule: Schedule
    violations: list[Violation]
    seed: int | None = None
    real_agent: bool = False

    def __str__(self) -> str:
        command = "python -m tests.simulation" + (" --real-agent" if self.real_agent else "")
        by_seed = "" if self.seed is None else f"\nas it was drawn:  {command} --seed {self.seed}"
        told = "\n".join(f"  {one}" for one in self.violations)
        return f"{told}\nrun it again:     {command} --schedule {self.schedule.data.hex()}{by_seed}"


@dataclass(slots=True)
class Campaign:
    """What many schedules gave."""

    schedules: int = 0
    cpu_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    """How many schedules broke an invariant."""
    failures: list[Failure] = field(default_factory=list)

    def __add__(self, other: Campaign) -> Campaign:
        """Put two together."""
        return Campaign(
            self.schedules + other.schedules,
            self.cpu_s + other.cpu_s,
            self.counts + other.counts,
            self.broken + other.broken,
            self.failures + other.failures,
        )


@contextmanager
def silence() -> Iterator[None]:
    """Log nothing meanwhile: jobs fail here by the thousand, and on purpose."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def campaign(seeds: Iterable[int], *, rules: Rules = RULES, most_failures: int = 1, until: str = "") -> Campaign:
    """Run the schedule of each seed. Stop when so many have failed, each of which is made small; or at the first that breaks the
    invariant `until`."""
    told = Campaign()
    started_s = time.process_time()
    with silence():
        for seed in seeds:
            ledger = simulate(Schedule.of_seed(seed), rules=rules)
            told.schedules += 1
            told.counts += ledger.counts
            broken = {one.invariant for one in ledger.violations}
            told.broken.update(broken)
            if until:
                if until in broken:
                    break
            elif broken:
                told.failures.append(smallest(Schedule.of_seed(seed), rules=rules, seed=seed))
                if len(told.failures) >= most_failures:
                    break
    told.cpu_s = time.process_time() - started_s
    return told


def smallest(schedule: Schedule, *, rules: Rules = RULES, seed: int | None = None) -> Failure:
    """Leave out of a failing schedule what it does not need to break the same invariant."""
    violations = simulate(schedule, rules=rules).violations
    wanted = {one.invariant for one in violations}
    tries = 0

    def fails(candidate: Schedule) -> bool:
        nonlocal violations, tries
        tries += 1
        found = simulate(candidate, rules=rules).violations
        if not wanted & {one.invariant for one in found}:
            return False
        violations = found
        return True

    step = max(1, schedule.length // 2)
    while step and tries < MOST_TRIES:
        at = 0
        while at < schedule.length and tries < MOST_TRIES:
            candidate = schedule.without(at, at + step)
            if fails(candidate):
                schedule = candidate
            else:
                at += step
        step //= 2
    for index in range(-1, schedule.length):
        for at in range(HEADER if index < 0 else STEP):
            candidate = schedule.tamed(index, at)
            if candidate != schedule and tries < MOST_TRIES and fails(candidate):
                schedule = candidate
    return Failure(schedule, violations, seed, real_agent=issubclass(rules.device, RealDevice))


def replay(schedule: Schedule, *, rules: Rules = RULES) -> Ledger:
    """Run one schedule, with its trace."""
    with silence():
        return simulate(schedule, tracing=True, rules=rules)


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run the schedule of this seed, and print its trace")
    parser.add_argument("--schedule", help="run this schedule, in hexadecimal digits, and print its trace")
    parser.add_argument("--count", type=int, default=10_000, help="run so many seeds (default: 10000)")
    parser.add_argument("--first", type=int, default=0, help="the first of these seeds (default: 0)")
    parser.add_argument("--failures", type=int, default=5, help="stop after so many failures (default: 5)")
    parser.add_argument(
        "--real-agent", action="store_true", help="let the devices run our agent, over a backend that obeys"
    )
    asked = parser.parse_args(arguments)
    rules = Rules(device=RealDevice) if asked.real_agent else RULES
    if asked.schedule is not None or asked.seed is not None:
        schedule = Schedule.of_seed(asked.seed) if asked.schedule is None else Schedule(bytes.fromhex(asked.schedule))
        return _tell_one(replay(schedule, rules=rules), schedule)
    seeds = range(asked.first, asked.first + asked.count)
    return _tell_many(campaign(seeds, rules=rules, most_failures=asked.failures))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _tell_one(ledger: Ledger, schedule: Schedule) -> int:
    _say(str(schedule.layout))
    for at_s, line in ledger.trace:
        _say(f"{at_s:9.4f}  {line}")
    for violation in ledger.violations:
        _say(str(violation))
    _say(f"{len(ledger.violations)} violations; schedule {schedule.data.hex()}")
    return 1 if ledger.violations else 0


def _tell_many(told: Campaign) -> int:
    for failure in told.failures:
        _say(f"{failure}\n")
    for what, number in sorted(told.counts.items()):
        _say(f"{number:>9}  {what}")
    _say(
        f"{told.schedules} schedules, {len(told.failures)} failures, {told.cpu_s:.1f} s of CPU: "
        f"{1000 * told.cpu_s / max(1, told.schedules):.2f} ms of CPU each"
    )
    return 1 if told.failures else 0
