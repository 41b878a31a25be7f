"""A trained router as a file, written by training and read by whoever routes; what the numbers mean stands in `routing.trained`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import WeightsError, WeightsMismatch
from dispatcher.routing.trained import Blend, FeatureSpace, Kernel, Memory, TrainedRouter
from dispatcher.weights_file import read_weights, require_floats, write_weights

KIND = "drover.router"
VERSION = 1

Array = NDArray[Any]

WIDEST_GAMMA = 1000.0
"""A kernel as narrow as this knows nothing but its own rows."""

_FLOATS = {
    "signal_mean": 1, "signal_scale": 1, "centre": 1, "ridge": 1, "axes": 2, "rows": 2, "gains": 1, "kernel_weights": 1,
    "quantiles": 1, "scalars": 1,
}  # fmt: skip
"""The parts that hold floats of 4 or 8 bytes, and how many axes each has."""


def write_router(
    path: Path, router: TrainedRouter, card: Mapping[str, Any], *, trained_on: NDArray[np.uint64] | None = None
) -> None:
    """Write the router to `path` (.npz), and its card beside it. `trained_on` are fingerprints of the prompts that it has seen.

    Raises `WeightsError` when they can't be written.
    """
    bound = {"embedder": router.space.embedder, "signals": list(router.space.signals)}
    seen = {} if trained_on is None else {"trained_on": trained_on}
    write_weights(path, kind=KIND, version=VERSION, arrays={**router_arrays(router), **seen}, card={**bound, **card})


def router_arrays(router: TrainedRouter) -> dict[str, Array]:
    """Give the router as named arrays."""
    space, memory, kernel, blend = router.space, router.memory, router.kernel, router.blend
    return {
        "signal_mean": space.mean,
        "signal_scale": space.scale,
        "centre": space.centre,
        "ridge": router.ridge,
        "axes": memory.axes,
        "rows": memory.rows,
        "gains": memory.gains,
        "heads": np.frombuffer("\n".join(memory.heads).encode(), dtype=np.uint8),
        "kernel_rows": kernel.rows.astype(np.int64),
        "kernel_weights": kernel.weights,
        "quantiles": router.quantiles,
        "scalars": np.array(
            [
                space.weight, router.ridge_bias, memory.count, memory.least_similarity, kernel.gamma, kernel.bias,
                blend.bias, blend.ridge, blend.kernel, blend.knn,
            ],
            dtype=np.float64,
        ),
    }  # fmt: skip


def read_router(path: Path, *, signals: tuple[str, ...], embedder: str | None) -> tuple[TrainedRouter, dict[str, Any]]:
    """Read a router and its card. `embedder` is the identity of the one that will be asked; any does for signals alone.

    Raises `WeightsError` for files that can't be read or are damaged, `WeightsMismatch` when the router was trained with another
    embedder or other signals.
    """
    arrays, card = read_weights(path, kind=KIND, version=VERSION)
    trained_with = require_bound(path, card, signals=signals, embedder=embedder)
    return router_of(path, arrays, signals, trained_with), card


def require_bound(path: Path, card: Mapping[str, Any], *, signals: tuple[str, ...], embedder: str | None) -> str | None:
    """Give the embedder that a card names. Raises `WeightsMismatch` when weights were trained with another one than is in use, or
    with other signals."""
    trained_with: str | None = card.get("embedder")
    if trained_with is not None and trained_with != embedder:
        raise WeightsMismatch(
            f"{path} was trained with the embedder {trained_with}, and {embedder or 'none'} is in use: "
            "switch to it, or train again with the other"
        )
    if card.get("signals") != list(signals):
        raise WeightsMismatch(f"{path} was trained with other text signals than this version has: train it anew")
    return trained_with


def router_of(path: Path, arrays: Mapping[str, Array], signals: tuple[str, ...], embedder: str | None) -> TrainedRouter:
    """Give the router of named arrays that `path` holds. Raises `WeightsError` for damaged ones."""
    try:
        _check_kinds(arrays)
        router = _router(arrays, signals, embedder)
        _check(router)
        _try(router)
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, WeightsMismatch) as error:
        raise WeightsError(f"{path} is damaged: {error!s:.200}") from error
    return router


def _check_kinds(arrays: Mapping[str, Array]) -> None:
    """Raise `ValueError` for parts that hold other things than they should, and `KeyError` for those that are not there."""
    require_floats(arrays, _FLOATS)
    for name, kind in (("kernel_rows", np.int64), ("heads", np.uint8)):
        if arrays[name].dtype != kind or arrays[name].ndim != 1:
            raise ValueError(f"of other numbers or axes than they should be: {name}")


def _try(router: TrainedRouter) -> None:
    """Judge two prompts that are none. Raises `ValueError` where no number comes out: no request shall find out."""
    for value in (0.0, 1.0):
        vector = np.full(router.space.dimensions, value, dtype=np.float32)
        router.gain([value] * len(router.space.signals), vector if router.space.embedder else None)


def read_trained_on(path: Path) -> NDArray[np.uint64] | None:
    """Read the fingerprints of the prompts that a router has seen; None where its file has none. Raises like `read_router`."""
    found = read_weights(path, kind=KIND, version=VERSION)[0].get("trained_on")
    return None if found is None else found.astype(np.uint64)


def _router(arrays: Mapping[str, Array], signals: tuple[str, ...], embedder: str | None) -> TrainedRouter:
    weight, ridge_bias, count, least, gamma, kernel_bias, *blend = (float(one) for one in arrays["scalars"])
    if len(blend) != 4:
        raise ValueError(f"there are {len(arrays['scalars'])} scalars, and there should be 10")
    texts = arrays["heads"].tobytes().decode()
    memory = Memory(
        axes=arrays["axes"],
        rows=arrays["rows"],
        gains=arrays["gains"],
        heads=tuple(texts.split("\n")),
        count=int(count),
        least_similarity=least,
    )
    return TrainedRouter(
        space=FeatureSpace(
            signals=signals,
            embedder=embedder,
            mean=arrays["signal_mean"],
            scale=arrays["signal_scale"],
            weight=weight,
            centre=arrays["centre"],
        ),
        ridge=arrays["ridge"],
        ridge_bias=ridge_bias,
        memory=memory,
        kernel=Kernel(rows=arrays["kernel_rows"], weights=arrays["kernel_weights"], gamma=gamma, bias=kernel_bias),
        blend=Blend(bias=blend[0], ridge=blend[1], kernel=blend[2], knn=blend[3]),
        quantiles=arrays["quantiles"],
    )


def _check(router: TrainedRouter) -> None:
    """Raise `ValueError` where the shapes don't fit each other: no request shall find out."""
    space, memory, kernel = router.space, router.memory, router.kernel
    width, rows = len(space.centre), len(memory.rows)
    sound = (
        rows > 0
        and memory.count >= 1
        and space.mean.shape == space.scale.shape == (len(space.signals),)
        and (width > len(space.signals) if space.embedder else width == len(space.signals))
        and bool((space.scale > 0).all())
        and router.ridge.shape == (width,)
        and memory.axes.ndim == 2
        and memory.axes.shape[0] == width
        and memory.rows.shape == (rows, memory.axes.shape[1])
        and bool((np.linalg.norm(memory.rows, axis=1) <= 1.01).all())
        and memory.gains.shape == (rows,)
        and len(memory.heads) == rows
        and kernel.rows.shape == kernel.weights.shape
        and 0.0 <= kernel.gamma <= WIDEST_GAMMA
        and bool(((kernel.rows >= 0) & (kernel.rows < rows)).all())
        and router.quantiles.ndim == 1
        and len(router.quantiles) > 1
    )
    if not sound:
        raise ValueError("its parts do not fit each other")
