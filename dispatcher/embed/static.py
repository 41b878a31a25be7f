"""The static tier: a text's vector is the sum of its word pieces' rows; it knows neither the file's format nor how rows are made.

The sum is one of integers, so it is exact: neither order nor batch changes a bit of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dispatcher.embed import table as files
from dispatcher.embed.protocol import EmbedderId, Vector, Vectors
from dispatcher.embed.table import Table
from dispatcher.embed.words import pieces_of, splitter

SHIPPED = "minilm-static.bin"
"""The table that comes with the package, in `dispatcher/embed/data`."""

VERSION_DIGITS = 12


class StaticEmbedder:
    """Looks pieces up in a table: tens of microseconds for an ordinary prompt. See `Embedder`."""

    def __init__(self, table: Table, digest: str) -> None:
        self.table = table
        self.identity = EmbedderId(
            name="minilm-static", version=digest[:VERSION_DIGITS], dimensions=int(table.rows.shape[1])
        )
        self._splitter = splitter(table.pieces)

    @classmethod
    def open(cls, path: Path | None = None) -> StaticEmbedder:
        """Read the table of a file, or the one that is shipped. Raises `EmbedderUnusable`."""
        return _shipped() if path is None else cls(*files.read(path))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; one without any word piece gets the vector that stands for nothing."""
        rows = np.empty((len(texts), self.identity.dimensions), dtype=np.float32)
        for place, text in enumerate(texts):
            rows[place] = self._one(pieces_of(self._splitter, text, marks=False))
        return rows

    def pieces(self, text: str) -> Vectors:
        """Give a row for each word piece of a text, in order, weighted as in its vector, of which they are the sum; none where
        it has no piece."""
        return self.table.rows[pieces_of(self._splitter, text, marks=False)].astype(np.float32) * self.table.scale

    def _one(self, ids: list[int]) -> Vector:
        if not ids:
            return self.table.nothing
        total: NDArray[np.int64] = self.table.rows[ids].sum(axis=0, dtype=np.int64)
        vector = total.astype(np.float32) * self.table.scale
        norm = np.sqrt(np.dot(vector, vector))
        return vector / norm if norm > 0 else self.table.nothing


@cache
def _shipped() -> StaticEmbedder:
    """Read the table that comes with the package, once for all who use it here: a tenth of a second and 20 MiB."""
    with resources.as_file(resources.files("dispatcher.embed") / "data" / SHIPPED) as file:
        return StaticEmbedder(*files.read(file))
