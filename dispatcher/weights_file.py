"""Trained weights as files: arrays in one .npz, and beside it a JSON card that says what they are; it knows no model.

The card holds the digest of the arrays, so a file that was cut, swapped or mixed up is refused before anything in it is read.
Nothing in either file is ever executed: pickles are not read.
"""

from __future__ import annotations

import hashlib
import io
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import codec
from common.errors import BadRequest, WeightsError, WeightsMismatch
from dispatcher.files import write_whole

MOST_BYTES = 256 * 1024 * 1024
"""A hundred thousand labelled prompts of 384 dimensions; a larger file is not one of ours."""

MOST_CARD_BYTES = 16 * 1024 * 1024

GREATEST = 1e6
"""What is trained stays far below; above, sums of products leave the numbers there are."""

Arrays = Mapping[str, NDArray[Any]]

_DAMAGED = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError,
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError,
)  # fmt: skip
"""What zipfile and numpy raise over bytes that are cut, encrypted, or made up: their headers are read by Python's own parser."""


def card_path(path: Path) -> Path:
    """Give where the card of the weights at `path` lies."""
    return path.with_suffix(".json")


def write_weights(path: Path, *, kind: str, version: int, arrays: Arrays, card: Mapping[str, Any]) -> None:
    """Write arrays and card; a reader never sees half of a file. Raises `WeightsError` when they can't be written."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
    data = buffer.getvalue()
    head = {"kind": kind, "version": version, "sha256": hashlib.sha256(data).hexdigest()}
    try:
        write_whole(path, data)
        write_whole(card_path(path), codec.encode_pretty({**head, **card}).encode())
    except OSError as error:
        raise WeightsError(f"{path} can't be written: {error}") from error


def kind_at(path: Path) -> str:
    """Say what kind of weights lies at `path`, by its card. Raises `WeightsError` like `read_weights`."""
    return str(_read_card(card_path(path)).get("kind"))


def read_weights(path: Path, *, kind: str, version: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read arrays and card.

    Raises `WeightsError` for files that can't be read, are damaged or too large, and `WeightsMismatch` for sound ones of another
    kind or version.
    """
    card = _read_card(card_path(path))
    if card.get("kind") != kind:
        raise WeightsMismatch(
            f"{path} holds {card.get('kind')!r}, and {kind!r} is needed: give the file that was made for this"
        )
    if card.get("version") != version:
        raise WeightsMismatch(
            f"{path} has version {card.get('version')!r}, and this program reads {version}: train it anew"
        )
    data = _read(path, MOST_BYTES)
    if hashlib.sha256(data).hexdigest() != card.get("sha256"):
        raise WeightsError(
            f"{path} is not the file that {card_path(path).name} describes: copy both anew, or train again"
        )
    return _arrays(path, data), card


def _read(path: Path, most: int, hint: str = "") -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise WeightsError(f"{path} can't be read: {error}{hint}") from error
    if len(data) > most:
        raise WeightsError(f"{path} has more than {most} bytes: it is none of ours")
    return data


def _read_card(path: Path) -> dict[str, Any]:
    try:
        return codec.decode(_read(path, MOST_CARD_BYTES, "; weights need their card beside them"))
    except BadRequest as error:
        raise WeightsError(f"{path} is no card: {error}") from error


def _arrays(path: Path, data: bytes) -> dict[str, NDArray[Any]]:
    """Unpack. A member may say that it is larger than memory, so the sizes are added up first."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MOST_BYTES:
            raise WeightsError(f"{path} unpacks to {size} bytes, over the limit of {MOST_BYTES}")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except _DAMAGED as error:
        raise WeightsError(f"{path} is damaged: {type(error).__name__}: {error!s:.200}") from error
    for name, array in found.items():
        _check(path, name, array)
    return found


def _check(path: Path, name: str, array: object) -> None:
    """Raise `WeightsError` for what is no array of plain numbers: bytes, texts, dates, records."""
    if not isinstance(array, np.ndarray):
        raise WeightsError(f"{path} is damaged: {name:.60} is no array")
    if array.dtype.kind not in "fiu" or not array.dtype.isnative:
        raise WeightsError(f"{path} is damaged: {name:.60} holds {array.dtype!s:.60}, which are no plain numbers")
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (np.abs(array) <= GREATEST).all()):
        raise WeightsError(f"{path} is damaged: {name:.60} holds numbers that are none, or beyond all measure")


def require_floats(arrays: Arrays, axes: Mapping[str, int]) -> None:
    """Raise `KeyError` for an array that is not there, `ValueError` for one without floats of 4 or 8 bytes along so many axes."""
    wrong = [
        name
        for name, count in axes.items()
        if arrays[name].ndim != count or arrays[name].dtype not in {np.dtype(np.float32), np.dtype(np.float64)}
    ]
    if wrong:
        raise ValueError(f"of other numbers or axes than they should be: {', '.join(wrong)}")
