"""Least squares with a penalty, in closed form, the penalty chosen by leaving one group of rows out; it knows no prompts.

Rows of one group are left out together: copies of a row would else teach what it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

PENALTIES = np.logspace(-2, 5, 29)
"""From nearly none to one that leaves the mean; the best lay well inside on all data that we have seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """`rows @ weights + bias`. `left_out` is each training row as predicted from other groups, `loss` its mean square error, and
    `apart` each row as predicted from other kinds."""

    weights: Floats
    bias: float
    left_out: Floats
    loss: float
    apart: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What is left out together, by number: `group` to find the penalty, `kind` to tell what is known of a kind never seen."""

    group: Rows
    kind: Rows


def ridge(rows: Floats, target: Floats, parts: Parts | None = None) -> Ridge:
    """Fit on rows of features; the bias is not penalised. Without `parts` each row is left out alone."""
    mean, middle = rows.mean(axis=0), float(target.mean())
    centred = rows - mean
    values, vectors = np.linalg.eigh(centred.T @ centred)
    found = _solve(centred @ vectors, np.maximum(values, 0.0), target, parts)
    weights = vectors @ found.weights
    return replace(found, weights=weights, bias=middle - float(mean @ weights))


def kernel_ridge(kernel: Floats, target: Floats, parts: Parts | None = None) -> Ridge:
    """Fit on the kernel between the training rows: `kernel(new, training) @ weights + bias`; else like `ridge`."""
    mean = kernel.mean(axis=0)
    centred = kernel - mean - mean[:, None] + mean.mean()
    values, vectors = np.linalg.eigh(centred)
    sound = values > 1e-9 * values[-1]
    values, vectors = values[sound], vectors[:, sound]
    found = _solve(vectors * np.sqrt(values), values, target, parts)
    weights = vectors @ (found.weights / np.sqrt(values))
    return replace(found, weights=weights, bias=float(target.mean() - mean @ weights))


def _several(group: Rows) -> list[Rows]:
    """Give the rows of each group that has several, but of none that has over half of all: without it there is nothing to fit."""
    _, at, sizes = np.unique(group, return_inverse=True, return_counts=True)
    parts = np.split(np.argsort(at, kind="stable"), np.cumsum(sizes)[:-1])
    return [part for part in parts if 1 < len(part) <= len(group) / 2]


def _solve(turned: Floats, values: Floats, target: Floats, parts: Parts | None) -> Ridge:
    """Solve for centred rows with orthogonal columns of squared lengths `values`; the bias is left to the caller."""
    away = target - target.mean()
    along, squares = turned.T @ away, turned**2
    several = [] if parts is None else _several(parts.group)
    best: tuple[float, Floats, Floats] | None = None
    for penalty in PENALTIES:
        shrink = 1.0 / (values + penalty)
        left_out = target - _off(turned, shrink, away - turned @ (along * shrink), squares, several)
        loss = float(np.mean((target - left_out) ** 2))
        if best is None or loss < best[0]:
            best = loss, shrink, left_out
    assert best is not None  # noqa: S101  # there is a first penalty
    loss, shrink, left_out = best
    off = away - turned @ (along * shrink)
    apart = left_out if parts is None else target - _off(turned, shrink, off, squares, _several(parts.kind))
    return Ridge(along * shrink, 0.0, left_out, loss, apart)


def _off(turned: Floats, shrink: Floats, off: Floats, squares: Floats, several: Sequence[Rows]) -> Floats:
    """Give how far off each row would be if it had been left out, and those of `several` together, from how far the fit is `off`.

    It costs little more than the fit: (1 - their part of the hat matrix)^-1 times what the fit is off by, exactly.
    """
    found = off / np.maximum(1.0 - squares @ shrink - 1.0 / len(off), 1e-6)
    for rows in several:
        hat = (turned[rows] * shrink) @ turned[rows].T + 1.0 / len(off)
        found[rows] = np.linalg.solve((1.0 + 1e-6) * np.eye(len(rows)) - hat, off[rows])
    return np.asarray(found, dtype=np.float64)
