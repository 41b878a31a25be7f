"""Trees applied: the way a row goes, and trees that would lead it astray."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dispatcher.cache.guard.trees import Trees, check

STUMPS = Trees(
    roots=np.array([0, 3], dtype=np.int32),
    feature=np.array([0, 0, 0, 1, 0, 0], dtype=np.int32),
    threshold=np.array([0.5, 0, 0, -1.0, 0, 0]),
    left=np.array([1, 1, 2, 4, 4, 5], dtype=np.int32),
    right=np.array([2, 1, 2, 5, 4, 5], dtype=np.int32),
    value=np.array([0.0, -1.0, 1.0, 0.0, 10.0, 20.0]),
    start=0.25,
    depth=1,
)
"""The first asks whether feature 0 is at most 0.5 (-1, else 1), the second whether feature 1 is at most -1 (10, else 20)."""


@pytest.mark.parametrize(
    ("row", "score"),
    [((0.0, 0.0), 0.25 - 1 + 20), ((0.5, -1.0), 0.25 - 1 + 10), ((0.6, 0.0), 0.25 + 1 + 20)],
)
def test_a_row_goes_left_where_it_is_at_most_the_threshold(row: tuple[float, float], score: float) -> None:
    """And the leaves of all trees add up."""
    assert [score] == STUMPS.score(np.array([row])).tolist()


def test_rows_are_scored_side_by_side_as_one_by_one() -> None:
    """Neither order nor number of rows says anything."""
    rows = np.array([(0.0, 0.0), (0.6, -2.0), (0.5, -1.0)])

    assert [STUMPS.score(rows[place : place + 1])[0] for place in range(3)] == STUMPS.score(rows).tolist()


@pytest.mark.parametrize(
    "broken",
    [
        replace(STUMPS, left=np.array([9, 1, 2, 4, 4, 5], dtype=np.int32)),
        replace(STUMPS, feature=np.array([2, 0, 0, 1, 0, 0], dtype=np.int32)),
        replace(STUMPS, roots=np.array([], dtype=np.int32)),
        replace(STUMPS, value=np.array([1.0])),
        replace(STUMPS, depth=1000),
    ],
)
def test_trees_that_lead_astray_are_refused(broken: Trees) -> None:
    """Before any request is asked."""
    with pytest.raises(ValueError):
        check(broken, 2)
