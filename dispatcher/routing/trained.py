"""The trained router as a value: from a prompt's signals and vector to the gain that the strong model promises.

Three small models look at the same point, the prompt's standardised signals beside its embedding: a ridge regression, a smooth
kernel regression over examples, and the mean of the nearest labelled prompts. What is blended how much, training decides. Files,
embedders and devices are not known here; numpy alone is needed, and no call takes as long as a millisecond.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.errors import WeightsMismatch

Vector = NDArray[np.float32]

CLIP = 4.0
"""Standardised signals are cut here, so that one odd prompt (a page of digits) can't outweigh everything."""

SHOWN = 5
"""Neighbours that an explanation lists."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A labelled prompt near the one asked about; `gain` is its label, `similarity` a cosine."""

    head: str
    gain: float
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What the strong model promises over the weak one, in answers right, -1 to 1; positive when it should be called.

    `ridge`, `kernel` and `knn` are the three opinions behind `score`. `in_domain` is false where nothing alike was ever labelled:
    then the score is a guess, and a caller does better with its rules, and with asking both models now and then.
    """

    score: float
    ridge: float
    kernel: float
    knn: float
    similarity: float
    in_domain: bool
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureSpace:
    """How signals and an embedding become one point: standardised, weighed against each other, centred.

    `embedder` names the embedder whose vectors these are; None for signals alone.
    """

    signals: tuple[str, ...]
    embedder: str | None
    mean: Vector
    scale: Vector
    weight: float
    centre: Vector

    @property
    def dimensions(self) -> int:
        """How many numbers an embedding has; 0 for signals alone."""
        return len(self.centre) - len(self.signals)

    def point(self, signals: Sequence[float], vector: Vector | None) -> Vector:
        """Place a prompt. Raises `WeightsMismatch` when signals or vector are not those of training."""
        rows = self.points(np.asarray([signals], dtype=np.float32), None if vector is None else vector[None, :])
        return np.asarray(rows[0], dtype=np.float32)

    def points(self, signals: Vector, vectors: Vector | None) -> Vector:
        """Place many prompts, a row each. Raises like `point`."""
        width = 0 if vectors is None else vectors.shape[1]
        if signals.shape[1] != len(self.signals) or width != self.dimensions:
            raise WeightsMismatch(
                f"the router was trained on {len(self.signals)} signals and vectors of {self.dimensions} numbers "
                f"({self.embedder or 'no embedder'}), and was asked with {signals.shape[1]} and {width}: "
                "use the embedder of its card, or train it anew"
            )
        standard = np.clip((signals - self.mean) / self.scale, -CLIP, CLIP) / np.sqrt(max(1, len(self.signals)))
        joined = standard if vectors is None else np.hstack([standard, self.weight * vectors])
        return np.asarray(joined - self.centre, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Memory:
    """Labelled prompts, as unit rows of a few principal directions; `heads` are how their texts begin, perhaps empty."""

    axes: Vector
    rows: Vector
    gains: Vector
    heads: tuple[str, ...]
    count: int
    least_similarity: float

    def place(self, point: Vector) -> Vector:
        """Turn a point of the feature space into a unit row."""
        row = point @ self.axes
        return np.asarray(row / max(float(np.linalg.norm(row)), 1e-9), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kernel:
    """Gaussian kernel regression on the unit sphere: weights of some rows of the memory, all of them in a small one."""

    rows: NDArray[np.intp]
    weights: Vector
    gamma: float
    bias: float

    def predict(self, similarities: Vector) -> float:
        """Give the gain from a prompt's similarities to all rows of the memory."""
        near = similarities if len(self.rows) == len(similarities) else similarities[self.rows]
        return float(np.exp((2 * self.gamma) * (near - 1)) @ self.weights) + self.bias


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """`score = bias + ridge x its opinion + kernel x its + knn x its`."""

    bias: float
    ridge: float
    kernel: float
    knn: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedRouter:
    """Everything that training found. `quantiles` are the scores of the training prompts at 0, 1, ..., 100 %, each judged by
    what was learned from the others: they give a first threshold before there is traffic."""

    space: FeatureSpace
    ridge: Vector
    ridge_bias: float
    memory: Memory
    kernel: Kernel
    blend: Blend
    quantiles: Vector

    @property
    def embedder(self) -> str | None:
        """The identity of the embedder that it was trained with; None for signals alone."""
        return self.space.embedder

    def gain(self, signals: Sequence[float], vector: Vector | None, *, shown: int = SHOWN) -> Gain:
        """Judge one prompt. Raises `WeightsMismatch` when signals or vector are not those of training, or make no number."""
        point = self.space.point(signals, vector)
        similarities = self.memory.rows @ self.memory.place(point)
        near = _nearest(similarities, self.memory.count)
        ridge = float(point @ self.ridge) + self.ridge_bias
        kernel = self.kernel.predict(similarities)
        weights = np.maximum(similarities[near], 1e-3)
        knn = float(weights @ self.memory.gains[near] / weights.sum())
        best = near[np.argsort(-similarities[near], kind="stable")[: max(1, shown)]]
        most = float(similarities[best[0]])
        score = self.blend.bias + self.blend.ridge * ridge + self.blend.kernel * kernel + self.blend.knn * knn
        if not math.isfinite(score):
            raise WeightsMismatch("the router gives no number for this prompt: train it anew")
        return Gain(
            score=score,
            ridge=ridge,
            kernel=kernel,
            knn=knn,
            similarity=most,
            in_domain=most >= self.memory.least_similarity,
            neighbours=tuple(
                Neighbour(self.memory.heads[row], float(self.memory.gains[row]), float(similarities[row]))
                for row in best[:shown]
            ),
        )

    def threshold(self, share: float) -> float:
        """Give the score above which about `share` of prompts like the training ones lie."""
        return float(np.interp(1 - share, np.linspace(0, 1, len(self.quantiles)), self.quantiles))


def _nearest(similarities: Vector, count: int) -> NDArray[np.intp]:
    """Give the rows of the `count` greatest similarities, in no order."""
    if count >= len(similarities):
        return np.arange(len(similarities))
    return np.argpartition(similarities, -count)[-count:]
