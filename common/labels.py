"""What people call things: text of one line that pages, tables and logs show as it was written; it knows no thing."""

from __future__ import annotations

import unicodedata

from pydantic import AfterValidator

_ACTS = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Categories of what a terminal or a page acts on: control signs, those that turn the direction of text, and ends of lines."""

_JOINERS = "\u200c\u200d"
"""They turn nothing, and words of Persian and many emoji are written with them."""


def acts(sign: str) -> bool:
    """Tell whether a sign does something to what is beside it, rather than being seen."""
    return unicodedata.category(sign) in _ACTS and sign not in _JOINERS


def seen(text: str) -> str:
    """Give what can be seen of a text: for names of files, which nobody is asked to write anew."""
    return "".join(sign for sign in text if not acts(sign))


def _shown(text: str) -> str:
    for sign in text:
        if acts(sign):
            raise ValueError(f"U+{ord(sign):04X} is no sign that can be seen: write it in one line, without such signs")
    return text


Shown = AfterValidator(_shown)
"""Refuses what is not shown as it is written: with it one name could look like another, and what stands behind it too."""
