"""How well one embedder's vectors agree with another's, in three figures; it knows no embedder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dispatcher.embed.protocol import Vectors

FOLDS = 5
RIDGE = 0.1
"""Weight of the ridge for the linear map, in units of one text: it only matters with fewer texts than dimensions."""

MOST_TEXTS = 2000
"""Pairs grow with the square; two thousand texts are two million of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """`cosine`: mean between the two vectors of a text, after the best linear map if their dimensions differ, found on other texts;
    `spearman`: of the similarities of all pairs; `overlap`: share of a text's nearest `neighbours` that are the same."""

    texts: int
    cosine: float
    mapped: bool
    spearman: float
    overlap: float
    neighbours: int


def agreement(ours: Vectors, theirs: Vectors, *, neighbours: int = 10) -> Agreement:
    """Compare vectors of the same texts, at least three. Raises `ValueError` for fewer, or for two numbers of rows."""
    if len(ours) != len(theirs) or len(ours) < 3:  # two texts have one similarity: nothing to rank
        raise ValueError(f"{len(ours)} and {len(theirs)} vectors: the same three or more are needed")
    mapped = ours.shape[1] != theirs.shape[1]
    moved = _mapped(ours, theirs) if mapped else ours
    near = min(neighbours, len(ours) - 1)
    one, other = ours @ ours.T, theirs @ theirs.T
    above = np.triu_indices(len(ours), 1)
    return Agreement(
        texts=len(ours),
        cosine=float(np.mean(np.sum(moved * theirs, axis=1))),
        mapped=mapped,
        spearman=_spearman(one[above], other[above]),
        overlap=_overlap(one, other, near),
        neighbours=near,
    )


def _mapped(ours: Vectors, theirs: Vectors) -> Vectors:
    """Carry our vectors over by a linear map that was found without them: five folds, each by the other four."""
    moved = np.zeros_like(theirs)
    for fold in range(min(FOLDS, len(ours))):
        held = np.arange(len(ours)) % FOLDS == fold
        known, wanted = ours[~held].astype(np.float64), theirs[~held].astype(np.float64)
        gram = known.T @ known + RIDGE * np.eye(ours.shape[1])
        moved[held] = ours[held] @ np.linalg.solve(gram, known.T @ wanted)
    norms = np.linalg.norm(moved, axis=1, keepdims=True)
    result: Vectors = (moved / np.maximum(norms, 1e-12)).astype(np.float32)
    return result


def _spearman(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The correlation of ranks; ties are broken by place, since similarities in float32 hardly have any."""
    ranks = [np.argsort(np.argsort(row, kind="stable"), kind="stable").astype(np.float64) for row in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _overlap(one: NDArray[np.float32], other: NDArray[np.float32], near: int) -> float:
    """The mean share of common neighbours; a text is no neighbour of itself."""
    both = []
    for matrix in (one, other):
        alone = matrix.copy()
        np.fill_diagonal(alone, -np.inf)
        both.append(np.argsort(-alone, axis=1, kind="stable")[:, :near])
    return float(np.mean([len(set(a.tolist()) & set(b.tolist())) / near for a, b in zip(*both, strict=True)]))
