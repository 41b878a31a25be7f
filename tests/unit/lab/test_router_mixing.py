"""How opinions are mixed: by the training rows, and not by noise."""

from __future__ import annotations

import numpy as np

from dispatcher.lab.router.least_squares import Ridge
from dispatcher.lab.router.mixing import MIXES, Shares, blend, choose, leaning


def _parts(seed: int, rows: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Four opinions of nothing, each of spread 1, and gains of -1, 0 and 1 with a gap to recover."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(4, rows)), rng.choice([-1.0, 0.0, 1.0], size=rows, p=[0.1, 0.6, 0.3])


def test_the_opinion_that_knows_counts_most() -> None:
    """Neighbours that see the gain, and three that guess: they count more than all others together."""
    parts, gain = _parts(0)
    parts[2] = gain + 0.5 * parts[2]
    shares = choose(parts, gain, MIXES)

    assert shares.knn > 0.5
    assert round(sum(shares), 9) == 1.0


def test_without_a_gap_all_mixes_count_the_same() -> None:
    """Where the strong model is no better on the whole, or hardly ever another, an order can't be judged."""
    parts, gain = _parts(1)
    even = np.mean([np.array(mix) / sum(mix) for mix in MIXES], axis=0)
    few = np.where(np.arange(len(gain)) < 19, 1.0, 0.0)

    assert [np.allclose(choose(parts, gains, MIXES), even) for gains in (-np.abs(gain), few, np.abs(gain))] == [
        True,
        True,
        False,
    ]


def test_the_lean_is_part_of_the_line() -> None:
    """With shares of 1 and 3 a quarter of the line stays, and three quarters are length at the line's spread; a gain of 0.2 on
    average stays one."""
    length = np.array([-1.0, 1.0])
    line = Ridge(np.array([2.0, 4.0]), 0.2, np.array([0.1, 0.3]), 0.0, np.array([0.1, 0.3]))
    leant = leaning(line, length, 1, Shares(1.0, 0.0, 0.0, 3.0), (0.1, 1.0))

    assert np.allclose([0.5, 1.0 + 0.075], leant.weights)
    assert np.allclose([0.175 - 0.075, 0.225 + 0.075], leant.left_out)
    assert np.isclose(0.2, leant.bias)


def test_the_mix_reads_as_a_gain() -> None:
    """By one straight line: the mean is the labels', and what is left has nothing to do with the mix."""
    parts, gain = _parts(2)
    parts[1] += gain
    mix, said = blend(parts[:3], np.ones(3), gain, Shares(0.2, 0.5, 0.3, 0.0))

    assert np.isclose(gain.mean(), said.mean())
    assert abs(np.mean((gain - said) * (said - said.mean()))) < 1e-12
    assert np.isclose(mix.kernel / mix.ridge, 2.5)
