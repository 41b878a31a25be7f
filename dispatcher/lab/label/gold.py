"""Whether an answer is right where the right one is known: by number, by letter of a choice, or word for word; it asks no model."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

_NUMBER = re.compile(r"(?<![\w.])-?\$?\d[\d,]*(?:\.\d+)?(?:\s*/\s*\d+)?(?:[eE][+-]?\d{1,3})?%?", re.ASCII)
_MARKED = re.compile(r"####\s*(.+?)\s*$", re.MULTILINE)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_SAID = re.compile(r"(?:final answer|answer|result)\b(?:\s+is|\s*[:=])+\s*(.+)", re.IGNORECASE)
_LETTER = re.compile(r"(?:final answer|answer|option|choice)\b(?:\s+is|\s*[:=])*\s*\**\(?([A-J])\b(?!')", re.IGNORECASE)
_ALONE = re.compile(r"^\W*([A-J])(?:[).:*]|\s*$)")
_MOST_CHARS = 20_000
"""Of a longer answer only the end is looked at: what it comes to stands there."""


def matches(answer: str, gold: str) -> bool:
    """Tell whether the answer comes to `gold`.

    1. A gold number (GSM8K's `#### 42` too): the number that the answer comes to is equal. 2. A gold letter A to J: the choice that
    the answer names. 3. Any other text: what the answer comes to, or all of it, is the same but for case, signs and articles.
    """
    said, wanted = answer[-_MOST_CHARS:], _marked(gold).strip()
    number = _as_number(wanted)
    if number is not None:  # 1
        return _last_number(said) == number
    if len(wanted.strip("(). ")) == 1 and wanted.strip("(). ").upper() in "ABCDEFGHIJ":  # 2
        return _choice(said) == wanted.strip("(). ").upper()
    return _plain(wanted) in {_plain(said), _plain(_concluded(said)), _plain(_last_line(said))}  # 3


def _marked(text: str) -> str:
    found = _MARKED.findall(text)
    return str(found[-1]) if found else text


def _last_number(answer: str) -> Fraction | None:
    """Give the number that stands where conclusions stand, else the last one of the text."""
    for part in (_marked(answer) if "####" in answer else "", *_BOXED.findall(answer)[-1:], _concluded(answer)):
        found = _NUMBER.findall(part)
        if found:
            return _as_number(found[0])
    every = _NUMBER.findall(answer)
    return _as_number(every[-1]) if every else None


def _concluded(answer: str) -> str:
    boxed, said = _BOXED.findall(answer), _SAID.findall(answer)
    return str(boxed[-1]) if boxed else str(said[-1]) if said else ""


def _last_line(answer: str) -> str:
    lines = answer.strip().splitlines()
    return lines[-1] if lines else ""


def _choice(answer: str) -> str | None:
    named = _LETTER.findall(answer)
    if named:
        return str(named[-1]).upper()
    alone = [found[1] for line in answer.strip().splitlines() if (found := _ALONE.match(line))]
    return str(alone[0] if len(alone) == 1 else alone[-1]) if alone else None


def _as_number(text: str) -> Fraction | None:
    bare = text.strip().rstrip(".").replace(",", "").replace("$", "").replace(" ", "").strip("*")
    percent = bare.endswith("%")
    try:
        return Fraction(bare.removesuffix("%")) / (100 if percent else 1)
    except (ValueError, ZeroDivisionError):
        return None


def _plain(text: str) -> str:
    """Give the text in small letters, without signs, articles and needless space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = re.sub(r"[^\w\s]", " ", folded).split()
    return " ".join(word for word in words if word not in ("a", "an", "the"))
