"""Centroids and how well they part: from vectors and topics to `Topics` and figures. It needs scikit-learn, of the extra `lab`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_samples
from sklearn.model_selection import StratifiedKFold

from common.errors import LabelsError
from dispatcher.routing.centroids import Topics

Vectors = NDArray[np.float32]

MOST_CLUSTERS = 12
_FOLDS = 5
_WORD = re.compile(r"[^\W\d_]{4,}")
_SILHOUETTE_ROWS = 2000
"""All are compared with all: of more examples, so many drawn by chance are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """How well topics part. `separation` is the mean cosine to the own centroid less that to the nearest other one. `confusion`
    counts examples by (topic, nearest centroid), each judged by centroids of the others; `accuracy` is its diagonal's share.
    Clusters were found among all examples: theirs flatter."""

    counts: tuple[int, ...]
    separation: float
    silhouette: float
    silhouettes: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]
    accuracy: float


def labelled(vectors: Vectors, topics: Sequence[str], embedder: str) -> tuple[Topics, Parting]:
    """Take the mean of each topic's examples. Raises `LabelsError` for fewer than two topics, or one with a single example."""
    counts = Counter(topics)
    single = sorted(name for name, count in counts.items() if count < 2)
    if len(counts) < 2 or single:
        what = f"these topics have one example: {', '.join(single)}" if single else "there is one topic"
        raise LabelsError(f"{what}: at least two topics are needed, with two examples each")
    names = tuple(sorted(counts))
    own = np.array([names.index(topic) for topic in topics])
    return _parted(vectors, own, names, embedder)


def clustered(
    vectors: Vectors, texts: Sequence[str], embedder: str, *, count: int | None, seed: int
) -> tuple[Topics, Parting]:
    """Find clusters, `count` of them or as many as part best by silhouette, and name them by their most telling words."""
    most = min(MOST_CLUSTERS, len(vectors) // 2)
    if count is not None and count > len(vectors) // 2:
        raise LabelsError(f"{count} topics need at least {2 * count} examples, and there are {len(vectors)}")
    found = {
        size: KMeans(n_clusters=size, n_init=4, random_state=seed).fit_predict(vectors)
        for size in ([count] if count is not None else range(2, most + 1))
    }
    some = np.random.default_rng(seed).permutation(len(vectors))[:_SILHOUETTE_ROWS]
    best = max(found, key=lambda size: _silhouettes(vectors[some], found[size][some]).mean())
    own = np.unique(found[best], return_inverse=True)[1]
    return _parted(vectors, own, _names(texts, own), embedder)


def _parted(vectors: Vectors, own: NDArray[np.intp], names: tuple[str, ...], embedder: str) -> tuple[Topics, Parting]:
    centroids = _means(vectors, own, len(names))
    cosines = vectors @ centroids.T
    mine = cosines[np.arange(len(own)), own]
    others = np.where(np.arange(len(names)) == own[:, None], -np.inf, cosines).max(axis=1)
    foreign = cosines[np.arange(len(names)) != own[:, None]]
    confusion = _confusion(vectors, own, len(names))
    some = np.random.default_rng(0).permutation(len(own))[:_SILHOUETTE_ROWS]
    silhouettes, of = _silhouettes(vectors[some], own[some]), own[some]
    topics = Topics(
        names=names, centroids=centroids, embedder=embedder, near=float(np.median(mine)), far=float(np.median(foreign))
    )
    return topics, Parting(
        counts=tuple(np.bincount(own, minlength=len(names)).tolist()),
        separation=float((mine - others).mean()),
        silhouette=float(silhouettes.mean()),
        silhouettes=tuple(
            float(silhouettes[of == one].mean()) if (of == one).any() else 0.0 for one in range(len(names))
        ),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        accuracy=float(np.trace(confusion) / confusion.sum()),
    )


def _means(vectors: Vectors, own: NDArray[np.intp], count: int) -> Vectors:
    means = np.stack([vectors[own == one].mean(axis=0) for one in range(count)])
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9), dtype=np.float32)


def _confusion(vectors: Vectors, own: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Count by folds, so that no example is judged by a centroid that it moved."""
    table = np.zeros((count, count), dtype=np.intp)
    folds = min(_FOLDS, int(np.bincount(own, minlength=count).min()))
    if folds < 2:  # a cluster of one has nobody left to judge it by
        np.add.at(table, (own, (vectors @ _means(vectors, own, count).T).argmax(axis=1)), 1)
        return table
    for train, test in StratifiedKFold(folds).split(vectors, own):
        said = (vectors[test] @ _means(vectors[train], own[train], count).T).argmax(axis=1)
        np.add.at(table, (own[test], said), 1)
    return table


def _silhouettes(vectors: Vectors, own: NDArray[np.intp]) -> NDArray[np.float64]:
    """Give each example's silhouette by cosine; zeros where there are too few. Compares all with all."""
    if not 2 <= len(np.unique(own)) < len(own):
        return np.zeros(len(own))
    return np.asarray(silhouette_samples(vectors, own, metric="cosine"), dtype=np.float64)


def _names(texts: Sequence[str], own: NDArray[np.intp]) -> tuple[str, ...]:
    """Name clusters by two words that are much more frequent in them than elsewhere."""
    words = [set(_WORD.findall(text.lower())) for text in texts]
    overall = Counter(word for found in words for word in found)
    names: list[str] = []
    for one in range(int(own.max()) + 1):
        inside = Counter(word for found, cluster in zip(words, own, strict=True) if cluster == one for word in found)
        telling = sorted(inside, key=lambda word: (-(inside[word] ** 2) / overall[word], word))[:2]
        name = "-".join(telling) or f"topic-{one + 1}"
        names.append(name if name not in names else f"{name}-{one + 1}")
    return tuple(names)
