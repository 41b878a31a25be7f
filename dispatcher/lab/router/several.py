"""Training for several models: a router for each against the base, and how sure a difference between predictions makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dispatcher.lab.router import splits
from dispatcher.lab.router.evaluate import Material
from dispatcher.lab.router.fit import Recipe, scores, train
from dispatcher.router.multi_file import write_index
from dispatcher.router.trained_file import write_router

Floats = NDArray[np.float64]

TEMPERATURES = np.logspace(-2, 0.5, 26)
_FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """Out of sample: how often the chosen model was right, beside the best single one and perfect choice."""

    chosen: float
    singles: Mapping[str, float]
    oracle: float
    temperature: float


def train_several(base: str, materials: Mapping[str, Material], folder: Path, recipe: Recipe) -> Several:
    """Train a router for each model against the base, on the same prompts, and write them with their index.

    Raises `WeightsError` when they can't be written.
    """
    models = tuple(materials)
    first = materials[models[0]].labels
    quality = np.column_stack([first.weak, *(materials[model].labels.strong for model in models)])
    predicted = _out_of_sample(materials, recipe)
    temperature = calibrate(predicted, quality)
    files = {model: f"{number}.npz" for number, model in enumerate(models)}
    for model in models:
        router = train(materials[model].prompt, recipe)
        write_router(folder / files[model], router, {"model": model, "base": base, "rows": len(first.prompts)})
    write_index(folder, base=base, files=files, temperature=temperature)
    chosen = quality[np.arange(len(quality)), predicted.argmax(axis=1)]
    return Several(
        chosen=float(chosen.mean()),
        singles=dict(zip((base, *models), quality.mean(axis=0).tolist(), strict=True)),
        oracle=float(quality.max(axis=1).mean()),
        temperature=temperature,
    )


def calibrate(predicted: Floats, quality: Floats) -> float:
    """Find the temperature at which the best models of each prompt get the most probability, by the logarithm."""
    best = quality == quality.max(axis=1, keepdims=True)

    def loss(temperature: float) -> float:
        powers = np.exp((predicted - predicted.max(axis=1, keepdims=True)) / temperature)
        shares = powers / powers.sum(axis=1, keepdims=True)
        return -float(np.log(np.maximum((shares * best).sum(axis=1), 1e-9)).mean())

    return float(min(TEMPERATURES, key=loss))


def _out_of_sample(materials: Mapping[str, Material], recipe: Recipe) -> Floats:
    """Predict all gains over the base (whose own is 0) by folds."""
    [first, *_] = materials.values()
    parts = list(splits.folds(splits.groups(first.labels.prompts), _FOLDS, recipe.seed))
    predicted = np.zeros((len(first.labels.prompts), len(materials) + 1))
    for column, one in enumerate(materials.values(), start=1):
        for rows, test in parts:
            router = train(one.prompt.take(rows), recipe)
            vectors = None if one.prompt.vectors is None else one.prompt.vectors[test]
            predicted[test, column] = scores(router, one.prompt.signals[test], vectors)
    return predicted
