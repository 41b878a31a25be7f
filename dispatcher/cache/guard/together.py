"""Entries that are judged together: those near a question in one scope say something about each other. It knows no way of
judging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dispatcher.cache.guard.judge import Judge, Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """A kept question near the one that is asked: `similarity` is the cosine of their vectors."""

    question: str
    similarity: float


@runtime_checkable
class JudgesTogether(Protocol):
    """A judge that wants to see which entries stand beside each other."""

    @property
    def neighbours(self) -> int:
        """Give how many of the nearest it wants to see, also those that are too far to be given."""
        ...

    def judge_together(self, asked: str, near: Sequence[Alike], *, most: int) -> list[Judgement]:
        """Judge the first `most` of the nearest entries of a scope, which come best first."""
        ...


def judged(judge: Judge, asked: str, near: Sequence[Alike], *, most: int) -> list[Judgement]:
    """Judge the first `most` of the nearest entries of a scope, which come best first: together where the judge can, else one by
    one."""
    if isinstance(judge, JudgesTogether):
        return judge.judge_together(asked, near, most=most)
    return [judge.judge(asked, one.question, one.similarity) for one in near[:most]]


def neighbours(judge: Judge, *, most: int) -> int:
    """Give how many of the nearest entries are to be looked for, where `most` are judged."""
    return max(most, judge.neighbours) if isinstance(judge, JudgesTogether) else most
