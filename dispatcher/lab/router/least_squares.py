"""Least squares with a penalty, in closed form, the penalty chosen by leaving one row out; it knows no prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PENALTIES = np.logspace(-2, 5, 29)
"""From nearly none to one that leaves the mean; the best lay well inside on all data that we have seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """`rows @ weights + bias`. `left_out` is each training row as predicted from the others, `loss` its mean square error."""

    weights: Floats
    bias: float
    left_out: Floats
    loss: float


def ridge(rows: Floats, target: Floats) -> Ridge:
    """Fit on rows of features; the bias is not penalised."""
    mean, middle = rows.mean(axis=0), float(target.mean())
    centred = rows - mean
    values, vectors = np.linalg.eigh(centred.T @ centred)
    along, left_out, loss = _solve(centred @ vectors, np.maximum(values, 0.0), target)
    weights = vectors @ along
    return Ridge(weights, middle - float(mean @ weights), left_out, loss)


def kernel_ridge(kernel: Floats, target: Floats) -> Ridge:
    """Fit on the kernel between the training rows: `kernel(new, training) @ weights + bias`; the bias is not penalised."""
    mean = kernel.mean(axis=0)
    centred = kernel - mean - mean[:, None] + mean.mean()
    values, vectors = np.linalg.eigh(centred)
    sound = values > 1e-9 * values[-1]
    values, vectors = values[sound], vectors[:, sound]
    along, left_out, loss = _solve(vectors * np.sqrt(values), values, target)
    weights = vectors @ (along / np.sqrt(values))
    return Ridge(weights, float(target.mean() - mean @ weights), left_out, loss)


def _solve(turned: Floats, values: Floats, target: Floats) -> tuple[Floats, Floats, float]:
    """Solve for centred rows with orthogonal columns of squared lengths `values`: coefficients, rows left out, their error.

    Leaving one out costs nothing more: its residual is the fitted one over (1 - leverage), exactly.
    """
    away = target - target.mean()
    along, squares = turned.T @ away, turned**2
    best: tuple[float, Floats, Floats] | None = None
    for penalty in PENALTIES:
        coefficients = along / (values + penalty)
        leverage = squares @ (1.0 / (values + penalty)) + 1.0 / len(target)
        left_out = target - (away - turned @ coefficients) / np.maximum(1.0 - leverage, 1e-6)
        loss = float(np.mean((target - left_out) ** 2))
        if best is None or loss < best[0]:
            best = loss, coefficients, left_out
    assert best is not None  # noqa: S101  # there is a first penalty
    return best[1], best[2], best[0]
