"""How good choices among several models are: quality, shares and accuracy, each with an interval, beside those that know nothing
and the one that knows all.

Intervals are 95 % bootstrap intervals over groups of prompts that begin alike: rows of one template are no independent evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dispatcher.lab.router.bootstrap import Interval
from dispatcher.lab.router.several import Opinions, Task, ahead, confidences

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

BUDGETS = (0.0, 0.3, 0.5, 1.0)
"""Shares of prompts that may go to strong models; 0.3 is what `DROVER_STRONG_SHARE` is by default, 1 whatever it costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceRow:
    """One way to choose. `quality` is how good the answers were, `best` how often no other model's was better; `over_mixture` what
    it gains over the same shares of models dealt out by chance, `over_single` over always the one that is best in the mean."""

    method: str
    quality: Interval
    best: Interval
    shares: Mapping[str, float]
    over_mixture: Interval
    over_single: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """All ways beside each other, on the same prompts. `sure` is the mean confidence, `sure_right` how often the choice was no
    worse than what it is held against; `unsure` is the part of the prompts below the least confidence."""

    count: int
    rows: tuple[ChoiceRow, ...]
    sure: float
    sure_right: float
    unsure: float


def judge_choices(
    task: Task,
    said: Opinions,
    *,
    share: float,
    temperature: float,
    least_confidence: float,
    draws: int = 500,
    seed: int = 0,
) -> Choices:
    """Judge what was predicted without having seen these rows."""
    predicted, models = said.mixed(share), task.models
    draw = _draws(task.group, draws, seed)
    count, width = task.quality.shape
    ways: dict[str, Floats] = {
        "random": np.full((count, width), 1.0 / width),
        **{f"always {model}": _always(count, width, number) for number, model in enumerate(models)},
        "oracle": _oracle(task.quality),
        "hierarchy alone, any cost": _one(said.table_with_base.argmax(axis=1), width),
        "routers alone, any cost": _one(said.routers_with_base.argmax(axis=1), width),
        **{
            f"router, {100 * budget:g} % strong" if budget < 1 else "router, any cost": _one(
                within(predicted, budget, task), width
            )
            for budget in BUDGETS
        },
    }
    sure, rival = confidences(predicted, temperature)
    every = np.arange(count)
    held = task.quality[every, predicted.argmax(axis=1)] >= task.quality[every, rival]
    return Choices(
        count=count,
        rows=tuple(_row(method, dealt, task, draw) for method, dealt in ways.items()),
        sure=float(sure.mean()),
        sure_right=float(held.mean()),
        unsure=float((sure < least_confidence).mean()),
    )


def within(predicted: Floats, budget: float, task: Task) -> Rows:
    """Choose for each prompt, where only those for which strong models promise most may go there."""
    lead = ahead(predicted, task)
    free = np.ones(len(lead), dtype=bool) if budget >= 1 else lead > np.quantile(lead, 1.0 - budget)
    upper = np.array([model in task.strong for model in task.models])
    cheap = np.where(upper, -np.inf, predicted) if not upper.all() else predicted
    return np.asarray(np.where(free, predicted.argmax(axis=1), cheap.argmax(axis=1)), dtype=np.intp)


def _row(method: str, dealt: Floats, task: Task, draw: Floats) -> ChoiceRow:
    """`dealt` is how much of each prompt each model gets: 1 for a choice."""
    quality = (dealt * task.quality).sum(axis=1)
    best = (dealt * (task.quality == task.quality.max(axis=1, keepdims=True))).sum(axis=1)
    single = task.quality[:, int(task.quality.mean(axis=0).argmax())]
    shares = dealt.mean(axis=0)
    return ChoiceRow(
        method=method,
        quality=_interval(quality, draw),
        best=_interval(best, draw),
        shares=dict(zip(task.models, shares.tolist(), strict=True)),
        over_mixture=_interval(quality - task.quality @ shares, draw),
        over_single=_interval(quality - single, draw),
    )


def _draws(group: Rows, draws: int, seed: int) -> Floats:
    """Give weights of the rows, a draw of groups in each row."""
    _, number = np.unique(group, return_inverse=True)
    count = int(number.max()) + 1
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1.0 / count), size=draws)
    weights = times[:, number].astype(np.float64)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _interval(values: Floats, draw: Floats) -> Interval:
    low, high = np.quantile(draw @ values, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def _one(chosen: Rows, width: int) -> Floats:
    return np.asarray(np.eye(width)[chosen])


def _always(count: int, width: int, model: int) -> Floats:
    return _one(np.full(count, model, dtype=np.intp), width)


def _oracle(quality: Floats) -> Floats:
    """The best model of each prompt, the first of equals: the base costs least."""
    return _one(quality.argmax(axis=1), quality.shape[1])


def table(choices: Choices, models: Sequence[str]) -> list[tuple[str, ...]]:
    """Give the figures as cells: method, quality, accuracy of the choice, shares, and both differences."""
    lines = [
        (
            "method",
            "quality %",
            "among the best %",
            *(f"{one} %" for one in models),
            "over its mixture",
            "over the best single",
        )
    ]
    lines.extend(
        (
            row.method,
            _percent(row.quality),
            _percent(row.best),
            *(f"{100 * row.shares[model]:.0f}" for model in models),
            _percent(row.over_mixture, "+"),
            _percent(row.over_single, "+"),
        )
        for row in choices.rows
    )
    return lines


def _percent(one: Interval, sign: str = "") -> str:
    return f"{100 * one.value:{sign}.1f} [{100 * one.low:{sign}.1f}, {100 * one.high:{sign}.1f}]"
