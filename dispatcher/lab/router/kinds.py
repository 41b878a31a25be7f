"""Kinds of prompts, found without labels or names: what lies together among unit rows; it knows no router.

Training asks by them what it would know of a kind that it had not seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Rows = NDArray[np.intp]

_ROUNDS = 15


def kinds(rows: Floats, count: int, rng: np.random.Generator) -> Rows:
    """Number the kind of each row: spherical k-means from `count` rows drawn by chance. A kind that nothing is near to is empty."""
    count = min(count, len(rows))
    middles = rows[rng.permutation(len(rows))[:count]]
    own = np.zeros(len(rows), dtype=np.intp)
    for _ in range(_ROUNDS):
        own = np.asarray(np.argmax(rows @ middles.T, axis=1), dtype=np.intp)
        sums = (own == np.arange(count)[:, None]).astype(rows.dtype) @ rows
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        middles = np.where(norms > 1e-9, sums / np.maximum(norms, 1e-9), middles)
    return own


def joined(kind: Rows, group: Rows) -> Rows:
    """Give the kinds with each group in one of them alone: that of its first row."""
    _, first, at = np.unique(group, return_index=True, return_inverse=True)
    return kind[first[at]]
