"""What judges two questions; it knows no way of judging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Whether the answer to one question answers the other. `why` names the first objection, or what convinced; `chance` is the
    calibrated probability that the answer is right, None where nothing was calibrated."""

    same: bool
    why: str
    chance: float | None = None


class Judge(Protocol):
    """Judges pairs of questions that were asked in the very same context. Deterministic, some tens of microseconds a pair."""

    @property
    def name(self) -> str:
        """Say what it is, for whoever asks why."""
        ...

    @property
    def least_similarity(self) -> float:
        """Give the cosine below which no pair is worth judging."""
        ...

    def judge(self, asked: str, kept: str, similarity: float) -> Judgement:
        """Judge whether the answer to `kept` answers `asked`; `similarity` is the cosine of their vectors."""
        ...
