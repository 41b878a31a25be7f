"""The pace of the line: what to expect."""

from __future__ import annotations

import pytest

from dispatcher.delivery.pace import FEWEST, Pace


def moving(*, gap_s: float = 2.0, number: int = 30) -> Pace:
    """A line in which somebody gets a slot every `gap_s`."""
    pace = Pace()
    for one in range(number):
        pace.granted(gap_s * one)
    return pace


def test_the_rate_is_that_of_the_slots() -> None:
    """One slot every two seconds: ten jobs take twenty."""
    pace = moving()

    assert (0.5, 20.0) == (pace.rate_per_s(), pace.wait_s(10))


@pytest.mark.parametrize("pace", [Pace(), moving(number=FEWEST - 1), moving(gap_s=0.0)], ids=["none", "few", "at once"])
def test_nothing_is_said_before_much_is_known(pace: Pace) -> None:
    """Without a rate nobody is told a time."""
    assert pace.wait_s(1000) is None


def test_a_line_that_was_empty_begins_anew() -> None:
    """When nobody waits, slots are given out as jobs come, which says nothing of the fleet."""
    pace = moving()
    pace.idle()

    assert pace.rate_per_s() is None


def test_waves_do_not_look_like_standstill() -> None:
    """Twenty slots that come free together every minute are a rate of twenty a minute, also a moment before the next wave."""
    pace = Pace()
    for wave in range(4):
        for slot in range(20):
            pace.granted(60.0 * wave + 0.01 * slot)

    assert pytest.approx(20 / 60, rel=0.35) == pace.rate_per_s()


def test_kinds_move_apart() -> None:
    """The line of one model says nothing of another's, and is forgotten alone."""
    pace = Pace()
    for one in range(30):
        pace.granted(1.0 * one, "slow")
        pace.granted(0.1 * one, "fast")
    rates = (pace.rate_per_s("slow"), pace.rate_per_s("fast"))
    pace.idle("slow")

    assert ((pytest.approx(1.0), pytest.approx(10.0)), None, 10.0) == (
        rates,
        pace.rate_per_s("slow"),
        pytest.approx(pace.rate_per_s("fast")),
    )
