"""Which questions are never answered by likeness."""

from __future__ import annotations


def unfit(question: str) -> str | None:
    """Say why a question is never answered by likeness; None when it may be."""
    return None if question.strip() else "the question is empty"
