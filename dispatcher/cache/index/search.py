"""Looking through a matrix where it does least harm: on the event loop while that takes little, else in a thread."""

from __future__ import annotations

import asyncio
from time import thread_time

from dispatcher.cache.index.rows import Places, Rows, best_places
from dispatcher.cache.values import Near
from dispatcher.embed.protocol import Vector, Vectors

INLINE_S = 0.005
"""What takes longer leaves the loop, as everywhere here."""

FIRST_GUESS_S = 5e-10
"""Seconds for each number, until measured: 1.2e-10 to 3e-10 on a Xeon, by 10,000 and 100,000 rows of 256; boards are slower."""

TELLING = 100_000
"""Numbers of a matrix that says something of the pace: a smaller one takes as long as the call does."""


class Search:
    """Remembers how fast this machine is; all methods belong to the event loop."""

    def __init__(self) -> None:
        self.pace_s = FIRST_GUESS_S

    async def nearest(self, rows: Rows, vector: Vector, count: int) -> list[Near]:
        """Give the most alike, best first. `vector` has norm 1. Rows that come or go meanwhile are as they are at the end."""
        if count < 1 or not len(rows):
            return []
        matrix = rows.matrix
        if self.leaves(matrix):
            places, took_s = await asyncio.to_thread(_timed, matrix, vector, count)
        else:
            places, took_s = _timed(matrix, vector, count)
        if matrix.size >= TELLING:
            self.pace_s += (took_s / matrix.size - self.pace_s) / 4
        return rows.judged(places, vector, count)

    def leaves(self, matrix: Vectors) -> bool:
        """Say whether a search of that size is one for a thread."""
        return matrix.size * self.pace_s > INLINE_S


def _timed(matrix: Vectors, vector: Vector, count: int) -> tuple[Places, float]:
    """Search, and give the seconds of this thread's own work: waiting for a turn is no reason to leave the loop."""
    start_s = thread_time()
    places = best_places(matrix, vector, count)
    return places, thread_time() - start_s
