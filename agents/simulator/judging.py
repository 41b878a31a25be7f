"""What a simulated model thinks of a question when a schema asks it to judge one: the same question, the same judgement.

A few marks in the text stand for understanding, so that routing by a judgement can be watched without a model. It knows no
schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_MARKS: Mapping[str, re.Pattern[str]] = {
    "code": re.compile(
        r"```|\b(?:python|javascript|rust|sql|function|class|bug|compile|regex|code)\b|\w\(\)", re.IGNORECASE
    ),
    "reasoning": re.compile(
        r"\d\s?[-+*/=^]\s?\d|\b(?:prove|proof|derive|solve|why|how many|how much|equation|theorem|probability|therefore)\b",
        re.IGNORECASE,
    ),
    "writing": re.compile(r"\b(?:write|poem|story|essay|letter|email|summar\w+|translate|rewrite)\b", re.IGNORECASE),
    "knowledge": re.compile(r"\b(?:what|who|when|where|which|explain|describe|capital|history)\b", re.IGNORECASE),
    "chat": re.compile(r"\b(?:hi|hello|hey|thanks|thank you|how are you|good morning)\b", re.IGNORECASE),
}
"""In this order: the first that is found names the question."""

_BASE = {"code": 0.5, "reasoning": 0.55, "writing": 0.3, "knowledge": 0.25, "chat": 0.05}
_HARD = re.compile(
    r"\b(?:prove|proof|derive|theorem|design|optimi[sz]e|analy[sz]e|concurren\w+|distributed|trade-?offs?|complexity)\b",
    re.IGNORECASE,
)


def kind(question: str) -> str:
    """Name the kind of a question; `knowledge` when nothing tells."""
    return next((name for name, mark in _MARKS.items() if mark.search(question)), "knowledge")


def difficulty(question: str) -> float:
    """Say how hard a question looks, in [0, 1]: its kind, hard words, and length up to 200 words."""
    hard = min(2, len(set(_HARD.findall(question))))
    return round(min(1.0, _BASE[kind(question)] + 0.15 * hard + 0.2 * min(1.0, len(question.split()) / 200)), 2)


def chosen(question: str, choices: Sequence[object]) -> object:
    """Choose from an enumeration: the kind of the question where it is among them, else the first."""
    named = kind(question)
    return named if named in choices else choices[0]
