"""Hits, wrong answers and the cuts that keep an error rate, on outcomes small enough to be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dispatcher.lab.cache.curves import at, at_error, best, swept
from dispatcher.lab.cache.learning import least_cut
from dispatcher.lab.cache.policies import NEVER
from dispatcher.lab.cache.runs import EXACT, Outcome


def outcome(*requests: tuple[float, bool]) -> Outcome:
    """Requests by score and whether the answer is right, each of an intent of its own."""
    return Outcome(
        np.array([score for score, _ in requests]), np.array([right for _, right in requests]), np.arange(len(requests))
    )


TEN = outcome((5, True), (4, True), (3, False), (2, True), (1, False), *[(NEVER, False)] * 5)


@pytest.mark.parametrize(
    ("rate", "cut"),
    [
        (0.0, 3.5),  # two hits, none wrong
        (0.1, 1.5),  # four hits, one of ten requests wrong
        (0.2, -1.0),  # all that have a score, two wrong
    ],
)
def test_the_least_cut_keeps_the_rate(rate: float, cut: float) -> None:
    """Wrong answers count as a share of all requests, also of those that get none."""
    assert cut == least_cut(TEN, rate)


def test_scores_that_right_and_wrong_share_are_kept_out_together() -> None:
    """A cut can't part what has one score."""
    tied = outcome((5, True), (4, True), (4, False), (4, True), (3, True))

    assert 4.5 == least_cut(tied, 0.0)


def test_the_very_same_text_moves_no_cut() -> None:
    """It is given whatever the cut is."""
    assert least_cut(outcome((EXACT, False), (4, True), (3, False)), 0.0) == 3.5


def test_a_wrong_answer_above_all_others_leaves_no_cut() -> None:
    """Then nothing is given at that rate."""
    assert not outcome((5, False), (4, True)).hits(least_cut(outcome((5, False), (4, True)), 0.0)).any()


def test_a_curve_counts_hits_and_errors_over_all_requests() -> None:
    """Ten requests: at the loosest threshold five hits, two of them wrong."""
    curve = swept(TEN, 10)

    assert (0.5, 0.2) == (curve.hit_rate[-1], curve.error_rate[-1])


def test_the_best_threshold_has_the_most_hits_that_an_error_rate_allows() -> None:
    """At a tenth wrong, four of ten."""
    curve = swept(TEN, 10)

    assert 0.4 == curve.hit_rate[best(curve, 0.1)]


def test_a_policy_beside_itself_has_as_many_hits() -> None:
    """In each draw, so that the interval is that one number."""
    curve = swept(TEN, 10)
    point = at_error(curve, curve, 0.1, seed=1)

    assert point.times is not None
    assert (1.0, 1.0, 1.0) == (point.times.value, point.times.low, point.times.high)


def test_an_interval_holds_its_figure() -> None:
    """Over draws of whole intents."""
    point = at(swept(TEN, 10), -1, seed=1)

    assert point.hits.low < point.hits.value < point.hits.high
