"""Which of a Jetson's rails make up what it draws."""

from __future__ import annotations

import pytest

from agents.power import Absent, Unreadable
from agents.power.rails import reading_of, total_of

AGX_ORIN = {"VDD_GPU_SOC": 2.39, "VDD_CPU_CV": 0.796, "VIN_SYS_5V0": 3.522, "VDDQ_VDD2_1V8AO": 0.301}


@pytest.mark.parametrize(
    ("rails", "rail", "watts"),
    [
        ({"POM_5V_IN": 0.9, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.123}, "POM_5V_IN", 0.9),
        ({"VDD_IN": 12.479, "VDD_CPU_GPU_CV": 4.667, "VDD_SOC": 2.817}, "VDD_IN", 12.479),
        ({"VIN": 40.0, "VDD_GPU": 12.0, "VIN_SYS_5V0": 9.0}, "VIN", 40.0),
        (AGX_ORIN, "sum3", 6.708),  # 2.390 + 0.796 + 3.522, without VDDQ
    ],
)
def test_the_total_is_that_of_the_board(rails: dict[str, float], rail: str, watts: float) -> None:
    """A rail through which everything flows, or the sum of those that don't overlap; either is measured."""
    total = total_of(rails)

    assert (total.rail, round(total.watts, 6), total.measured) == (rail, watts, True)


def test_vddq_is_told_and_not_added() -> None:
    """It hangs behind the 5 V rail, so that jtop counts it twice."""
    reading = reading_of(AGX_ORIN, at_s=1.0, source="ina3221")

    assert (round(reading.watts, 6), reading.rails["VDDQ_VDD2_1V8AO"]) == (6.708, 0.301)


@pytest.mark.parametrize("lost", ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"])
def test_a_sum_with_a_rail_missing_is_none(lost: str) -> None:
    """Two thirds of a board would look like a device that has become thrifty."""
    with pytest.raises(Unreadable, match=lost):
        total_of({name: watts for name, watts in AGX_ORIN.items() if name != lost})


def test_what_hangs_behind_a_lost_rail_is_no_total() -> None:
    """The parts of an Orin Nano are a fraction of its draw."""
    with pytest.raises(Unreadable, match="VDD_CPU_GPU_CV, VDD_SOC"):
        total_of({"VDD_CPU_GPU_CV": 4.667, "VDD_SOC": 2.817})


def test_rails_that_nobody_knows_make_an_estimate() -> None:
    """Their sum is all that can be said, and that it may be wrong."""
    total = total_of({"A": 1.0, "B": 2.0})

    assert (total.rail, total.watts, total.measured, total.uncertainty) == ("sum of 2", 3.0, False, 0.5)


def test_no_rails_are_no_sensor() -> None:
    """As on a Thor, whose tegrastats prints none."""
    with pytest.raises(Absent):
        total_of({})


def test_what_is_not_connected_or_impossible_is_dropped() -> None:
    """NC, a negative figure and a megawatt are no rails."""
    reading = reading_of({"VDD_IN": 5.0, "NC": 0.0, "X": -256.0, "Y": 1e6}, at_s=1.0, source="jtop")

    assert dict(reading.rails) == {"VDD_IN": 5.0}
