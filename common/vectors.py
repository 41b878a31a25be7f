"""Embeddings as they travel: each is a list of numbers, packed as base64 of little-endian float32, which JSON and MessagePack carry
alike and without loss. It knows neither models nor frames."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Sequence
from typing import Any

MOST_INPUTS = 16
"""Texts of one job. With as many numbers as any embedding has, the answer is 700 KB: it fits the 1 MiB that NATS carries."""

MOST_DIMENSIONS = 8192
"""Numbers of one embedding; the largest models that we know of give 4096."""

_BYTES = 4


def pack(numbers: Sequence[float]) -> str:
    """Pack an embedding. Raises `ValueError` for what can be none: no numbers, too many, or any that float32 does not hold."""
    if not 1 <= len(numbers) <= MOST_DIMENSIONS:
        raise ValueError(f"an embedding has {len(numbers)} numbers: 1 to {MOST_DIMENSIONS} are possible")
    try:
        data = struct.pack(f"<{len(numbers)}f", *numbers)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"an embedding holds what is no number of 32 bits ({error})") from error
    _require_finite(numbers)
    return base64.b64encode(data).decode()


def unpack(packed: str) -> tuple[float, ...]:
    """Give the numbers of an embedding. Raises `ValueError` for what is none."""
    try:
        data = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"an embedding is no base64 ({error})") from error
    count, rest = divmod(len(data), _BYTES)
    if rest or not 1 <= count <= MOST_DIMENSIONS:
        raise ValueError(
            f"an embedding has {len(data)} bytes: 4 for each of 1 to {MOST_DIMENSIONS} numbers are possible"
        )
    numbers: tuple[float, ...] = struct.unpack(f"<{count}f", data)
    _require_finite(numbers)
    return numbers


def shown(packed: str) -> list[float]:
    """Give the numbers for people to read: nine digits are enough to tell any two float32 apart, and no more are written."""
    return [float(f"{number:.9g}") for number in unpack(packed)]


def dimensions(packed: str) -> int:
    """Count the numbers of an embedding that was read before."""
    return (len(packed) * 3 // 4 - packed[-2:].count("=")) // _BYTES


def read(value: Any) -> tuple[str, ...]:
    """Read the embeddings of one answer, which have one length. Raises `ValueError` for what is none."""
    if not isinstance(value, list) or len(value) > MOST_INPUTS:
        raise ValueError(f"embeddings is no list, or has more than {MOST_INPUTS}")
    if not all(isinstance(one, str) for one in value):
        raise ValueError("embeddings holds what is no text")
    if len({len(unpack(one)) for one in value}) > 1:
        raise ValueError("the embeddings have different lengths")
    return tuple(value)


def _require_finite(numbers: Sequence[float]) -> None:
    """Look at all of them at once: a sum over what is not finite is not finite either, and float32 can't make one overflow."""
    if not math.isfinite(sum(numbers)):
        raise ValueError("an embedding holds a number that is not finite")
