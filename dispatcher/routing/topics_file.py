"""Trained topics as a value and as a file: centroids of one's own domains, and how near a vector is to each; it embeds nothing.

They are trained by `drover lab centroids`, and read again whenever the file changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import WeightsError, WeightsMismatch
from dispatcher.routing.weights_file import read_weights, write_weights

KIND = "drover.topics"
VERSION = 1
MOST_TOPICS = 1000


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


def write_topics(path: Path, topics: Topics, card: Mapping[str, Any]) -> None:
    """Write the topics (.npz), and their card beside them. Raises `WeightsError` when they can't be written."""
    bound = {"embedder": topics.embedder, "topics": list(topics.names)}
    arrays = {"centroids": topics.centroids, "scale": np.array([topics.near, topics.far])}
    write_weights(path, kind=KIND, version=VERSION, arrays=arrays, card={**bound, **card})


def read_topics(path: Path, *, embedder: str) -> Topics:
    """Read topics. Raises `WeightsError` for files that can't be read or are damaged, `WeightsMismatch` for another embedder."""
    arrays, card = read_weights(path, kind=KIND, version=VERSION)
    if card.get("embedder") != embedder:
        raise WeightsMismatch(
            f"{path} was trained with the embedder {card.get('embedder')}, and {embedder} is in use: train the topics anew"
        )
    try:
        names, centroids = card["topics"], arrays["centroids"]
        near, far = (float(one) for one in arrays["scale"])
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} is damaged: {error}") from error
    sound = (
        isinstance(names, list)
        and all(isinstance(name, str) for name in names)
        and 0 < len(set(names)) == len(names) <= MOST_TOPICS
        and centroids.ndim == 2
        and centroids.dtype.kind == "f"
        and len(centroids) == len(names)
    )
    if not sound:
        raise WeightsError(f"{path} is damaged: its topics and centroids do not fit each other")
    return Topics(names=tuple(names), centroids=centroids.astype(np.float32), embedder=embedder, near=near, far=far)
