"""One vector: what may be compared at all, and how it is written in bytes. It knows neither scopes nor stores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dispatcher.embed.protocol import EmbedderId, Vector, Vectors

ASTRAY = 0.01
"""A vector's norm is 1, give or take this, as the embedding service has it: what is further off is no vector."""

WRITTEN = np.dtype("<f4")
"""How a number is written, whatever the machine: 32-bit floats, little end first, which is what Redis calls FP32."""


def unit(vector: Vector, embedder: EmbedderId) -> Vector:
    """Give a vector at exactly norm 1, as an array of its own, so that a product of two is their cosine.

    Raises `ValueError` for one that the embedder can't have made: whoever calls has mixed something up.
    """
    if vector.shape != (embedder.dimensions,) or vector.dtype != np.float32:
        raise ValueError(
            f"a vector of {embedder} is {embedder.dimensions} numbers of float32: "
            f"this one has the shape {vector.shape} of {vector.dtype}"
        )
    with np.errstate(all="ignore"):  # what overflows is no vector either
        norm = float(np.sqrt(np.dot(vector, vector)))
    if not abs(norm - 1.0) <= ASTRAY:  # which no NaN is
        raise ValueError(
            f"a vector of {embedder} has the norm 1: this one's is {norm:g}. Take it from the embedder as it is"
        )
    return vector / np.float32(norm)


def written(vector: Vector) -> bytes:
    """Give the bytes of a vector."""
    return np.ascontiguousarray(vector, dtype=WRITTEN).tobytes()


def read(data: Sequence[bytes | None], dimensions: int) -> list[Vector | None]:
    """Give the vectors that some bytes hold, at exactly norm 1; `None` for what is none, whatever became of it."""
    sized = [one if one is not None and len(one) == dimensions * WRITTEN.itemsize else None for one in data]
    whole = np.frombuffer(b"".join(one for one in sized if one is not None), dtype=WRITTEN)
    rows: Vectors = whole.reshape(-1, dimensions).astype(np.float32)
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(rows, axis=1)
        rows /= norms[:, None]
        sound = np.abs(norms - 1.0) <= ASTRAY  # which no NaN is
    judged = iter([row if fine else None for row, fine in zip(rows, sound, strict=True)])
    return [None if one is None else next(judged) for one in sized]
