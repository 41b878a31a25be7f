"""Watts from counters of energy."""

from __future__ import annotations

from agents.power.counters import STALE_S, Counted, Meter


def counts(joules: float, range_j: float | None = None) -> dict[str, Counted]:
    return {"package-0": Counted(joules=joules, range_j=range_j)}


def test_the_first_look_tells_nothing() -> None:
    """There is nothing to compare it with."""
    assert Meter(least_s=0.1).look(10.0, counts(5.0)) is None


def test_the_mean_is_of_the_middle() -> None:
    """30 J in 2 s are 15 W, a second ago."""
    meter = Meter(least_s=0.1)
    meter.look(10.0, counts(5.0))
    mean = meter.look(12.0, counts(35.0))

    assert mean is not None
    assert (mean.at_s, mean.watts) == (11.0, {"package-0": 15.0})


def test_a_counter_that_began_again_has_not_run_backwards() -> None:
    """From 95 J to the end at 100 J, and on to 25 J."""
    meter = Meter(least_s=0.1)
    meter.look(0.0, counts(95.0, range_j=100.0))
    mean = meter.look(2.0, counts(25.0, range_j=100.0))

    assert mean is not None
    assert mean.watts == {"package-0": 15.0}


def test_a_counter_that_was_set_back_tells_nothing() -> None:
    """As when a driver was loaded anew."""
    meter = Meter(least_s=0.1)
    meter.look(0.0, counts(95.0))
    assert meter.look(2.0, counts(25.0)) is None
    mean = meter.look(4.0, counts(45.0))

    assert mean is not None
    assert mean.watts == {"package-0": 10.0}


def test_a_look_that_comes_at_once_gives_the_last_mean() -> None:
    """Over less than the counter's steps a mean would be noise."""
    meter = Meter(least_s=0.1)
    meter.look(0.0, counts(0.0))
    mean = meter.look(1.0, counts(10.0))

    assert meter.look(1.05, counts(30.0)) is mean


def test_a_mean_over_minutes_is_none() -> None:
    """The counter may have begun again more than once."""
    meter = Meter(least_s=0.1)
    meter.look(0.0, counts(0.0))

    assert meter.look(STALE_S + 1, counts(10.0)) is None


def test_another_set_of_counters_is_a_new_beginning() -> None:
    """A card that came in between has no watts yet."""
    meter = Meter(least_s=0.1)
    meter.look(0.0, counts(0.0))

    assert meter.look(1.0, {**counts(1.0), "package-1": Counted(joules=1.0)}) is None
