"""A trained verifier, applied: whether a kept answer is an answer to another question, and how sure that is. It knows no file, and
neither how it was trained nor how vectors are made.

Two things have to hold. The first trees weigh how alike both questions are and where the entry stands in its scope: they say
whether both mean the same. Others weigh what differs: they say whether one thing was exchanged, which changes the answer. These
are not asked where no rule objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dispatcher.cache.guard.judge import Judgement
from dispatcher.cache.guard.near_features import NEAR, NEIGHBOURS, near_features, near_of
from dispatcher.cache.guard.pair_features import PAIR, pair_features
from dispatcher.cache.guard.rules import objection
from dispatcher.cache.guard.swap_features import SWAP, swap_features
from dispatcher.cache.guard.together import Alike
from dispatcher.cache.guard.trees import Trees, check
from dispatcher.cache.guard.wording import PieceVectors, Wording, wording

Numbers = NDArray[np.float64]

FEATURES = (*PAIR, *NEAR)
_OBJECTIONS, _ALONE = SWAP.index("objections"), SWAP.index("content_more")


def certain(row: Numbers) -> bool:
    """Tell whether so little differs that what differs was meant, for a row of `SWAP`."""
    return bool(row[_OBJECTIONS] == 1 or (row[_OBJECTIONS] == 2 and row[_ALONE] == 0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verifier:
    """What training found. `trees` give log-odds over `FEATURES`, `swap` over `SWAP`; from `swap_cut` on nothing is given. `scores`
    and `chances` are what the trees came to on questions of unseen intents. `rates` are shares of wrong answers among all requests,
    rising, and `cuts` the least scores that keep each."""

    trees: Trees
    swap: Trees
    swap_cut: float
    scores: Numbers
    chances: Numbers
    rates: Numbers
    cuts: Numbers
    least_similarity: float

    def same(self, rows: Numbers) -> Numbers:
        """Give how sure it is that both questions mean the same, for rows of `FEATURES`."""
        return self.trees.score(rows)

    def exchanged(self, row: Numbers) -> bool:
        """Tell whether one thing was exchanged, for a row of `SWAP`: (1) not where no rule objects; (2) for certain where one does,
        or two do to the same words; (3) else the trees tell."""
        if row[_OBJECTIONS] == 0:  # (1)
            return False
        if certain(row):  # (2)
            return True
        return not float(self.swap.score(row[None])[0]) < self.swap_cut  # (3)

    def cut(self, error_rate: float) -> float:
        """Give the least score that keeps an error rate: of the rates that were measured, the largest that is no larger.

        Raises `ValueError` for a rate below them all, or above.
        """
        if not float(self.rates[0]) <= error_rate <= float(self.rates[-1]):
            raise ValueError(f"{error_rate:g} is not between {self.rates[0]:g} and {self.rates[-1]:g}")
        return float(self.cuts[int(np.searchsorted(self.rates, error_rate * (1 + 1e-9), side="right")) - 1])

    def chance(self, score: float) -> float:
        """Give the probability that an answer is right, as it was measured."""
        return float(np.interp(score, self.scores, self.chances))


def sound(verifier: Verifier) -> None:
    """Raise `ValueError` where parts don't fit each other: no request shall find out."""
    check(verifier.trees, len(FEATURES))
    check(verifier.swap, len(SWAP))
    for low, high in ((verifier.scores, verifier.chances), (verifier.rates, verifier.cuts)):
        if low.ndim != 1 or low.shape != high.shape or not len(low) or not (np.diff(low) > 0).all():
            raise ValueError("a table does not rise")
    if not ((verifier.chances >= 0) & (verifier.chances <= 1)).all() or not (np.diff(verifier.cuts) <= 0).all():
        raise ValueError("a table says what can't be")
    verifier.same(np.zeros((1, len(FEATURES))))
    verifier.exchanged(np.full(len(SWAP), 3.0))


class VerifierJudge:
    """Judges by a trained verifier, with the cut that keeps an error rate. It keeps nothing between two questions."""

    def __init__(self, verifier: Verifier, error_rate: float, vectors: PieceVectors) -> None:
        """Take a verifier and look words up with `vectors`. Raises `ValueError` for an error rate that it was not calibrated to."""
        self._verifier = verifier
        self._cut = verifier.cut(error_rate)
        self._rate = error_rate
        self._vectors = vectors

    @property
    def name(self) -> str:
        """Say what it is."""
        return f"verifier at {100 * self._rate:g} %"

    @property
    def least_similarity(self) -> float:
        """Give the cosine below which no pair is worth judging."""
        return self._verifier.least_similarity

    @property
    def neighbours(self) -> int:
        """Give how many of the nearest entries it wants to see."""
        return NEIGHBOURS

    def judge(self, asked: str, kept: str, similarity: float) -> Judgement:
        """Judge one entry as if there were no other in its scope."""
        return self.judge_together(asked, [Alike(question=kept, similarity=similarity)], most=1)[0]

    def judge_together(self, asked: str, near: Sequence[Alike], *, most: int) -> list[Judgement]:
        """Judge the first `most` of the nearest entries, which come best first."""
        near = near[:NEIGHBOURS]
        if not near:
            return []
        mine = wording(asked, self._vectors)
        theirs = [wording(one.question, self._vectors) for one in near]
        return self.judge_wordings(mine, theirs, [one.similarity for one in near], most=most)

    def judge_wordings(
        self, mine: Wording, theirs: Sequence[Wording], similarities: Sequence[float], *, most: int
    ) -> list[Judgement]:
        """Judge entries that were prepared. See `judge_together`."""
        near = near_of(np.array(similarities, dtype=np.float32), mine.whole, np.stack([one.whole for one in theirs]))
        pairs = [pair_features(mine, one) for one in theirs[:most]]
        rows = np.array([[*pair, *near_features(near, rank)] for rank, pair in enumerate(pairs)])
        scores = self._verifier.same(rows).tolist()
        return [
            self._judgement(mine, one, pair, float(score), float(similarity))
            for one, pair, score, similarity in zip(theirs, pairs, scores, similarities, strict=False)
        ]

    def _judgement(
        self, mine: Wording, other: Wording, pair: Sequence[float], score: float, similarity: float
    ) -> Judgement:
        """Say no (1) to what is too long to be compared or too far, (2) below the cut, (3) where one thing was exchanged; else
        yes."""
        chance = self._verifier.chance(score)
        if mine.too_long or other.too_long or not similarity >= self.least_similarity:  # (1)
            return Judgement(same=False, why="too long to be compared, or not alike enough", chance=chance)
        if not score >= self._cut:  # (2)
            return Judgement(same=False, why=f"right with a chance of {chance:.2f}: too little", chance=chance)
        if self._verifier.exchanged(np.array(swap_features(mine.reading, other.reading, pair))):  # (3)
            what = objection(mine.reading, other.reading) or "the words"
            return Judgement(same=False, why=f"one thing was exchanged: {what}", chance=chance)
        return Judgement(same=True, why=f"right with a chance of {chance:.2f}", chance=chance)
