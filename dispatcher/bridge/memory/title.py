"""A title for a conversation, from its first question, without asking a model. Pure."""

from __future__ import annotations

import re

from common.labels import acts

MOST_CHARS = 80
_LOOKED_AT = 2000
_MARKS = re.compile(r"^(?:[#>*\-+`~=|_\s]|\d{1,3}[.)]\s)+")
_WIDE = "\u3002\uff01\uff1f"
"""The full stop, the exclamation mark and the question mark of Chinese and Japanese: no blank follows them."""
_SENTENCE = re.compile(rf"(?<=[.!?…])\s|(?<=[{_WIDE}])")
_LEAST_CHARS = 10
"""A sentence that is shorter says less than the line: "Hello." or "e.g."."""


def title_of(question: str) -> str:
    """Give the first sentence of the first line that says something, in one line; empty where none does."""
    for line in question[:_LOOKED_AT].splitlines():
        words = " ".join(_MARKS.sub("", _printable(line)).split())
        if any(sign.isalnum() for sign in words):
            first = _SENTENCE.split(words, maxsplit=1)[0].strip()
            return _bounded(first if len(first) >= _LEAST_CHARS else words)
    return ""


def _printable(line: str) -> str:
    """Put a blank for what a terminal or a page would act on: control signs, and those that turn the direction of text."""
    return "".join(" " if acts(sign) else sign for sign in line)


def _bounded(text: str) -> str:
    if len(text) <= MOST_CHARS:
        return text
    words = text[:MOST_CHARS].rpartition(" ")[0]
    return f"{words if len(words) > MOST_CHARS // 2 else text[: MOST_CHARS - 1]}…"
