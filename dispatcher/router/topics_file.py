"""Trained topics as a file, written by `drover lab centroids` and read by whoever routes; what the numbers mean stands in
`routing.centroids`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import WeightsError, WeightsMismatch
from dispatcher.routing.centroids import Topics
from dispatcher.weights_file import read_weights, require_floats, write_weights

KIND = "drover.topics"
VERSION = 1
MOST_TOPICS = 1000
MOST_NAME_CHARS = 200


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
        require_floats(arrays, {"centroids": 2, "scale": 1})
        names, centroids, scale = card["topics"], arrays["centroids"], arrays["scale"]
        near, far = map(float, scale)
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} is damaged: {error}") from error
    sound = (
        isinstance(names, list)
        and all(isinstance(name, str) and len(name) <= MOST_NAME_CHARS for name in names)
        and 0 < len(set(names)) == len(names) <= MOST_TOPICS
        and len(centroids) == len(names)
        and bool((np.linalg.norm(centroids, axis=1) <= 1.01).all())
        and -1.01 <= min(near, far) <= max(near, far) <= 1.01
    )
    if not sound:
        raise WeightsError(f"{path} is damaged: its topics and centroids do not fit each other")
    return Topics(names=tuple(names), centroids=centroids.astype(np.float32), embedder=embedder, near=near, far=far)
