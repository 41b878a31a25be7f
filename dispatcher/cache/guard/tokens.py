"""Cuts a text into words, marks and numbers as they stand, contractions written out; it knows no meaning. Any text will do, in time
that grows with its length."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from dispatcher.cache.guard.words import CONTRACTIONS, ENDINGS, IS_AFTER

_TOKEN = re.compile(r"\w+(?:[-'.,:/@#&]\w+)*(?:\+\+|#)?|[^\w\s]")
"""A word with single joints inside, or one mark. Joints are no letters, so no text is read twice."""

_SAME_MARK = {
    **dict.fromkeys(map(ord, "\u2018\u2019\u02bc`"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u00ab\u00bb"), '"'),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2013\u2014\u2212"), "-"),
    ord("\u2044"): "/",
    ord("\u00f7"): "/",
    ord("\u00d7"): "*",
}
_ENDS = frozenset(".?!:;\n")


class Token(NamedTuple):
    """A word or a mark. `raw` is it as written, `first` says that it begins a sentence, `owner` that 's stood behind it."""

    text: str
    raw: str
    first: bool
    owner: bool = False

    @property
    def is_word(self) -> bool:
        """True of what holds a letter or a digit."""
        return self.text[0].isalnum() or len(self.text) > 1


def tokens(text: str) -> list[Token]:
    """Cut a text. Letters are in NFKC: full-width and other forms of a letter are that letter."""
    text = unicodedata.normalize("NFKC", text).translate(_SAME_MARK)
    found: list[Token] = []
    first, last = True, 0
    for match in _TOKEN.finditer(text):
        if "\n" in text[last : match.start()]:
            first = True
        last = match.end()
        whole = match.group()
        if not (whole[0].isalnum() or whole[0] == "_"):
            found.append(Token(whole, whole, first=False))
            first = first or whole in _ENDS
            continue
        found.extend(_parts(whole, first=first))
        first = False
    return found


def _parts(raw: str, *, first: bool) -> list[Token]:
    lower = raw.lower()
    if lower in CONTRACTIONS:
        return [Token(part, part, first) for part in CONTRACTIONS[lower].split()]
    if lower.count("'") > 1:  # such as a'b'c: no contraction
        return [token for part in raw.split("'") if part for token in _parts(part, first=first)]
    if "'" in lower:
        return _with_apostrophe(raw, lower, first=first)
    if not _joined(lower):
        return [Token(lower, raw, first)]
    return _split(raw, first=first)


def _with_apostrophe(raw: str, lower: str, *, first: bool) -> list[Token]:
    base, _, ending = lower.rpartition("'")
    if lower.endswith("n't"):
        return [*_parts(raw[:-3], first=first), Token("not", "not", first=False)] if len(raw) > 3 else []
    if "'" + ending in ENDINGS and base:
        is_word = ENDINGS["'" + ending]
        return [*_parts(raw[: len(base)], first=first), Token(is_word, is_word, first=False)]
    if ending == "s" and base:
        kept = _parts(raw[: len(base)], first=first)
        if base in IS_AFTER:
            return [*kept, Token("is", "is", first=False)]
        return [*kept[:-1], kept[-1]._replace(owner=True)] if kept else []
    return [Token(part.lower(), part, first) for part in raw.split("'") if part]


def _joined(lower: str) -> bool:
    return not lower.isalnum() and any(joint in lower for joint in "-.,:/@#&")


def _split(raw: str, *, first: bool) -> list[Token]:
    """Keep what is one name or number; cut what is several words."""
    lower = raw.lower()
    parts = [part for part in re.split(r"[-.,:/&]", lower) if part]
    if all(len(part) == 1 and part.isalpha() for part in parts) and "." in lower:
        joined = "".join(parts)  # U.S.A, e.g
        return [Token(joined, joined.upper() if raw.isupper() else joined, first)]
    words_only = all(part.isalpha() for part in parts)
    if words_only and not ("." in lower or "@" in lower or "#" in lower):
        raws = [part for part in re.split(r"[-.,:/&]", raw) if part]
        return [
            Token(low, part, first and not index) for index, (low, part) in enumerate(zip(parts, raws, strict=False))
        ]
    if (
        parts
        and parts[0].isdecimal()
        and words_only is False
        and len(parts) == 2
        and parts[1].isalpha()
        and "-" in lower
    ):
        return [Token(part, part, first=False) for part in parts]  # 5-day
    return [Token(lower, raw, first)]
