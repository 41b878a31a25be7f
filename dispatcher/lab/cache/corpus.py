"""Labelled questions as the cache sees them: vectors, wordings, and what two of them have in common, computed once. It knows no
verifier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dispatcher.cache.guard.near_features import NEIGHBOURS, near_features, near_of
from dispatcher.cache.guard.pair_features import pair_features
from dispatcher.cache.guard.swap_features import swap_features
from dispatcher.cache.guard.wording import Floats, PieceVectors, Wording, wording
from dispatcher.cache.keys import plain_text
from dispatcher.embed import Embedder
from dispatcher.lab.cache.data import TEST, Question

Rows = NDArray[np.intp]
Features = NDArray[np.float64]
Progress = Callable[[int, int], None]

JUDGED = 4
"""Entries that are judged for one question, as the dispatcher does."""

_BATCH = 256


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """The nearest entries of one scope: which questions they are, best first, and how alike they are to the one asked."""

    asked: int
    kept: Rows
    similarity: Floats


@dataclass(slots=True, eq=False)
class Corpus:
    """Questions with all that is computed from them. `intent` numbers what may be answered alike; each question outside of all
    intents has a number of its own. `copies` numbers questions that are the same text."""

    questions: Sequence[Question]
    vectors: Floats
    pieces: PieceVectors
    intent: Rows
    copies: Rows
    _wordings: dict[int, Wording] = field(default_factory=dict)
    _pairs: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    _swaps: dict[tuple[int, int], list[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def outside(self) -> NDArray[np.bool_]:
        """Tell which questions are outside of all intents."""
        return np.array([question.outside for question in self.questions], dtype=bool)

    @property
    def test(self) -> NDArray[np.bool_]:
        """Tell which questions are there to measure, and not to learn from."""
        return np.array([question.part == TEST for question in self.questions], dtype=bool)

    @property
    def source(self) -> NDArray[np.str_]:
        """Name the set of each question."""
        return np.array([question.source for question in self.questions], dtype=str)

    def look(self, asked: int, kept: Rows, neighbours: int = NEIGHBOURS) -> Look:
        """Look a question up among entries."""
        similar = self.vectors[kept] @ self.vectors[asked]
        few = len(similar) <= neighbours
        best = np.arange(len(similar)) if few else np.argpartition(-similar, neighbours)[:neighbours]
        best = best[np.argsort(-similar[best], kind="stable")]
        return Look(asked, kept[best], similar[best])

    def right(self, look: Look, most: int = JUDGED) -> NDArray[np.bool_]:
        """Tell which of the first `most` entries may answer the question."""
        found: NDArray[np.bool_] = self.intent[look.kept[:most]] == self.intent[look.asked]
        return found

    def features(self, look: Look, most: int = JUDGED) -> Features:
        """Give the features of the first `most` entries, as the dispatcher computes them."""
        whole = np.stack([self.wording(one).whole for one in look.kept.tolist()])
        near = near_of(look.similarity, self.wording(look.asked).whole, whole)
        return np.array(
            [
                [*self.pair(look.asked, int(one)), *near_features(near, rank)]
                for rank, one in enumerate(look.kept[:most].tolist())
            ]
        )

    def wording(self, row: int) -> Wording:
        """Give a question, prepared."""
        found = self._wordings.get(row)
        if found is None:
            found = self._wordings[row] = wording(self.questions[row].text, self.pieces)
        return found

    def pair(self, one: int, other: int) -> list[float]:
        """Give what two questions have in common; the order says nothing."""
        key = (one, other) if one < other else (other, one)
        found = self._pairs.get(key)
        if found is None:
            found = self._pairs[key] = pair_features(self.wording(one), self.wording(other))
        return found

    def swap(self, one: int, other: int) -> list[float]:
        """Give what may have been exchanged between two questions; the order says nothing."""
        key = (one, other) if one < other else (other, one)
        found = self._swaps.get(key)
        if found is None:
            mine, yours = self.wording(key[0]).reading, self.wording(key[1]).reading
            found = self._swaps[key] = swap_features(mine, yours, self.pair(one, other))
        return found


def corpus(
    questions: Sequence[Question], embedder: Embedder, pieces: PieceVectors, *, chars: int, progress: Progress
) -> Corpus:
    """Embed questions, as the dispatcher does."""
    texts = [plain_text(question.text)[:chars] for question in questions]
    parts = [np.empty((0, embedder.identity.dimensions), dtype=np.float32)]
    for start in range(0, len(texts), _BATCH):
        parts.append(embedder.embed(texts[start : start + _BATCH]))
        progress(min(start + _BATCH, len(texts)), len(texts))
    numbers: dict[tuple[str, str], int] = {}
    same: dict[str, int] = {}
    return Corpus(
        questions=questions,
        vectors=np.concatenate(parts),
        pieces=pieces,
        intent=np.array([_number(numbers, question, row) for row, question in enumerate(questions)], dtype=np.intp),
        copies=np.array([same.setdefault(text, len(same)) for text in texts], dtype=np.intp),
    )


def _number(numbers: dict[tuple[str, str], int], question: Question, row: int) -> int:
    key = (question.source, f"\0{row}" if question.outside else question.intent)
    return numbers.setdefault(key, len(numbers))
