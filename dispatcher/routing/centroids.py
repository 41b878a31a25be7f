"""Trained topics as a value: centroids of one's own domains, and how near a vector is to each. It embeds nothing and knows no file.

They take the place of the words in `topics` wherever there is an embedder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.errors import WeightsMismatch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Topics:
    """Centroids as unit rows, one for each name. Cosines of `far` and below count as 0, of `near` and above as 1: the examples'
    own to foreign centroids and to theirs, since cosines of another embedder lie elsewhere."""

    names: tuple[str, ...]
    centroids: NDArray[np.float32]
    embedder: str
    near: float
    far: float

    def similarities(self, vector: NDArray[np.float32]) -> dict[str, float]:
        """Give the similarity of a vector to each topic, in [0, 1]. Raises `WeightsMismatch` for one of another length."""
        if vector.shape != self.centroids.shape[1:]:
            raise WeightsMismatch(
                f"the topics are of {self.embedder}, with {self.centroids.shape[1]} numbers, and the vector has {vector.size}"
            )
        cosines = self.centroids @ vector
        scaled = np.clip((cosines - self.far) / max(self.near - self.far, 1e-6), 0.0, 1.0)
        return dict(zip(self.names, map(float, scaled), strict=True))
