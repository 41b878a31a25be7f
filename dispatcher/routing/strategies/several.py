"""What `learned` does with a router of several models: each of those at hand has its rank, and the record tells why.

It is no strategy of its own: which file the owner names decides what `learned` means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dispatcher.routing.ask import Forecast
from dispatcher.routing.figures import Numbers
from dispatcher.routing.multi import Choice, choose
from dispatcher.routing.strategies.heuristic import heuristic
from dispatcher.routing.strategies.hybrid import hybrid
from dispatcher.routing.strategies.seam import Scene, Scores

MOST_TOLD = 5
"""Models whose figures are told, the likeliest first: a record is bounded in bytes."""

DIGITS = 4


def several(scene: Scene, forecast: Forecast) -> Scores:
    """Rank the models that the router knows before all others, and the devices of each by the hybrid score.

    1. Where it knows none of the models at hand, 2. was taught nothing alike, 3. or is not sure, the rules of `heuristic` decide.
    4. To learn from, models are drawn by lot. 5. What the budget holds back goes to no strong one, 6. else the likeliest is first.
    """
    known = {name: forecast.gains[name] for name in sorted(set(scene.models)) if name in forecast.gains}
    if not known:  # 1
        return _by_rules(scene, forecast, None, "the trained router knows none of the models at hand")
    choice = choose(known, base=forecast.base, temperature=forecast.temperature)
    order = sorted(known, key=lambda name: (-choice.probabilities[name], name))
    if forecast.explored:  # 4
        order = [order[number] for number in np.random.default_rng(scene.ask.seed).permutation(len(order))]
        return _by_name(scene, forecast, choice, order, "unlike all labelled prompts: explored")
    if not forecast.in_domain:  # 2
        return _by_rules(scene, forecast, choice, "unlike all labelled prompts: the rules decide")
    if len(known) > 1 and choice.confidence < forecast.least_confidence:  # 3
        words = f"confidence {choice.confidence:.2f} below {forecast.least_confidence:.2f}: the rules decide"
        return _by_rules(scene, forecast, choice, words)
    if forecast.held and not forecast.strong.issuperset(known):  # 5
        order.sort(key=forecast.strong.__contains__)
        return _by_name(scene, forecast, choice, order, forecast.held)
    words = f"the best one with a probability of {choice.probabilities[choice.model]:.2f}"  # 6
    return _by_name(scene, forecast, choice, order, words)


def _by_name(scene: Scene, forecast: Forecast, choice: Choice, order: Sequence[str], words: str) -> Scores:
    """Give each known model a band of its own above one half, in which the hybrid score decides; others stay below it."""
    names, inside, count = scene.models, hybrid(scene), len(order)
    bands = {name: (1.0 + (count - 1 - place) / count) / 2 for place, name in enumerate(order)}
    floor = _column(names, bands)
    width = np.where(floor > 0.0, 0.999 / (2 * count), 0.499)  # bands don't touch
    return Scores(
        floor + width * inside.values,
        inside.weights,
        {
            "probability": _column(names, choice.probabilities),
            "gain": _column(names, {name: forecast.gains[name] for name in order}),
        },
        deserves_cloud=_only_remote(scene, order[0]),
        rule=f"{order[0]} first, {words}",
        told=_told(forecast, choice, names, by="trained router", reason=words),
    )


def _only_remote(scene: Scene, model: str) -> bool:
    chosen = np.array([name == model for name in scene.models], dtype=np.bool_)
    return bool((scene.options.remote[chosen] > 0.0).all())


def _by_rules(scene: Scene, forecast: Forecast, choice: Choice | None, words: str) -> Scores:
    return replace(heuristic(scene), rule=words, told=_told(forecast, choice, scene.models, by="rules", reason=words))


def _column(names: Sequence[str], of: Mapping[str, float]) -> Numbers:
    return np.array([of.get(name, 0.0) for name in names])


def _told(
    forecast: Forecast, choice: Choice | None, names: Sequence[str], *, by: str, reason: str
) -> Mapping[str, Any]:
    """Tell the choice: `model` is the likeliest one, also where rules, budget or lots send the job elsewhere."""
    probabilities = {} if choice is None else choice.probabilities
    likeliest = sorted(probabilities, key=lambda name: (-probabilities[name], name))[:MOST_TOLD]
    present = set(names)
    return {
        "choice": {
            "model": "" if choice is None else choice.model,
            "confidence": 0.0 if choice is None else round(choice.confidence, DIGITS),
            "least_confidence": round(forecast.least_confidence, DIGITS),
            "by": by,
            "reason": reason,
            "probabilities": {name: round(probabilities[name], DIGITS) for name in likeliest},
            "gains": {name: round(forecast.gains[name], DIGITS) for name in likeliest},
            "explored": forecast.explored,
            "not_at_hand": [name for name in forecast.gains if name not in present][:MOST_TOLD],
            "not_known": sorted(present - forecast.gains.keys())[:MOST_TOLD],
            **forecast.told,
        }
    }
