"""The hierarchy of several models from labels: domains, levels of complexity, and what each model gained there; no files.

A cell with few prompts says what its domain says, and a domain with few what all say: means are drawn towards the wider one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dispatcher.routing.kinds import DEMAND, LEAST_SIMILARITY
from dispatcher.routing.multi import LEVELS, Hierarchy
from dispatcher.routing.trained import Vector

Floats = NDArray[np.float64]
Topics = Sequence[Mapping[str, float]]

DRAWN = 20.0
"""A cell of so many prompts counts as much as the wider mean: the spread of right and wrong (0.5) over that of cells (0.1), both
squared, is 25."""

FEWEST = 10
"""Prompts that make a domain."""

MOST_DOMAINS = 64
STRANGE = 0.02
"""The part of the training prompts that are farther from their nearest domain than this hierarchy will take for near."""


def fit(vectors: Vector | None, domains: Sequence[str], topics: Topics, complexity: Floats, gains: Floats) -> Hierarchy:
    """Make the table. Domains are those of the labels where there are vectors to tell them by, else kinds that words tell."""
    edges = tuple(np.quantile(complexity, [1 / 3, 2 / 3]).tolist())
    counted = Counter(name for name in domains if name).most_common(MOST_DOMAINS)
    named = tuple(sorted(name for name, count in counted if count >= FEWEST))
    if vectors is None or len(named) < 2:
        bare = Hierarchy(
            domains=tuple(DEMAND), centre=None, centroids=None, least_similarity=LEAST_SIMILARITY, edges=edges,
            gains=np.zeros((len(DEMAND) + 1, len(LEVELS), gains.shape[1])),
        )  # fmt: skip
        return _filled(bare, None, topics, complexity, gains)
    centre = vectors.mean(axis=0).astype(np.float32)
    moved = _unit(vectors - centre)
    names = np.array(domains)
    centroids = _unit(np.stack([moved[names == name].mean(axis=0) for name in named]))
    bare = Hierarchy(
        domains=named, centre=centre, centroids=centroids,
        least_similarity=float(np.quantile((moved @ centroids.T).max(axis=1), STRANGE)), edges=edges,
        gains=np.zeros((len(named) + 1, len(LEVELS), gains.shape[1])),
    )  # fmt: skip
    return _filled(bare, vectors, topics, complexity, gains)


def gains_of(of: Hierarchy, vectors: Vector | None, topics: Topics, complexity: Floats) -> Floats:
    """Give what the table says of each row, exactly as `place` says it for a job."""
    used = None if of.centroids is None else vectors
    return np.array(
        [
            of.place(None if used is None else used[row], topics[row], float(complexity[row])).gains
            for row in range(len(complexity))
        ]
    ).reshape(len(complexity), of.gains.shape[2])


def _filled(bare: Hierarchy, vectors: Vector | None, topics: Topics, complexity: Floats, gains: Floats) -> Hierarchy:
    """Fill the cells with the rows that the hierarchy itself places there: what it will be asked is placed in the same way."""
    places = [
        bare.place(None if vectors is None else vectors[row], topics[row], float(complexity[row]))
        for row in range(len(complexity))
    ]
    numbers = {name: number for number, name in enumerate(bare.domains)}
    domain = np.array([numbers.get(place.domain, len(numbers)) for place in places])
    level = np.array([LEVELS.index(place.level) for place in places])
    mean = gains.mean(axis=0)
    cells = np.zeros_like(bare.gains)
    for at in range(len(LEVELS)):
        cells[-1, at] = _drawn(gains[level == at], mean)  # of no known domain: all that are as demanding
    for number in numbers.values():
        wide = _drawn(gains[domain == number], mean)
        for at in range(len(LEVELS)):
            cells[number, at] = _drawn(gains[(domain == number) & (level == at)], wide)
    return Hierarchy(
        domains=bare.domains, centre=bare.centre, centroids=bare.centroids, least_similarity=bare.least_similarity,
        edges=bare.edges, gains=cells,
    )  # fmt: skip


def _drawn(rows: Floats, wider: Floats) -> Floats:
    return np.asarray((rows.sum(axis=0) + DRAWN * wider) / (len(rows) + DRAWN))


def _unit(rows: Vector) -> Vector:
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-9), dtype=np.float32)
