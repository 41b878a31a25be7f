"""The pace of the line: what to expect, and what can't be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.delivery.pace import FEWEST, Pace


def moving(*, gap_s: float = 2.0, number: int = 30) -> Pace:
    """A line in which somebody gets a slot every `gap_s`."""
    pace = Pace()
    for one in range(number):
        pace.granted(gap_s * one)
    return pace


def test_the_rate_is_that_of_the_slots() -> None:
    """One slot every two seconds: ten jobs take twenty, and at the very least four fifths of that."""
    pace = moving()

    assert (0.5, 20.0, 16.0) == (pace.rate_per_s(), pace.wait_s(10), pace.soonest_s(10))


@pytest.mark.parametrize("pace", [Pace(), moving(number=FEWEST - 1), moving(gap_s=0.0)], ids=["none", "few", "at once"])
def test_nothing_is_ruled_out_before_much_is_known(pace: Pace) -> None:
    """Without a rate nobody is told a time, and nobody is refused for one."""
    assert (None, None) == (pace.wait_s(1000), pace.soonest_s(1000))


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


def test_likely_times_follow_what_was_seen() -> None:
    """When answers take three times what routing expects, so will the next."""
    pace = Pace()
    for _ in range(30):
        pace.answered(expected_s=2.0, took_s=6.0)

    assert (pytest.approx(30.0), pytest.approx(15.0)) == (pace.likely_s(10.0), pace.least_s(10.0))


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 100.0)), max_size=100))
def test_the_least_time_is_below_all_that_was_seen(answers: list[tuple[float, float]]) -> None:
    """No answer of the last ones, had it been asked again, would have been ruled out."""
    pace = Pace()
    for expected_s, took_s in answers:
        pace.answered(expected_s=expected_s, took_s=took_s)
    recent = answers[-20:]

    assert all(pace.least_s(max(1e-3, expected_s)) <= took_s for expected_s, took_s in recent)


@pytest.mark.parametrize(("ran_s", "likely_s"), [(1.0, 2.0), (5.0, 5.0)])
def test_answers_that_were_cut_count_when_they_ran_for_long(ran_s: float, likely_s: float) -> None:
    """One that had no time tells nothing; those that ran for longer than was likely are the long ones, and are never complete."""
    pace = Pace()
    for _ in range(20):
        pace.answered(expected_s=2.0, took_s=2.0)
        pace.cut(expected_s=2.0, ran_s=ran_s)

    assert likely_s == pace.likely_s(2.0)


def test_a_line_that_has_become_faster_rules_out_less() -> None:
    """After a long time at one slot a second, 32 at four a second count for what is possible, and little for what is likely."""
    pace = moving(gap_s=1.0, number=200)
    for one in range(1, 33):
        pace.granted(199.0 + 0.25 * one)

    assert (pytest.approx(32 / (4.0 * 1.25), rel=0.05), True) == (pace.soonest_s(32), (pace.wait_s(32) or 0.0) > 25.0)


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


def test_a_fleet_that_has_grown_rules_nothing_out() -> None:
    """How fast the line was says nothing of the fleet with a device more."""
    pace = moving()
    pace.grown()

    assert pace.soonest_s(1000) is None


@pytest.mark.parametrize(
    ("answers", "guess_s"),
    [([], 25.0), ([8.0], 80.0), ([8.0, 1.0], 10.0), ([8.0] * 30, 80.0), ([8.0] * 15 + [1.0] * 15, 45.0)],
    ids=["none", "one", "the shortest of few", "many", "the average of many"],
)
def test_before_the_line_moves_predictions_count_by_what_is_known_of_them(answers: list[float], guess_s: float) -> None:
    """40 jobs of 10 s on two slots take 200 s as predicted, and an eighth of it at the least; or half of what answers took."""
    pace = Pace()
    for took_s in answers:
        pace.answered(expected_s=10.0, took_s=took_s)

    assert pytest.approx(guess_s) == pace.guessed_s(40, expected_s=10.0, slots=2)
