"""A text as it is compared with others: what it says, and the vectors of its word pieces. It knows no other text, and no table: the
vectors are looked up by whoever is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dispatcher.cache.guard.reading import Reading, read

Floats = NDArray[np.float32]

PieceVectors = Callable[[str], Floats]
"""Gives a row for each word piece of a text, in order; their sum stands for the text. No rows for a text without any piece."""

MOST_PIECES = 256
"""Of a text that is compared: what stands behind would be overlooked."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wording:
    """A text that is prepared once. `rows` are its pieces' vectors and `weights` their norms: the rarer a piece, the longer its
    row. `units` are the rows with norm 1, `whole` is their sum with norm 1. `too_long` says that pieces were left out."""

    text: str
    rows: Floats
    units: Floats
    weights: Floats
    whole: Floats
    too_long: bool
    _read: list[Reading] = field(default_factory=list, repr=False)

    @property
    def reading(self) -> Reading:
        """Give what it says; read when it is first asked for, since most neighbours are never."""
        if not self._read:
            self._read.append(read(self.text))
        return self._read[0]


def wording(text: str, vectors: PieceVectors) -> Wording:
    """Prepare a text. Deterministic; any text will do."""
    rows = vectors(text)
    too_long = len(rows) > MOST_PIECES
    rows = rows[:MOST_PIECES] if len(rows) else np.zeros((1, rows.shape[1]), dtype=np.float32)
    weights = np.sqrt(np.einsum("ij,ij->i", rows, rows)) + np.float32(1e-6)
    total = rows.sum(axis=0)
    return Wording(
        text=text,
        rows=rows,
        units=rows / weights[:, None],
        weights=weights,
        whole=total / (np.sqrt(total @ total) + np.float32(1e-6)),
        too_long=too_long,
    )
