"""A trained verifier as a file, written by training and read by whoever judges; what the numbers mean stands in
`guard.verifier`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import WeightsError, WeightsMismatch
from dispatcher.cache.guard.near_features import NEAR
from dispatcher.cache.guard.pair_features import PAIR
from dispatcher.cache.guard.swap_features import SWAP
from dispatcher.cache.guard.trees import Trees
from dispatcher.cache.guard.verifier import Line, Verifier, sound
from dispatcher.router.weights_file import read_weights, require_floats, write_weights

KIND = "drover.verifier"
VERSION = 1

_COLUMNS = ("mean", "scale", "weights")
_LINES = ("trend", "swap")
_TABLES = ("scores", "chances", "rates", "cuts")
_INTEGERS = {"roots": np.int32, "feature": np.int32, "left": np.int32, "right": np.int32}


def write_verifier(path: Path, verifier: Verifier, *, embedder: str, words: str, card: Mapping[str, Any]) -> None:
    """Write a verifier to `path` (.npz), and its card beside it. `embedder` made the similarities, `words` the words' vectors: both
    are identities. Raises `WeightsError` when they can't be written."""
    trees = verifier.trees
    arrays: dict[str, NDArray[Any]] = {
        "roots": trees.roots, "feature": trees.feature, "threshold": trees.threshold.astype(np.float64), "left": trees.left,
        "right": trees.right, "value": trees.value.astype(np.float32),
        "scalars": np.array([trees.start, trees.depth, verifier.trend.bias, verifier.swap.bias, verifier.swap_cut, verifier.least_similarity]),
    }  # fmt: skip
    for name in _LINES:
        for column in _COLUMNS:
            arrays[f"{name}_{column}"] = getattr(getattr(verifier, name), column)
    arrays |= {name: getattr(verifier, name) for name in _TABLES}
    bound = {"embedder": embedder, "words": words, "features": _features()}
    write_weights(path, kind=KIND, version=VERSION, arrays=arrays, card={**bound, **card})


def read_verifier(path: Path, *, embedder: str, words: str) -> tuple[Verifier, dict[str, Any]]:
    """Read a verifier and its card.

    Raises `WeightsError` for files that can't be read or are damaged, `WeightsMismatch` for one that was trained with another
    embedder, other vectors of words, or other features.
    """
    arrays, card = read_weights(path, kind=KIND, version=VERSION)
    for what, used in (("embedder", embedder), ("words", words)):
        if card.get(what) != used:
            raise WeightsMismatch(
                f"{path} was trained with {card.get(what)} as {what}, and {used} is in use: switch to it, or train again with "
                "`drover lab train-verifier`"
            )
    if card.get("features") != _features():
        raise WeightsMismatch(f"{path} was trained with other features than this version has: train it anew")
    try:
        found = _verifier(arrays)
        sound(found)
    except (LookupError, ValueError, TypeError, ArithmeticError) as error:
        raise WeightsError(f"{path} is damaged: {error!s:.200}") from error
    return found, card


def _features() -> dict[str, list[str]]:
    return {"pair": list(PAIR), "near": list(NEAR), "swap": list(SWAP)}


def _verifier(arrays: Mapping[str, NDArray[Any]]) -> Verifier:
    columns = {f"{name}_{column}": 1 for name in _LINES for column in _COLUMNS}
    require_floats(arrays, {**columns, **dict.fromkeys(_TABLES, 1), "threshold": 1, "value": 1, "scalars": 1})
    for name, kind in _INTEGERS.items():
        if arrays[name].dtype != kind or arrays[name].ndim != 1:
            raise ValueError(f"of other numbers or axes than they should be: {name}")
    start, depth, trend_bias, swap_bias, swap_cut, least = (float(one) for one in arrays["scalars"])
    trend, swap = (
        Line(**{column: arrays[f"{name}_{column}"].astype(np.float64) for column in _COLUMNS}, bias=bias)
        for name, bias in zip(_LINES, (trend_bias, swap_bias), strict=True)
    )
    return Verifier(
        trees=Trees(
            roots=arrays["roots"],
            feature=arrays["feature"],
            threshold=arrays["threshold"].astype(np.float64),
            left=arrays["left"],
            right=arrays["right"],
            value=arrays["value"].astype(np.float64),
            start=start,
            depth=int(depth),
        ),
        trend=trend,
        swap=swap,
        swap_cut=swap_cut,
        least_similarity=least,
        **{name: arrays[name].astype(np.float64) for name in _TABLES},
    )
