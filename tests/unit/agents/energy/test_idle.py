"""What the device draws while no job runs."""

from __future__ import annotations

from random import Random
from statistics import fmean

import pytest

from agents.energy.idle import IDLE_SHARE, REMEMBERED, TOGETHER, Idle


def taught(*watts: float, loaded: bool = True) -> Idle:
    idle = Idle()
    for one in watts:
        idle.learn(one, loaded=loaded)
    return idle


def level_w(idle: Idle, *, loaded: bool = True, profile_w: float | None = None, busy_w: float | None = None) -> float:
    return idle.level(loaded=loaded, profile_w=profile_w, busy_w=busy_w).watts


def test_readings_teach_it() -> None:
    """Four readings are enough for a baseline."""
    assert level_w(taught(5.0, 5.0, 5.0, 5.0), profile_w=9.0) == 5.0


def test_until_then_the_profile_counts() -> None:
    """Three readings say nothing yet."""
    assert level_w(taught(5.0, 5.0, 5.0), profile_w=9.0) == 9.0


def test_with_nothing_known_it_is_a_part_of_the_busy_draw() -> None:
    """Boards draw a third to a half of it idle."""
    assert level_w(Idle(), busy_w=10.0) == IDLE_SHARE * 10.0


def test_what_else_the_device_did_is_forgotten() -> None:
    """Something that ran in half of the time does not raise the baseline."""
    assert level_w(taught(*([5.0] * TOGETHER + [8.0] * TOGETHER) * 10)) == 5.0


def test_a_model_in_memory_has_a_baseline_of_its_own() -> None:
    """The other one stands in only where this one is unknown."""
    idle = taught(*[6.0] * TOGETHER, loaded=True)
    before = level_w(idle, loaded=False, profile_w=9.0)
    for _ in range(TOGETHER):
        idle.learn(4.0, loaded=False)

    assert (before, level_w(idle, loaded=False), level_w(idle, loaded=True)) == (6.0, 4.0, 6.0)


def test_it_follows_the_device() -> None:
    """What was read long ago counts no more."""
    idle = taught(*[9.0] * TOGETHER * REMEMBERED, *[5.0] * TOGETHER * REMEMBERED)

    assert level_w(idle) == 5.0


def test_a_noisy_sensor_hardly_lowers_it() -> None:
    """Over many devices with a noise of 5 % the mean baseline is within 2.5 % of the truth, and its interval holds the truth."""
    levels = []
    for seed in range(40):
        random = Random(seed)
        idle = taught(*(random.gauss(5.5, 0.05 * 5.5) for _ in range(TOGETHER * 15)))
        levels.append(idle.level(loaded=True, profile_w=None, busy_w=None))

    covered = sum(abs(one.watts - 5.5) <= one.half_w for one in levels)
    assert (fmean(one.watts for one in levels), covered >= 38) == (pytest.approx(5.5, rel=0.025), True)
