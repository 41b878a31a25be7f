"""What an embedder is, and what is said of its origin; it knows no tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
"""One row: `dimensions` numbers, of norm 1."""

Vectors = NDArray[np.float32]
"""Rows of norm 1, one for each text, in the order of the texts."""


class Tier(StrEnum):
    """How texts become vectors: by a table in microseconds, by a small network in milliseconds, by the original, or not at all."""

    STATIC = "static"
    MINILM = "minilm"
    REFERENCE = "reference"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderId:
    """Which embedder made a vector; vectors of different identities must not be compared.

    `version` is the start of the SHA-256 over the embedder's file or files.
    """

    name: str
    version: str
    dimensions: int

    def __str__(self) -> str:
        return f"{self.name}-{self.dimensions}@{self.version}"


class Embedder(Protocol):
    """Turns texts into vectors. Called from one thread at a time, or, if it takes well below a millisecond, from the event loop as
    well; the same text always gives the same vector, whatever else is in the batch (the reference may differ by the last bits)."""

    @property
    def identity(self) -> EmbedderId:
        """Give what the vectors are to be labelled with."""
        ...

    def __hash__(self) -> int:
        """Tell one from another, by what it is and not by what it holds."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts, blocking; any text will do, also the empty one."""
        ...
