"""Boosted trees, applied: rows of features in, log-odds out. It knows neither how they were grown nor what the features mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_DEPTH = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trees:
    """All nodes of all trees, one after another. A row goes to `left` where its `feature` is at most `threshold`, else to `right`;
    a leaf is its own child on both sides, and `value` is what it adds. `roots` are the trees' first nodes."""

    roots: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float64]
    start: float
    depth: int

    def score(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the log-odds of each row: all rows go down all trees side by side, a level at a time."""
        at = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
        for _ in range(self.depth):
            goes_left = np.take_along_axis(rows, self.feature[at], axis=1) <= self.threshold[at]
            at = np.where(goes_left, self.left[at], self.right[at])
        total: NDArray[np.float64] = self.value[at].sum(axis=1) + self.start
        return total


def check(trees: Trees, features: int) -> None:
    """Raise `ValueError` for trees that would lead a row astray: no request shall find out."""
    nodes = len(trees.feature)
    columns = (trees.threshold, trees.left, trees.right, trees.value)
    sound = (
        nodes > 0
        and len(trees.roots) > 0
        and all(len(column) == nodes for column in columns)
        and 0 <= trees.depth <= MOST_DEPTH
        and all(bool(((part >= 0) & (part < nodes)).all()) for part in (trees.roots, trees.left, trees.right))
        and bool(((trees.feature >= 0) & (trees.feature < features)).all())
    )
    if not sound:
        raise ValueError("its trees do not fit each other")
