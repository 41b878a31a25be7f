"""The figures that a router is judged by, against hand and brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dispatcher.lab.router.bootstrap import Interval, resampled
from dispatcher.lab.router.metrics import (
    apgr,
    apgr_binned,
    auroc,
    binned,
    cpt,
    cpt_binned,
    judge,
    lead,
    pgr_at,
    pgr_curve,
)

SCORE = np.array([0.9, 0.7, 0.5, 0.1])
GAIN = np.array([1.0, 0.0, 1.0, 0.0])

gains = arrays(np.float64, st.integers(2, 40), elements=st.sampled_from([-1.0, 0.0, 1.0]))


def test_the_curve_is_the_recovered_part_of_the_gap() -> None:
    """Two of four prompts gain; they stand first and third."""
    assert pgr_curve(SCORE, GAIN).tolist() == [0.0, 0.5, 0.5, 1.0, 1.0]


def test_apgr_is_the_area_under_it() -> None:
    """Trapeziums of width 1/4: (0.25 + 0.5 + 0.75 + 1) / 4."""
    assert apgr(SCORE, GAIN) == pytest.approx(0.625)


def test_cpt_is_the_first_share_that_recovers_so_much() -> None:
    """Half of the gap after one call of four, 80 % after three."""
    assert [cpt(SCORE, GAIN, 0.5), cpt(SCORE, GAIN, 0.8)] == [0.25, 0.75]


def test_pgr_between_two_cuts_is_interpolated() -> None:
    """45 % of four prompts is 1.8; the curve is flat from 1 to 2."""
    assert pgr_at(SCORE, GAIN, 0.45) == pytest.approx(0.5)


def test_equal_scores_are_dealt_like_random_calls() -> None:
    """Where all scores are equal, the curve is the diagonal."""
    assert pgr_curve(np.zeros(4), GAIN).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_without_a_gap_nothing_is_defined() -> None:
    """A strong model that is no better leaves no gap to recover."""
    assert np.isnan([apgr(SCORE, -GAIN), cpt(SCORE, -GAIN, 0.5), apgr(SCORE, 0 * GAIN)]).all()


def test_the_eleven_points_are_those_of_routellm() -> None:
    """Twenty distinct scores, ten bins: two prompts a bin, and no call at the last edge, where only greater scores count."""
    score = np.arange(20.0)
    calls, recovered = binned(score, np.ones(20))

    assert (calls * 20).round().tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    assert recovered == pytest.approx(calls)


def test_the_binned_figures_interpolate_between_the_points() -> None:
    """All gain in the first tenth: its trapezium is half of 0.1, then 0.9 in full; 50 % lies half way to the first point."""
    score, gain = np.arange(20.0), np.r_[np.zeros(18), 1.0, 1.0]

    assert apgr_binned(score, gain) == pytest.approx(0.95)
    assert cpt_binned(score, gain, 0.5) == pytest.approx(0.05)


@given(gains, st.integers(0, 2**32 - 1))
def test_apgr_is_the_mean_over_all_cuts(gain: np.ndarray, seed: int) -> None:
    """Brute force: each cut by itself, its score's ties broken by none, since all scores differ."""
    score = np.random.default_rng(seed).permutation(len(gain)).astype(float)
    if gain.sum() <= 0:
        assert np.isnan(apgr(score, gain))
        return
    recovered = [gain[score >= cut].sum() / gain.sum() for cut in np.r_[np.sort(score)[::-1]]]
    cuts = [0.0, *recovered]
    brute = sum((a + b) / 2 for a, b in pairwise(cuts)) / len(gain)

    assert apgr(score, gain) == pytest.approx(brute)


@given(gains, st.integers(0, 2**32 - 1))
def test_no_order_beats_the_oracle(gain: np.ndarray, seed: int) -> None:
    """Sorting by the gain itself gives the greatest area."""
    score = np.random.default_rng(seed).random(len(gain))
    if gain.sum() > 0:
        assert apgr(gain, gain) >= apgr(score, gain) - 1e-9


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auroc_counts_the_pairs(rows: list[tuple[int, bool]]) -> None:
    """Brute force over all pairs of a positive and a negative; ties count half."""
    score = np.array([float(one) for one, _ in rows])
    positive = np.array([label for _, label in rows])
    pairs = [(a > b) + (a == b) / 2 for a in score[positive] for b in score[~positive]]

    assert auroc(score, positive) == pytest.approx(np.mean(pairs) if pairs else float("nan"), nan_ok=True)


def _held(found: list[Interval], truth: float) -> int:
    return sum(one.low <= truth <= one.high for one in found)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Scores that know nothing have an APGR of 0.5: 95 of 100 intervals hold it, give or take what chance does to 200 of them."""
    rng = np.random.default_rng(1)
    found = []
    for seed in range(200):
        weak = (rng.random(400) < 0.4).astype(float)
        strong = (rng.random(400) < 0.8).astype(float)
        found.append(judge(rng.random(400), weak, strong, draws=200, seed=seed).apgr)

    assert 180 <= _held(found, 0.5) <= 198  # 190, and 3.2 standard deviations of 3.1 down


def test_what_is_alike_is_drawn_together() -> None:
    """Forty templates of ten prompts each that gain and are scored alike: drawn by template, 95 of 100 intervals hold the truth;
    drawn by row the ten copies pass for ten facts, and far fewer do."""
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(40), 10)
    by_group, by_row = [], []
    for seed in range(200):
        chance = rng.choice([0.05, 0.75], size=40)[group]
        strong = (rng.random(400) < chance).astype(float)
        score = rng.random(40)[group] + 0.01 * rng.random(400)
        by_group.append(judge(score, np.zeros(400), strong, group=group, draws=200, seed=seed).apgr)
        by_row.append(judge(score, np.zeros(400), strong, draws=200, seed=seed).apgr)

    assert 176 <= _held(by_group, 0.5) <= 198
    assert _held(by_row, 0.5) < 140


def test_equal_scores_share_their_gain_in_each_draw_too() -> None:
    """A score that says nothing is 0.5 in every draw: its interval has no width, whichever way its ties lie."""
    rng = np.random.default_rng(3)
    weak, strong = ((rng.random(400) < right).astype(float) for right in (0.6, 0.75))
    found = judge(np.zeros(400), weak, strong, draws=200)

    assert (found.apgr.low, found.apgr.high, found.auroc_gain.low) == pytest.approx((0.5, 0.5, 0.5))
    assert found.cpt50.low <= found.cpt50.value <= found.cpt50.high


@given(gains, st.integers(0, 2**32 - 1))
def test_a_draw_of_all_prompts_once_is_the_figure_itself(gain: np.ndarray, seed: int) -> None:
    """Also where many scores are equal: one group of all prompts can only be drawn whole."""
    score = np.random.default_rng(seed).integers(0, 4, len(gain)).astype(float)
    fails = gain > 0
    [figures] = resampled(score, gain, fails, np.zeros(len(gain), dtype=np.intp), draws=1, seed=0)
    wanted = (
        apgr(score, gain),
        cpt(score, gain, 0.5),
        cpt(score, gain, 0.8),
        auroc(score, gain > 0),
        auroc(score, fails),
    )

    assert figures.tolist() == pytest.approx(wanted, nan_ok=True)


def test_a_lead_is_judged_on_the_same_draws() -> None:
    """A router that orders like length but for a few prompts leads it surely, though both their intervals overlap widely; and a
    score leads itself by exactly nothing."""
    rng = np.random.default_rng(4)
    length = rng.random(600)
    strong = (rng.random(600) < 0.2 + 0.5 * length).astype(float)
    better = length + 0.05 * strong
    both = [judge(one, np.zeros(600), strong, draws=300).apgr for one in (length, better)]
    found = lead(better, length, strong, draws=300)
    none = lead(length, length, strong, draws=300)

    assert both[0].high > both[1].low
    assert (found.low > 0, found.value) == (True, pytest.approx(both[1].value - both[0].value))
    assert (none.low, none.value, none.high) == (0.0, 0.0, 0.0)


def test_the_intervals_lie_around_the_values() -> None:
    """The drawn figures are the same figures: a value lies inside its own interval, for each of them."""
    rng = np.random.default_rng(2)
    weak = (rng.random(500) < 0.5).astype(float)
    strong = (rng.random(500) < 0.8).astype(float)
    found = judge(strong - weak + rng.normal(size=500), weak, strong, draws=300)
    figures = [found.apgr, found.cpt50, found.cpt80, found.auroc_gain, found.auroc_weak_fails]

    assert [one for one in figures if not one.low <= one.value <= one.high] == []


def test_the_same_seed_gives_the_same_interval() -> None:
    """Bootstrap draws are seeded."""
    assert judge(SCORE, 1 - GAIN, np.ones(4), draws=50, seed=3) == judge(SCORE, 1 - GAIN, np.ones(4), draws=50, seed=3)
