"""A router of several models as a file, written by training and read by whoever routes; what the numbers mean stands in `multi`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import WeightsError
from dispatcher.router.trained_file import read_router, require_bound, router_arrays, router_of
from dispatcher.routing.multi import LEVELS, Hierarchy, MultiRouter
from dispatcher.routing.trained import TrainedRouter
from dispatcher.weights_file import kind_at, read_weights, write_weights

KIND = "drover.models"
VERSION = 2

MOST_MODELS = 16
"""Each one but the base costs a decision some 0.1 ms."""

MOST_DOMAINS = 256

Array = NDArray[Any]
_MOST_NAME = 200


def write_multi(path: Path, multi: MultiRouter, card: Mapping[str, Any]) -> None:
    """Write the routers and the hierarchy to `path` (.npz), and the card beside it. Raises `WeightsError` when they can't be
    written."""
    tree = multi.hierarchy
    arrays: dict[str, Array] = {
        f"{number}.{name}": array
        for number, router in enumerate(multi.routers.values())
        for name, array in router_arrays(router).items()
    }
    arrays |= {
        "hierarchy.edges": np.array(tree.edges, dtype=np.float64),
        "hierarchy.gains": tree.gains,
        "hierarchy.scalars": np.array([multi.share, multi.temperature, multi.least_confidence, tree.least_similarity]),
        "quantiles": multi.quantiles,
    }
    if tree.centroids is not None and tree.centre is not None:
        arrays |= {"hierarchy.centre": tree.centre, "hierarchy.centroids": tree.centroids}
    first = next(iter(multi.routers.values()))
    bound = {
        "embedder": first.space.embedder,
        "signals": list(first.space.signals),
        "models": list(multi.models),
        "strong": sorted(multi.strong),
        "domains": list(tree.domains),
    }
    write_weights(path, kind=KIND, version=VERSION, arrays=arrays, card={**bound, **card})


def read_multi(path: Path, *, signals: tuple[str, ...], embedder: str | None) -> tuple[MultiRouter, dict[str, Any]]:
    """Read them and their card. Raises `WeightsError` and `WeightsMismatch` like `read_router`."""
    arrays, card = read_weights(path, kind=KIND, version=VERSION)
    trained_with = require_bound(path, card, signals=signals, embedder=embedder)
    base, *others = _names(path, card, "models", 2, MOST_MODELS)
    strong = frozenset(_names(path, card, "strong", 0, MOST_MODELS))
    domains = _names(path, card, "domains", 1, MOST_DOMAINS)
    routers = {
        model: router_of(path, _of(arrays, f"{number}."), signals, trained_with) for number, model in enumerate(others)
    }
    try:
        multi = _multi((base, strong), routers, domains, arrays)
        _check(multi)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise WeightsError(f"{path} is damaged: {error}") from error
    return multi, card


def read_either(path: Path, *, signals: tuple[str, ...], embedder: str | None) -> TrainedRouter | MultiRouter:
    """Read a router of two tiers or of several models, whichever lies there. Raises like both."""
    if kind_at(path) == KIND:
        return read_multi(path, signals=signals, embedder=embedder)[0]
    return read_router(path, signals=signals, embedder=embedder)[0]


def _of(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _names(path: Path, card: Mapping[str, Any], key: str, fewest: int, most: int) -> list[str]:
    names = card.get(key)
    if not (
        isinstance(names, list)
        and fewest <= len(names) <= most
        and all(isinstance(name, str) and 0 < len(name) <= _MOST_NAME for name in names)
        and len(set(names)) == len(names)
    ):
        raise WeightsError(f"{path} is damaged: its card must name {fewest} to {most} different {key}")
    return names


def _multi(
    named: tuple[str, frozenset[str]],
    routers: Mapping[str, TrainedRouter],
    domains: list[str],
    arrays: Mapping[str, Array],
) -> MultiRouter:
    share, temperature, least_confidence, least_similarity = (float(one) for one in arrays["hierarchy.scalars"])
    centre, centroids = arrays.get("hierarchy.centre"), arrays.get("hierarchy.centroids")
    return MultiRouter(
        base=named[0],
        strong=named[1],
        routers=routers,
        hierarchy=Hierarchy(
            domains=tuple(domains),
            centre=centre,
            centroids=centroids,
            least_similarity=least_similarity,
            edges=tuple(float(edge) for edge in arrays["hierarchy.edges"]),
            gains=arrays["hierarchy.gains"],
        ),
        share=share,
        temperature=temperature,
        least_confidence=least_confidence,
        quantiles=arrays["quantiles"],
    )


def _check(multi: MultiRouter) -> None:
    """Raise `ValueError` where the parts don't fit each other: no request shall find out."""
    tree, dimensions = multi.hierarchy, next(iter(multi.routers.values())).space.dimensions
    sound = (
        tree.gains.dtype.kind == multi.quantiles.dtype.kind == "f"
        and tree.gains.shape == (len(tree.domains) + 1, len(LEVELS), len(multi.routers))
        and len(tree.edges) == len(LEVELS) - 1
        and multi.strong.issubset(multi.models)
        and 0 <= multi.share <= 1
        and multi.temperature > 0
        and 0 <= multi.least_confidence <= 1
        and multi.quantiles.ndim == 1
        and len(multi.quantiles) > 1
        and (tree.centre is None) == (tree.centroids is None)
    )
    if sound and tree.centre is not None and tree.centroids is not None:
        sound = (
            tree.centre.dtype.kind == tree.centroids.dtype.kind == "f"
            and tree.centre.shape == (dimensions,)
            and tree.centroids.shape == (len(tree.domains), dimensions)
        )
    if not sound:
        raise ValueError("its parts do not fit each other")
