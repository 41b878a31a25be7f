"""Bootstrap intervals against what is known of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dispatcher.lab.intervals import interval, mean, median


def test_it_is_the_interval_of_the_mean() -> None:
    """200 values of a standard deviation of 1: 1.96 / sqrt(200) = 0.139 to both sides, within a fifth; the same by seed."""
    values = list(np.random.default_rng(1).normal(5.0, 1.0, 200))
    found = interval(values, range(200), mean, seed=7)

    assert found is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.std(values) / np.sqrt(200), rel=0.2)
    assert found.low < found.value < found.high
    assert pytest.approx(np.mean(values)) == found.value
    assert found == interval(values, range(200), mean, seed=7)


def test_it_holds_the_truth_in_95_of_100() -> None:
    """30 groups of 4 that are alike, 150 samples: three standard errors of 0.95 are 0.053, and 30 groups cost a little."""
    chance = np.random.default_rng(3)
    groups = np.repeat(np.arange(30), 4)
    held = 0
    for seed in range(150):
        values = chance.normal(0.0, 1.0, 30)[groups] + chance.normal(0.0, 0.1, 120)
        found = interval(values.tolist(), groups.tolist(), mean, seed=seed, draws=200)
        assert found is not None
        held += found.low <= 0.0 <= found.high

    assert 0.88 < held / 150 < 1.0


def test_equals_have_no_width_and_nothing_has_no_interval() -> None:
    """Neither is an error."""
    found = interval([3.0] * 9, range(9), mean, seed=0)

    assert found is not None
    assert (3.0, 3.0, 3.0) == (found.value, found.low, found.high)
    assert interval([], [], mean, seed=0) is None
    assert interval([math.inf], [0], mean, seed=0) is None


def test_a_median_may_be_endless() -> None:
    """4 of 10 never came: 6 s, and perhaps never; the mean is of what came."""
    values = [1.0, 2.0, 3.0, 4.0, 6.0, 7.0] + [math.inf] * 4
    middle, average = (interval(values, range(10), figure, seed=0) for figure in (median, mean))

    assert middle is not None
    assert average is not None
    assert (6.0, math.inf) == (middle.value, middle.high)
    assert pytest.approx(23 / 6) == average.value
    assert average.high < math.inf
