"""Whether an answer is right where the right one is known: by number, by letter of a choice, or word for word; it asks no model."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

_NUMBER = re.compile(r"(?<![\w.])-?\$?\d[\d,]*(?:\.\d+)?(?:\s*/\s*\d+)?(?:[eE][+-]?\d{1,3})?%?", re.ASCII)
_MARKED = re.compile(r"####\s*(.+?)\s*$", re.MULTILINE)
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_WORDS = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\{([^{}]*)\}")
_DENIED = re.compile(r"(?:\bnot|n't)\s+(?:\(?[A-J]\b\)?|[^\s,;.]+?)(?=[\s,;.]|$)[,;]?(?:\s+but\b)?", re.IGNORECASE)
_SENTENCE = re.compile(r"[.!?]\s+(?=[A-Z])")
_CLAUSE = re.compile(r",\s|;|\s(?:since|because|as|so|which|where|when)\b", re.IGNORECASE)
_EQUALS = re.compile(r"=|\bequals\b|\\approx|≈")
_SUM = re.compile(r"\d\s*(?:[+*\u00d7÷·^-]|\\cdot|\\times)\s*\$?\d")
_NAMED = re.compile(r"^[^?]*\b(?:is|are|was|were)\s+(.+)$", re.DOTALL)
_UNSURE = re.compile(
    r"\b(?:not|never|no|think|thinks|thought|believes?|perhaps|maybe|might|may|could|if|whether|doubts?|claims?|says?|wrong)\b|n't",
    re.IGNORECASE,
)
_SAID = re.compile(r"(?:final answer|answer|result)\b(?:\s+is|\s*[:=])+\s*(.+)", re.IGNORECASE)
_CHOICE = r"\**\(?([B-HJb-hj]|[AIai](?!\s+(?!since\b|because\b|as\b|and\b|with\b)[a-z]))\b(?!')"
_LETTER, _OPTION = (
    re.compile(rf"\b(?i:{word})\b\W{{0,3}}(?:\s*(?:it\s+)?is|\s*[:=])*\s*{_CHOICE}")
    for word in ("answer", "option|choice")
)
_IT_IS = re.compile(r"\b[Ii]t\s+is\s+\**\(?([B-HJ])\b(?!')")
_ALONE = re.compile(r"^\W*([A-J])(?:[).:*]|\s*$)")
_MOST_CHARS = 20_000
"""Of a longer answer only the end is looked at: what it comes to stands there."""


def matches(answer: str, gold: str) -> bool:
    """Tell whether the answer comes to `gold`.

    1. A gold number (GSM8K's `#### 42` too): the number that the answer comes to is equal. 2. A gold letter A to J: the choice that
    the answer names. 3. Any other text: what the answer comes to, or all of it, is the same but for case, signs and articles. What
    the answer denies ("not 41, but 42") counts for nothing.
    """
    said, wanted = answer[-_MOST_CHARS:], _marked(gold).strip()
    number = _as_number(wanted)
    if number is not None:  # 1
        return _last_number(said) == number
    if len(wanted.strip("(). ")) == 1 and wanted.strip("(). ").upper() in "ABCDEFGHIJ":  # 2
        return _choice(said) == wanted.strip("(). ").upper()
    return _plain(wanted) in {_plain(one) for one in (said, _concluded(said), _last_line(said), _called(said))} - {
        ""
    }  # 3


def _marked(text: str) -> str:
    found = _MARKED.findall(text)
    return str(found[-1]) if found else text


def _last_number(answer: str) -> Fraction | None:
    """Give the number that stands where conclusions stand, else the last one of the text."""
    for part in (_marked(answer) if "####" in answer else "", _concluded(answer)):
        if part and (found := _comes_to(part)) is not None:
            return _as_number(found)
    every = _NUMBER.findall(_DENIED.sub(" ", answer))
    return _as_number(every[-1]) if every else None


def _comes_to(conclusion: str) -> str | None:
    """Give the number of a conclusion: 1. behind the equals sign of its first clause 2. else the first, if it is no sum 3. else the
    last, since the sum is done further on."""
    first = next((one for one in _CLAUSE.split(conclusion) if _NUMBER.search(one)), "")
    *_, behind = _EQUALS.split(first)
    found = _NUMBER.findall(behind)
    if found and not _SUM.search(behind):
        return str(found[0])
    every = _NUMBER.findall(conclusion)
    return str(every[-1]) if every else None


def _concluded(answer: str) -> str:
    boxed, said = _BOXED.findall(answer), _SAID.findall(answer)
    if boxed:
        return _WORDS.sub(r"\1", _FRACTION.sub(r"\1/\2", boxed[-1]))
    return _DENIED.sub(" ", _SENTENCE.split(said[-1])[0]) if said else ""


def _called(answer: str) -> str:
    """Give what the last sentence says that something is, where it says so without doubt."""
    said = _SENTENCE.split(_DENIED.sub(" ", _last_line(answer)) if _SAID.search(answer) else _last_line(answer))[-1]
    found = _NAMED.match(said)
    return "" if found is None or _UNSURE.search(said) else found[1]


def _last_line(answer: str) -> str:
    lines = answer.strip().splitlines()
    return lines[-1] if lines else ""


def _choice(answer: str) -> str | None:
    bare = _DENIED.sub(" ", answer)
    named = _LETTER.findall(bare) or _OPTION.findall(bare) or _IT_IS.findall(bare)
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
