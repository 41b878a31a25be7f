"""Runs a policy over scopes: questions looked up among entries that stay, and streams in which what was not found is kept. It
knows no figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dispatcher.lab.cache.corpus import Corpus, Look, Rows
from dispatcher.lab.cache.policies import NEVER, Policy

SCOPE_ENTRIES = 200
"""What the dispatcher keeps of one scope unless told otherwise; the oldest makes room."""

EXACT = np.inf
"""Score of an entry that is the very same text."""

_AT_ONCE = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A request each: the score of the best entry, minus infinity where there was none; whether that one's answer is right; and the
    intent asked for, since questions of one intent are no independent facts."""

    score: NDArray[np.float64]
    right: NDArray[np.bool_]
    group: Rows

    def only(self, counts: NDArray[np.bool_]) -> Outcome:
        """Give some of the requests."""
        return Outcome(self.score[counts], self.right[counts], self.group[counts])

    def hits(self, cut: float) -> NDArray[np.bool_]:
        """Tell which requests get an answer at a cut."""
        found: NDArray[np.bool_] = (self.score >= cut) & (self.score > NEVER)
        return found


def joined(parts: Sequence[Outcome]) -> Outcome:
    """Put outcomes one after another."""
    return Outcome(
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.group for part in parts]),
    )


def look_up(made: Corpus, asked: Rows, kept: Rows, policy: Policy, looks: Sequence[Look] | None = None) -> Outcome:
    """Look questions up among entries that stay as they are."""
    looks = looks_of(made, asked, kept) if looks is None else looks
    best = [NEVER] * len(asked)
    right = [False] * len(asked)
    there = {int(copy): int(row) for copy, row in zip(made.copies[kept], kept, strict=True)}
    for start in range(0, len(looks), _AT_ONCE):
        part = looks[start : start + _AT_ONCE]
        for place, (look, scores) in enumerate(zip(part, policy.scores(made, part), strict=True), start=start):
            same = there.get(int(made.copies[look.asked]))
            best[place], right[place] = (
                _exact(made, look.asked, same) if same is not None else _best(made, look, scores)
            )
    return Outcome(np.array(best), np.array(right), made.intent[asked])


def looks_of(made: Corpus, asked: Rows, kept: Rows) -> list[Look]:
    """Give the looks of questions among entries, to be shared by policies."""
    return [made.look(one, kept) for one in asked.tolist()]


def stream(made: Corpus, order: Rows, policy: Policy, cut: float, *, most: int = SCOPE_ENTRIES) -> Outcome:
    """Ask questions one after another: what gets no answer is answered by a device, and kept."""
    kept: dict[int, int] = {}  # copies to rows, the oldest first
    best, right = [], []
    for one in order.tolist():
        copy = int(made.copies[one])
        if copy in kept:
            score, fine = _exact(made, one, kept[copy])
        elif kept:
            look = made.look(one, np.fromiter(kept.values(), dtype=np.intp))
            score, fine = _best(made, look, policy.scores(made, [look])[0])
        else:
            score, fine = NEVER, False
        best.append(score)
        right.append(fine)
        if not score >= cut or score == NEVER:
            kept[copy] = one
            if len(kept) > most:
                del kept[next(iter(kept))]
    return Outcome(np.array(best), np.array(right), made.intent[order])


def _best(made: Corpus, look: Look, scores: NDArray[np.float64]) -> tuple[float, bool]:
    place = int(np.argmax(scores))
    return float(scores[place]), bool(made.intent[look.kept[place]] == made.intent[look.asked])


def _exact(made: Corpus, asked: int, kept: int) -> tuple[float, bool]:
    return EXACT, bool(made.intent[kept] == made.intent[asked])
