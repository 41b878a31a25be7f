"""Several models, and one of them for a prompt: a confidence, the probabilities; and a hierarchy that asks step by step.

Each model but the base has a trained router of its own, which predicts what it gains over the base. Costs come in as values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dispatcher.routing.trained import TrainedRouter, Vector

TEMPERATURE = 0.1
"""Predicted gains of equally good models scatter by some 0.1 on a thousand labels; differences below that are no knowledge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model, how sure it is the best (its own probability), all probabilities, and the gains over the base behind them."""

    model: str
    confidence: float
    probabilities: Mapping[str, float]
    gains: Mapping[str, float]
    in_domain: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MultiRouter:
    """Routers by model; each predicts the gain of its model over `base`."""

    base: str
    routers: Mapping[str, TrainedRouter]
    temperature: float = TEMPERATURE

    def choose(
        self,
        signals: Sequence[float],
        vector: Vector | None,
        *,
        costs: Mapping[str, float] | None = None,
        allowed: frozenset[str] | None = None,
    ) -> Choice:
        """Choose the model with the greatest gain less its cost, in answers right per call; ties go to the cheaper, then by name.

        `costs` are what a call is worth to save, a model that is not named costs nothing; `allowed` leaves others out.
        Raises `ValueError` when nothing is allowed, and `WeightsMismatch` like `TrainedRouter.gain`.
        """
        judged = {
            model: router.gain(signals, vector, shown=0)
            for model, router in self.routers.items()
            if allowed is None or model in allowed
        }
        gains = {model: one.score for model, one in judged.items()}
        if allowed is None or self.base in allowed:
            gains[self.base] = 0.0
        return choose(
            gains, costs or {}, temperature=self.temperature, in_domain=all(one.in_domain for one in judged.values())
        )


def choose(
    gains: Mapping[str, float], costs: Mapping[str, float], *, temperature: float = TEMPERATURE, in_domain: bool = True
) -> Choice:
    """Choose among models by gain less cost. Raises `ValueError` when there are none."""
    if not gains:
        raise ValueError("no model is allowed")
    values = {model: gain - costs.get(model, 0.0) for model, gain in gains.items()}
    best = min(values, key=lambda model: (-values[model], costs.get(model, 0.0), model))
    parts = {model: math.exp((value - values[best]) / temperature) for model, value in values.items()}
    total = sum(parts.values())
    probabilities = {model: part / total for model, part in parts.items()}
    return Choice(
        model=best, confidence=probabilities[best], probabilities=probabilities, gains=dict(gains), in_domain=in_domain
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One step of a hierarchy: below `least_complexity` of the next one, this model is asked."""

    least_complexity: float
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """Domain, then complexity, then model: for each domain some levels, rising; `otherwise` for a domain without any.

    It needs no training, says in one line why, and stands in where a trained router is out of its domain.
    """

    domains: Mapping[str, tuple[Level, ...]]
    otherwise: tuple[Level, ...]
    least_similarity: float = 0.3

    def choose(self, topics: Mapping[str, float], complexity: float) -> tuple[str, str]:
        """Give the model and the reason. `topics` are similarities in [0, 1], `complexity` too."""
        known = [(similarity, topic) for topic, similarity in topics.items() if topic in self.domains]
        similarity, topic = max(known, default=(0.0, ""), key=lambda pair: (pair[0], pair[1]))
        if similarity < self.least_similarity:
            topic = ""
        levels = self.domains.get(topic, self.otherwise)
        fitting = [level for level in levels if level.least_complexity <= complexity] or list(levels[:1])
        level = max(fitting, key=lambda one: one.least_complexity)
        return level.model, f"{topic or 'no domain'}, complexity {complexity:.2f}: {level.model}"
