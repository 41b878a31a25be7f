"""A decision in short, as it is kept for each job and travels in its event: bounded in bytes, and made in microseconds.

An option is a list, and `briefs.COLUMNS` names what stands in it; `briefs.unfold` gives the long form again. Of a small fleet all
is told, of a large one the best options, and who is out as numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dispatcher.briefs import DIGITS
from dispatcher.outcomes import Removed
from dispatcher.routing.figures import Rows
from dispatcher.routing.strategies.seam import Scene, Scores

MOST_OPTIONS = 8
MOST_OUT = 8
MOST_NAMED = 3
"""Names in a list of what the trained router does not know, or what is not there."""

MOST_TEXT = 96
"""Characters of a model's name or a reason. With these a brief stays below 8 KiB whatever devices call their models."""

SMALL_FLEET = 32
"""Devices of a fleet that is worth asking one by one why they are out: that takes some microseconds each."""

COST_DIGITS = 8
_SCALE = np.array([[10.0**DIGITS]] * 9 + [[10.0**COST_DIGITS]])
"""For rounding: the figures of an option in their order."""


def brief(
    scene: Scene, scores: Scores, order: Rows, removed: Callable[[], Sequence[Removed]], features: Mapping[str, Any]
) -> dict[str, Any]:
    """Tell a decision in short."""
    return {
        "strategy": scene.ask.strategy,
        "weights": {_cut(name): round(weight, DIGITS) for name, weight in list(scores.weights.items())[:MOST_OPTIONS]},
        "features": _plain(features),
        "options": _options(scene, scores, order[:MOST_OPTIONS]),
        "options_in_all": len(order),
        **_out(scene, len(order), removed),
    }


def _options(scene: Scene, scores: Scores, places: Rows) -> list[list[Any]]:
    predicted, terms = scene.predicted, scene.terms
    columns = np.array(
        [
            one[places]
            for one in (
                scores.values, terms.tokens, terms.topic, terms.health, predicted.wait_s, predicted.load_s,
                predicted.first_token_s, predicted.total_s, predicted.energy_j, predicted.cost_usd,
            )
        ]
    )  # fmt: skip
    figures, warm = (np.rint(columns * _SCALE) / _SCALE).T.tolist(), scene.options.warm[places].tolist()
    told: list[list[Any]] = []
    for number, row_number in enumerate(scene.kept[places].tolist()):
        row = scene.view.rows[row_number]
        simulated = scene.view.blocks[row.device].device.beat.simulated
        told.append([row.device, _cut(row.model.name), warm[number] > 0, simulated, *figures[number]])
    return [[*one[:4], *map(_known, one[4:])] for one in told] if scene.view.remote else told


def _out(scene: Scene, options: int, removed: Callable[[], Sequence[Removed]]) -> dict[str, Any]:
    blocks = scene.view.blocks
    if len(blocks) <= SMALL_FLEET:
        everybody = options == len(scene.view.rows) and all(block.stop > block.start for block in blocks.values())
        out = () if everybody else removed()
        told = [
            {"device": one.device, "filter": one.filter, "reason": _cut(one.reason), "for_now": one.for_now}
            | ({} if one.model is None else {"model": _cut(one.model)})
            for one in out[:MOST_OUT]
        ]
        return {"removed": told, "removed_in_all": len(out)}
    standing = Counter(block.standing.filter for block in blocks.values() if block.standing is not None)
    return {
        "removed": [],
        "devices_out": dict(standing),
        "removed_in_all": len(scene.view.rows) - len(scene.kept),
    }


def _plain(features: Mapping[str, Any]) -> dict[str, Any]:
    """Bound what is told, and leave out the labelled prompts that the trained router looked at: events travel far."""
    told: dict[str, Any] = {}
    for name, value in features.items():
        if isinstance(value, Mapping):
            told[_cut(name)] = _plain({key: part for key, part in value.items() if key != "neighbours"})
        elif isinstance(value, list):
            told[_cut(name)] = [_cut(one) if isinstance(one, str) else one for one in value[:MOST_NAMED]]
        else:
            told[_cut(name)] = _cut(value) if isinstance(value, str) else value
    return told


def _known(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None


def _cut(text: str) -> str:
    """Bound a text in bytes: what is not plain takes up to six in JSON."""
    if len(text) <= MOST_TEXT // 6 or (len(text) <= MOST_TEXT and text.isascii() and text.isprintable()):
        return text
    plain = text.isascii() and text.isprintable()
    return text[: (MOST_TEXT if plain else MOST_TEXT // 6) - 1] + "…"
