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
from dispatcher.cache.guard.verifier import Verifier, sound
from dispatcher.weights_file import read_weights, require_floats, write_weights

KIND = "drover.verifier"
VERSION = 1

_TABLES = ("scores", "chances", "rates", "cuts")
_INTEGERS = ("roots", "feature", "left", "right")
_FLOATS = ("threshold", "value")
_TREES = ("same", "swap")


def write_verifier(path: Path, verifier: Verifier, *, embedder: str, words: str, card: Mapping[str, Any]) -> None:
    """Write a verifier to `path` (.npz), and its card beside it. `embedder` made the similarities, `words` the words' vectors: both
    are identities. Raises `WeightsError` when they can't be written."""
    arrays: dict[str, NDArray[Any]] = {}
    for kind, trees in zip(_TREES, (verifier.trees, verifier.swap), strict=True):
        arrays |= {f"{kind}_{name}": getattr(trees, name) for name in _INTEGERS}
        arrays |= {f"{kind}_threshold": trees.threshold, f"{kind}_value": trees.value.astype(np.float32)}
        arrays[f"{kind}_scalars"] = np.array([trees.start, trees.depth])
    arrays["scalars"] = np.array([verifier.swap_cut, verifier.least_similarity])
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
    require_floats(arrays, {**dict.fromkeys(_TABLES, 1), "scalars": 1})
    swap_cut, least = (float(one) for one in arrays["scalars"])
    same, swap = (_trees(arrays, kind) for kind in _TREES)
    return Verifier(
        trees=same,
        swap=swap,
        swap_cut=swap_cut,
        least_similarity=least,
        **{name: arrays[name].astype(np.float64) for name in _TABLES},
    )


def _trees(arrays: Mapping[str, NDArray[Any]], kind: str) -> Trees:
    require_floats(arrays, {f"{kind}_{name}": 1 for name in (*_FLOATS, "scalars")})
    for name in _INTEGERS:
        if arrays[f"{kind}_{name}"].dtype != np.int32 or arrays[f"{kind}_{name}"].ndim != 1:
            raise ValueError(f"of other numbers or axes than they should be: {kind}_{name}")
    start, depth = (float(one) for one in arrays[f"{kind}_scalars"])
    return Trees(
        start=start,
        depth=int(depth),
        roots=arrays[f"{kind}_roots"],
        feature=arrays[f"{kind}_feature"],
        left=arrays[f"{kind}_left"],
        right=arrays[f"{kind}_right"],
        threshold=arrays[f"{kind}_threshold"].astype(np.float64),
        value=arrays[f"{kind}_value"].astype(np.float64),
    )
