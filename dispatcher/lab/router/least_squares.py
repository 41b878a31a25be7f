"""Least squares with a penalty, in closed form, the penalty chosen by leaving one group of rows out; it knows no prompts.

Rows of one group are left out together: copies of a row would else teach what it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

PENALTIES = np.logspace(-2, 5, 29)
"""From nearly none to one that leaves the mean; the best lay well inside on all data that we have seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """`rows @ weights + bias`. `left_out` is each training row as predicted from other groups, `loss` its mean square error."""

    weights: Floats
    bias: float
    left_out: Floats
    loss: float


def ridge(rows: Floats, target: Floats, group: Rows | None = None) -> Ridge:
    """Fit on rows of features; the bias is not penalised. `group` numbers what is left out together; None: each row alone."""
    mean, middle = rows.mean(axis=0), float(target.mean())
    centred = rows - mean
    values, vectors = np.linalg.eigh(centred.T @ centred)
    along, left_out, loss = _solve(centred @ vectors, np.maximum(values, 0.0), target, _several(group))
    weights = vectors @ along
    return Ridge(weights, middle - float(mean @ weights), left_out, loss)


def kernel_ridge(kernel: Floats, target: Floats, group: Rows | None = None) -> Ridge:
    """Fit on the kernel between the training rows: `kernel(new, training) @ weights + bias`; else like `ridge`."""
    mean = kernel.mean(axis=0)
    centred = kernel - mean - mean[:, None] + mean.mean()
    values, vectors = np.linalg.eigh(centred)
    sound = values > 1e-9 * values[-1]
    values, vectors = values[sound], vectors[:, sound]
    along, left_out, loss = _solve(vectors * np.sqrt(values), values, target, _several(group))
    weights = vectors @ (along / np.sqrt(values))
    return Ridge(weights, float(target.mean() - mean @ weights), left_out, loss)


def _several(group: Rows | None) -> list[Rows]:
    """Give the rows of each group that has several, but of none that has over half of all: without it there is nothing to fit."""
    if group is None:
        return []
    _, at, sizes = np.unique(group, return_inverse=True, return_counts=True)
    order = np.argsort(at, kind="stable")
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return [part for part in parts if 1 < len(part) <= len(group) / 2]


def _solve(turned: Floats, values: Floats, target: Floats, several: Sequence[Rows]) -> tuple[Floats, Floats, float]:
    """Solve for centred rows with orthogonal columns of squared lengths `values`: coefficients, rows left out, their error.

    Leaving rows out costs little more: what they are off by is (1 - their part of the hat matrix)^-1 times what the fit is off by,
    exactly.
    """
    away = target - target.mean()
    along, squares = turned.T @ away, turned**2
    best: tuple[float, Floats, Floats] | None = None
    for penalty in PENALTIES:
        shrink = 1.0 / (values + penalty)
        coefficients = along * shrink
        off = away - turned @ coefficients
        left_out = target - off / np.maximum(1.0 - squares @ shrink - 1.0 / len(target), 1e-6)
        for rows in several:
            hat = (turned[rows] * shrink) @ turned[rows].T + 1.0 / len(target)
            left_out[rows] = target[rows] - np.linalg.solve((1.0 + 1e-6) * np.eye(len(rows)) - hat, off[rows])
        loss = float(np.mean((target - left_out) ** 2))
        if best is None or loss < best[0]:
            best = loss, coefficients, left_out
    assert best is not None  # noqa: S101  # there is a first penalty
    return best[1], best[2], best[0]
