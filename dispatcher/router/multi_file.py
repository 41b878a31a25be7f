"""Routers of several models as a folder: weights for each model, and an index that names them; `multi` chooses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from common import codec
from common.errors import BadRequest, WeightsError, WeightsMismatch
from dispatcher.router.files import write_whole
from dispatcher.router.trained_file import read_router
from dispatcher.routing.multi import MultiRouter

KIND = "drover.models"
VERSION = 1
INDEX = "models.json"
MOST_MODELS = 64


def write_index(folder: Path, *, base: str, files: Mapping[str, str], temperature: float) -> None:
    """Write the index; the weights are there already. Raises `WeightsError` when it can't be written."""
    index = {"kind": KIND, "version": VERSION, "base": base, "temperature": temperature, "files": dict(files)}
    try:
        write_whole(folder / INDEX, codec.encode_pretty(index).encode())
    except OSError as error:
        raise WeightsError(f"{folder / INDEX} can't be written: {error}") from error


def read_multi(folder: Path, *, signals: tuple[str, ...], embedder: str | None) -> MultiRouter:
    """Read all of them. Raises `WeightsError` and `WeightsMismatch` like `read_router`."""
    path = folder / INDEX
    try:
        index = codec.decode(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path} can't be read: {error}") from error
    except BadRequest as error:
        raise WeightsError(f"{path} is no index: {error}") from error
    if index.get("kind") != KIND or index.get("version") != VERSION:
        raise WeightsMismatch(f"{path} is no index of models of this version: train them anew")
    base, files, temperature = index.get("base"), index.get("files"), index.get("temperature")
    if not (
        isinstance(base, str)
        and isinstance(files, dict)
        and 0 < len(files) <= MOST_MODELS
        and all(isinstance(name, str) and Path(name).name == name for name in files.values())
        and isinstance(temperature, int | float)
        and temperature > 0
    ):
        raise WeightsError(
            f"{path} is damaged: it must name a base, a temperature above 0, and files in its own folder"
        )
    routers = {
        str(model): read_router(folder / name, signals=signals, embedder=embedder)[0] for model, name in files.items()
    }
    return MultiRouter(base=base, routers=routers, temperature=temperature)
