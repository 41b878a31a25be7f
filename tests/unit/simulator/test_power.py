"""Power, energy and temperature of the simulated board."""

from __future__ import annotations

import math

import pytest

from agents.simulator.power import Activity, advance, idle_state, settled_c, watts
from agents.simulator.profiles import catalogue

ORIN = catalogue().devices["orin"]


@pytest.mark.parametrize(
    ("activity", "expected"),
    [
        (Activity(), 5.5),
        (Activity(loading=1), 8.0),
        (Activity(decoding=2), 13.4),
        (Activity(loading=1, decoding=1), 13.4),
        (Activity(prefilling=1, decoding=1), 15.5),
    ],
)
def test_the_heaviest_phase_sets_the_power(activity: Activity, expected: float) -> None:
    """Prefill over decode over loading over idle."""
    assert watts(ORIN, activity) == expected


def test_energy_is_the_integral_of_the_steps() -> None:
    """10 s idle at 5.5 W, 4 s decode at 13.4 W, 1 s idle: 55 + 53.6 + 5.5 J."""
    state = idle_state(ORIN, 0.0)
    for now_s, activity in ((10.0, Activity(decoding=1)), (14.0, Activity()), (15.0, Activity())):
        state = advance(ORIN, state, now_s=now_s, activity=activity)

    assert state.energy_j == pytest.approx(114.1)


def test_reading_often_changes_nothing() -> None:
    """The integral does not depend on how often it is looked at."""
    often = once = advance(ORIN, idle_state(ORIN, 0.0), now_s=0.0, activity=Activity(decoding=1))
    for tenth in range(1, 101):
        often = advance(ORIN, often, now_s=tenth / 10, activity=Activity(decoding=1))
    once = advance(ORIN, once, now_s=10.0, activity=Activity(decoding=1))

    assert (often.energy_j, often.temperature_c) == pytest.approx((once.energy_j, once.temperature_c))


def test_an_idle_board_has_settled() -> None:
    """25 C + 5.5 W x 2.6 C/W."""
    assert idle_state(ORIN, 0.0).temperature_c == pytest.approx(39.3)


def test_heat_approaches_the_new_balance_with_the_time_constant() -> None:
    """After one time constant, 1 - 1/e of the way from 39.3 to 59.84 C is covered."""
    start = advance(ORIN, idle_state(ORIN, 0.0), now_s=0.0, activity=Activity(decoding=1))
    state = advance(ORIN, start, now_s=120.0, activity=Activity(decoding=1))

    assert state.temperature_c == pytest.approx(settled_c(ORIN, 13.4) - (59.84 - 39.3) / math.e, abs=0.01)


def test_a_clock_that_stands_still_uses_no_energy() -> None:
    """Two readings at one moment agree."""
    state = advance(ORIN, idle_state(ORIN, 5.0), now_s=4.0, activity=Activity())

    assert (state.energy_j, state.at_s) == (0.0, 5.0)
