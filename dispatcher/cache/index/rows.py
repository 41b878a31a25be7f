"""The vectors of one scope in memory: a matrix that grows, and forgets its oldest row when it is full. It knows no tenant."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from dispatcher.cache.values import Near
from dispatcher.embed.protocol import Vector, Vectors

SMALLEST = 4
"""Rows of a new matrix: most scopes never hold more, since most conversations are never had again."""

KEY_BYTES = 215
"""What a row takes beside its numbers: its key of 64 characters, and a place in the list and in the order of arrival: 1,239
bytes in all with 256 numbers (`python -m dispatcher.lab.speed.likeness`)."""

Places = NDArray[np.intp]
"""Numbers of rows."""


class Rows:
    """Rows of norm 1 under their keys, without holes and at most `most`; re-adding a key makes it the newest.

    All methods belong to one thread. `matrix` may be searched by another one: what it finds are places to look at again, by
    `judged`, since rows move.
    """

    def __init__(self, dimensions: int, most: int) -> None:
        self._most = most
        self._all: Vectors = np.empty((min(SMALLEST, most), dimensions), dtype=np.float32)
        self._keys: list[str] = []
        self._at: OrderedDict[str, int] = OrderedDict()  # in the order of arrival
        self.mark = ("", 0)
        """Of a copy: which life of the original it follows, and how many of its changes it has seen."""

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def matrix(self) -> Vectors:
        """The rows as they are now, not copied."""
        return self._all[: len(self._keys)]

    @property
    def size_bytes(self) -> int:
        """What they take in memory."""
        return int(self._all.nbytes) + KEY_BYTES * len(self._keys)

    def add(self, key: str, vector: Vector) -> bool:
        """Keep a vector under a key, in place of the key's former one or of the oldest, if there is no room; gives whether the
        oldest had to go."""
        self.remove(key)
        full = len(self._keys) >= self._most
        if full:
            self.forget_oldest()
        place = len(self._keys)
        if place == len(self._all):
            self._resize(min(2 * place, self._most))
        self._all[place] = vector
        self._keys.append(key)
        self._at[key] = place
        return full

    def remove(self, key: str) -> bool:
        """Forget a key; gives whether it was there. The last row fills the hole."""
        place = self._at.pop(key, None)
        if place is None:
            return False
        last = self._keys.pop()
        if last != key:
            self._all[place] = self._all[len(self._keys)]
            self._keys[place] = last
            self._at[last] = place
        if len(self._all) > SMALLEST and len(self._keys) < len(self._all) // 4:
            self._resize(len(self._all) // 2)
        return True

    def forget_oldest(self) -> None:
        """Forget what came first."""
        self.remove(next(iter(self._at)))

    def clear(self) -> None:
        """Forget all: a search that is under way finds nothing any more."""
        self._keys.clear()
        self._at.clear()
        self._all = self._all[:0].copy()

    def judged(self, places: Places, vector: Vector, count: int) -> list[Near]:
        """Give what is in some places now, the most alike to a vector first; of equals by their keys."""
        places = places[places < len(self._keys)]
        found = zip((self._all[places] @ vector).tolist(), (self._keys[place] for place in places), strict=True)
        best = sorted((-min(max(cosine, -1.0), 1.0), key) for cosine, key in found)
        return [Near(exact=key, similarity=-minus) for minus, key in best[:count]]

    def _resize(self, capacity: int) -> None:
        capacity = max(capacity, min(SMALLEST, self._most))
        grown: Vectors = np.empty((capacity, self._all.shape[1]), dtype=np.float32)
        grown[: len(self._keys)] = self.matrix
        self._all = grown


def best_places(matrix: Vectors, vector: Vector, count: int) -> Places:
    """Give the rows that are most alike to a vector, in no order. Takes milliseconds for tens of thousands of rows."""
    scores = matrix @ vector
    if count == 1:
        return np.array([scores.argmax()])
    if count >= len(scores):
        return np.arange(len(scores))
    return np.argpartition(scores, len(scores) - count)[-count:]
