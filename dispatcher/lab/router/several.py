"""Training for several models: a router for each against the base, a table by domain and complexity, and how the two are mixed.

Everything that is told of the result is out of sample, by folds that keep together what begins alike; it reads and writes no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dispatcher.lab.router import hierarchy, splits
from dispatcher.lab.router.fit import Examples, Recipe, scores, train
from dispatcher.routing.multi import MultiRouter
from dispatcher.routing.trained import TrainedRouter

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

TEMPERATURES = np.logspace(-2, 0.5, 26)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How much the hierarchy's word may count."""

FOLDS = 5

UNSURE_ROWS = 40
"""Fewer unsure choices tell nothing about how good such are."""

MOST_UNSURE = 0.5
"""At most this part of the prompts is left to rules."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """What is learned from: prompts as numbers, where each stands, and how good each model's answers were (a column each, the base
    first). `strong` are the models whose calls a budget counts."""

    models: tuple[str, ...]
    strong: frozenset[str]
    quality: Floats
    examples: Examples
    domains: tuple[str, ...]
    topics: tuple[Mapping[str, float], ...]
    complexity: Floats
    group: Rows

    @property
    def gains(self) -> Floats:
        """What the others gain over the base."""
        return np.asarray(self.quality[:, 1:] - self.quality[:, :1])

    def take(self, rows: Rows) -> Task:
        """Give some of the rows."""
        return Task(
            models=self.models,
            strong=self.strong,
            quality=self.quality[rows],
            examples=self.examples.take(rows),
            domains=tuple(self.domains[row] for row in rows),
            topics=tuple(self.topics[row] for row in rows),
            complexity=self.complexity[rows],
            group=self.group[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opinions:
    """What both parts say of each row: gains of the others over the base."""

    routers: Floats
    table: Floats

    @property
    def table_with_base(self) -> Floats:
        """What the hierarchy alone says, the base's 0 first."""
        return self.mixed(1.0)

    @property
    def routers_with_base(self) -> Floats:
        """What the routers alone say, the base's 0 first."""
        return self.mixed(0.0)

    def mixed(self, share: float) -> Floats:
        """Give all gains, the base's 0 first."""
        both = (1.0 - share) * self.routers + share * self.table
        return np.hstack([np.zeros((len(both), 1)), both])


def train_several(task: Task, recipe: Recipe) -> tuple[MultiRouter, Opinions]:
    """Train on all rows, and give what is said of each by those of the other folds."""
    left_out = out_of_sample(task, recipe)
    share, temperature = mix(left_out, task.quality)
    predicted = left_out.mixed(share)
    return MultiRouter(
        base=task.models[0],
        strong=task.strong,
        routers=_routers(task, recipe),
        hierarchy=hierarchy.fit(task.examples.vectors, task.domains, task.topics, task.complexity, task.gains),
        share=share,
        temperature=temperature,
        least_confidence=unsure_below(predicted, task.quality, temperature),
        quantiles=np.quantile(ahead(predicted, task), np.linspace(0, 1, 101)).astype(np.float32),
    ), left_out


def opinions(router: MultiRouter, task: Task) -> Opinions:
    """Give what a trained one says of each row."""
    of = task.examples
    columns = [scores(one, of.signals, of.vectors) for one in router.routers.values()]
    table = hierarchy.gains_of(router.hierarchy, of.vectors, task.topics, task.complexity)
    return Opinions(routers=np.column_stack(columns), table=table)


def out_of_sample(task: Task, recipe: Recipe) -> Opinions:
    """Predict all gains over the base by folds."""
    said = np.zeros((2, *task.gains.shape))
    for rows, test in splits.folds(task.group, FOLDS, recipe.seed):
        known, asked = task.take(rows), task.take(test)
        table = hierarchy.fit(known.examples.vectors, known.domains, known.topics, known.complexity, known.gains)
        for column, router in enumerate(_routers(known, recipe).values()):
            said[0, test, column] = scores(router, asked.examples.signals, asked.examples.vectors)
        said[1, test] = hierarchy.gains_of(table, asked.examples.vectors, asked.topics, asked.complexity)
    return Opinions(routers=said[0], table=said[1])


def ahead(predicted: Floats, task: Task) -> Floats:
    """Give for each row what the best strong model gains over the best of the others, as `advantage` does for one."""
    upper = np.array([model in task.strong for model in task.models])
    if upper.all() or not upper.any():
        return np.zeros(len(predicted))
    return np.asarray(predicted[:, upper].max(axis=1) - predicted[:, ~upper].max(axis=1))


def mix(said: Opinions, quality: Floats) -> tuple[float, float]:
    """Find the share of the hierarchy, and the temperature, at which the best models of each prompt get the most probability."""
    pairs = [(share, temperature) for share in SHARES for temperature in TEMPERATURES.tolist()]
    return min(pairs, key=lambda pair: _surprise(said.mixed(pair[0]), quality, pair[1]))


def probabilities(predicted: Floats, temperature: float) -> Floats:
    """Give each model's probability of being the best, a row for each prompt."""
    powers = np.exp((predicted - predicted.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def confidences(predicted: Floats, temperature: float) -> tuple[Floats, Rows]:
    """Give how sure each choice is, as `choose` tells it, and the model that it is held against."""
    chosen, width = predicted.argmax(axis=1), predicted.shape[1]
    others = np.where(np.eye(width, dtype=bool)[chosen], -np.inf, predicted)
    rival = np.where(chosen == 0, others.argmax(axis=1), 0)
    rows = np.arange(len(predicted))
    return 1.0 / (1.0 + np.exp((predicted[rows, rival] - predicted[rows, chosen]) / temperature)), rival


def unsure_below(predicted: Floats, quality: Floats, temperature: float) -> float:
    """Give the confidence below which choices were no better than the base by more than chance; 0 where all were.

    The rows are looked at from the least sure one on: as long as the mean gain of the choices is below 1.645 of its standard errors
    (one-sided 95 %), and at most half of all.
    """
    sure, _ = confidences(predicted, temperature)
    order = np.argsort(sure, kind="stable")
    gain = (quality[np.arange(len(quality)), predicted.argmax(axis=1)] - quality[:, 0])[order]
    found = 0.0
    for count in range(UNSURE_ROWS, int(MOST_UNSURE * len(order)) + 1):
        part = gain[:count]
        if part.mean() >= 1.645 * max(part.std(), 1e-9) / np.sqrt(count):
            break
        found = float(sure[order[count - 1]])
    return found


def _surprise(predicted: Floats, quality: Floats, temperature: float) -> float:
    best = quality == quality.max(axis=1, keepdims=True)
    return -float(np.log(np.maximum((probabilities(predicted, temperature) * best).sum(axis=1), 1e-9)).mean())


def _routers(task: Task, recipe: Recipe) -> dict[str, TrainedRouter]:
    gains = task.gains
    return {
        model: train(replace(task.examples, gain=gains[:, column]), recipe)
        for column, model in enumerate(task.models[1:])
    }
