"""Several models, and one of them for a prompt: domain, then complexity, then model; with a confidence and the probabilities.

Two opinions are mixed. Each model but the base has a trained router, which predicts what it gains over the base; and a table tells
what each gained in training on prompts of the same domain and complexity. Whom of the models at hand to take, `choose` says. Files,
fleets and budgets are not known here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.errors import WeightsMismatch
from dispatcher.routing.trained import SHOWN, Neighbour, TrainedRouter, Vector

Floats = NDArray[np.float64]

TEMPERATURE = 0.1
"""Predicted gains of equally good models scatter by some 0.1 on a thousand labels; differences below that are no knowledge."""

LEVELS = ("easy", "middling", "hard")
"""Thirds of the training prompts by how demanding they look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model, the probabilities that each is the best, and how sure the choice is: that it beats the base, from 0.5 to 1 (the base
    itself: that it beats the likeliest other). Two models that are both far better than the base are no reason to doubt."""

    model: str
    confidence: float
    probabilities: Mapping[str, float]


def choose(gains: Mapping[str, float], *, base: str, temperature: float = TEMPERATURE) -> Choice:
    """Choose the model with the greatest gain; equals go by name. Without the base the likeliest other stands for it.

    Raises `ValueError` when there are none.
    """
    if not gains:
        raise ValueError("no model is at hand")
    ordered = sorted(gains, key=lambda model: (-gains[model], model))
    best = ordered[0]
    parts = {model: math.exp((gain - gains[best]) / temperature) for model, gain in gains.items()}
    total = sum(parts.values())
    rival = base if base in gains and best != base else next(iter(ordered[1:]), None)
    return Choice(
        model=best,
        confidence=1.0 if rival is None else 1.0 / (1.0 + parts[rival]),
        probabilities={model: part / total for model, part in parts.items()},
    )


def advantage(gains: Mapping[str, float], strong: Collection[str]) -> float | None:
    """Give what the best strong model gains over the best of the others; None where one kind is missing."""
    upper = [gain for model, gain in gains.items() if model in strong]
    lower = [gain for model, gain in gains.items() if model not in strong]
    return max(upper) - max(lower) if upper and lower else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a prompt stands in a hierarchy: a domain (empty for none that is near enough) and a level, and what the models gained
    there, in the order of the models."""

    domain: str
    similarity: float
    level: str
    complexity: float
    gains: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hierarchy:
    """Domain, then complexity: what models gained over the base in training. `gains` has the shape (domains + 1, levels, models),
    and its last row is for prompts of no known domain.

    With `centroids` a domain is the nearest one, in the embedder's space around `centre`; without, it is the kind of question that
    its words tell. `edges` part the levels.
    """

    domains: tuple[str, ...]
    centre: Vector | None
    centroids: Vector | None
    least_similarity: float
    edges: tuple[float, ...]
    gains: Floats

    def place(self, vector: Vector | None, topics: Mapping[str, float], complexity: float) -> Place:
        """Place a prompt. `topics` are the similarities that its words have, `complexity` is in [0, 1].

        Raises `WeightsMismatch` for a vector that is none of the embedder's.
        """
        number, similarity = self._nearest(vector, topics)
        known = similarity >= self.least_similarity
        level = sum(complexity > edge for edge in self.edges)
        return Place(
            domain=self.domains[number] if known else "",
            similarity=similarity,
            level=LEVELS[level],
            complexity=complexity,
            gains=tuple(self.gains[number if known else -1, level].tolist()),
        )

    def _nearest(self, vector: Vector | None, topics: Mapping[str, float]) -> tuple[int, float]:
        if self.centroids is None or self.centre is None:
            number = max(range(len(self.domains)), key=lambda one: topics.get(self.domains[one], 0.0))
            return number, topics.get(self.domains[number], 0.0)
        if vector is None or vector.shape != self.centre.shape:
            raise WeightsMismatch(
                f"the router's domains were trained on vectors of {len(self.centre)} numbers, and there is "
                f"{'none' if vector is None else f'one of {len(vector)}'}: use the embedder of its card, or train it anew"
            )
        moved = vector - self.centre
        near = self.centroids @ (moved / max(float(np.linalg.norm(moved)), 1e-9))
        number = int(near.argmax())
        return number, float(near[number])


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What each model gains over the base (whose own gain is 0), in answers right; where the prompt stands, how near the nearest
    labelled prompt is, whether that is near enough, and which ones were looked at."""

    gains: Mapping[str, float]
    place: Place
    similarity: float
    in_domain: bool
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MultiRouter:
    """A trained router for each model but the base, and the hierarchy, whose word counts `share`.

    `strong` are the models whose calls a budget counts. Below `least_confidence` choices were no better than the base in training.
    `quantiles` are those of `advantage` over the training prompts, each as predicted from the others: they give a first threshold
    before there is traffic.
    """

    base: str
    strong: frozenset[str]
    routers: Mapping[str, TrainedRouter]
    hierarchy: Hierarchy
    share: float
    temperature: float
    least_confidence: float
    quantiles: Vector

    @property
    def models(self) -> tuple[str, ...]:
        """All models, the base first."""
        return (self.base, *self.routers)

    @property
    def embedder(self) -> str | None:
        """The identity of the embedder that it was trained with."""
        return next(iter(self.routers.values())).space.embedder

    def predict(
        self,
        signals: Sequence[float],
        vector: Vector | None,
        *,
        topics: Mapping[str, float],
        complexity: float,
        shown: int = SHOWN,
    ) -> Predicted:
        """Judge one prompt. Raises `WeightsMismatch` when signals or vector are not those of training."""
        place = self.hierarchy.place(vector, topics, complexity)
        judged = {model: router.gain(signals, vector, shown=shown) for model, router in self.routers.items()}
        gains = {
            model: (1.0 - self.share) * one.score + self.share * told
            for (model, one), told in zip(judged.items(), place.gains, strict=True)
        }
        best = judged[max(gains, key=lambda model: gains[model])]
        return Predicted(
            gains={self.base: 0.0, **gains},
            place=place,
            similarity=best.similarity,
            in_domain=all(one.in_domain for one in judged.values()),
            neighbours=best.neighbours,
        )
