"""Ways of deciding whether a near entry is given: each gives a score for each judged entry of a look, minus infinity for a
refusal. A threshold on the score is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from dispatcher.cache.guard.refusals import unfit
from dispatcher.cache.guard.rules import objection
from dispatcher.cache.guard.verifier import Verifier
from dispatcher.lab.cache.corpus import JUDGED, Corpus, Features, Look

NEVER = -np.inf


class Policy(Protocol):
    """Scores looks. Deterministic."""

    @property
    def name(self) -> str:
        """Say what it is."""
        ...

    def scores(self, made: Corpus, looks: Sequence[Look]) -> list[Features]:
        """Give a score for each of the first `JUDGED` entries of each look."""
        ...


@dataclass(frozen=True, slots=True)
class ExactOnly:
    """Gives no near entry at all."""

    name: str = "exact only"

    def scores(self, made: Corpus, looks: Sequence[Look]) -> list[Features]:  # noqa: ARG002  # as the protocol has it
        """See `Policy`."""
        return [np.full(min(JUDGED, len(look.kept)), NEVER) for look in looks]


@dataclass(frozen=True, slots=True)
class Cosine:
    """The cosine, and nothing else."""

    name: str = "plain cosine"

    def scores(self, made: Corpus, looks: Sequence[Look]) -> list[Features]:  # noqa: ARG002  # as above
        """See `Policy`."""
        return [look.similarity[:JUDGED].astype(np.float64) for look in looks]


@dataclass(slots=True)
class Rules:
    """The cosine of those to which no rule objects."""

    name: str = "cosine + rules"
    _known: dict[tuple[int, int], bool] = field(default_factory=dict)

    def scores(self, made: Corpus, looks: Sequence[Look]) -> list[Features]:
        """See `Policy`."""
        return [
            np.array(
                [
                    float(near) if near >= _WORTH and self._passes(made, look.asked, kept) else NEVER
                    for kept, near in zip(look.kept[:JUDGED].tolist(), look.similarity.tolist(), strict=False)
                ]
            )
            for look in looks
        ]

    def _passes(self, made: Corpus, asked: int, kept: int) -> bool:
        key = (asked, kept)
        if key not in self._known:
            self._known[key] = objection(made.wording(asked).reading, made.wording(kept).reading) is None
        return self._known[key]


_WORTH = 0.5
"""Cosine below which no rule is asked: it would take long, and nobody serves there."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A trained verifier's score. `swaps` says whether what exchanges one thing is refused."""

    verifier: Verifier
    swaps: bool = True
    name: str = "verifier"

    def scores(self, made: Corpus, looks: Sequence[Look]) -> list[Features]:
        """See `Policy`."""
        features = [made.features(look) for look in looks]
        if not features:
            return []
        scores = self.verifier.same(np.concatenate(features))
        parts = np.split(scores, np.cumsum([len(one) for one in features])[:-1])
        return [self._guarded(made, look, part) for look, part in zip(looks, parts, strict=True)]

    def _guarded(self, made: Corpus, look: Look, scores: Features) -> Features:
        near = look.similarity[: len(scores)] >= self.verifier.least_similarity
        found = np.where(near, scores, NEVER)
        if self.swaps:
            for place in np.flatnonzero(found > self.verifier.cuts[-1]):  # below the lowest cut nothing is given anyway
                if self.verifier.exchanged(np.array(made.swap(look.asked, int(look.kept[place])))):
                    found[place] = NEVER
        return found


@dataclass(slots=True)
class Refusing:
    """Another policy, where the question is fit to be answered by likeness."""

    inner: Policy
    _known: dict[int, bool] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Say what it is."""
        return f"{self.inner.name} + refusals"

    def scores(self, made: Corpus, looks: Sequence[Look]) -> list[Features]:
        """See `Policy`."""
        return [
            found if self._fit(made, look.asked) else np.full_like(found, NEVER)
            for look, found in zip(looks, self.inner.scores(made, looks), strict=True)
        ]

    def _fit(self, made: Corpus, asked: int) -> bool:
        if asked not in self._known:
            self._known[asked] = not unfit(made.questions[asked].text)
        return self._known[asked]
