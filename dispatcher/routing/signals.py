"""Sixteen cheap figures of a text for the trained router, each in [0, 1], from the head of a long text; it knows no model.

Counts are damped by a logarithm and reach 1 at a size that prompts rarely pass, so that a ridge regression sees them on one scale.
"""

from __future__ import annotations

import math
import re

SIGNALS = (
    "length",  # characters, ln(1 + n) / ln(1 + 8,000)
    "words",  # words, ln(1 + n) / ln(1 + 1,500)
    "word_length",  # mean letters of a word / 12
    "distinct",  # distinct words / words, in lower case
    "sentences",  # ends of sentences, ln(1 + n) / ln(1 + 60)
    "lines",  # line breaks, ln(1 + n) / ln(1 + 100)
    "numbers",  # numbers, ln(1 + n) / ln(1 + 50)
    "largest",  # digits before the point of the longest number / 9
    "parts",  # percent, fractions, half, twice, per, each …: ln(1 + n) / ln(1 + 12)
    "math",  # signs of formulae, ln(1 + n) / ln(1 + 40)
    "code",  # kinds of marks of code that are seen / 12
    "options",  # lines that offer a choice (A. B) (iii)), n / 6
    "capitals",  # capital letters / letters, x 4
    "punctuation",  # characters that are neither letters, digits nor spaces / characters, x 4
    "asks",  # words of questions and of negation, ln(1 + n) / ln(1 + 12)
    "hard",  # words of demanding tasks, n / 5
)
"""The names of the signals, in the order of `signals`. A trained router is bound to this order."""

HEAD_CHARS = 4000
"""As `features`: what comes later in a long text is left out, except for its length."""

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+")
_OPTION = re.compile(r"^ ?\(?(?:[A-Ja-j]|[ivx]{1,4}|\d{1,2})[.)] ", re.MULTILINE)
_UPPER = bytes(range(65, 91))
_SPACES = b" \t\r\n\v\f"
_DIGITS = b"0123456789"
_PLAIN = bytes([*range(65, 91), *range(97, 123), *range(128, 256)]) + _DIGITS + _SPACES
"""Letters, the bytes of letters beyond ASCII among them: other scripts are no punctuation."""
_FORMULA = b"=<>^+*/\\$%"
_CODE = ("```", "def ", "class ", "import ", "#include", "function ", "=>", "{\n", ";\n", "SELECT ", "();", "return ")
_PARTS = frozenset(
    [
        "half",
        "third",
        "quarter",
        "twice",
        "thrice",
        "double",
        "triple",
        "percent",
        "percentage",
        "ratio",
        "fraction",
        "per",
        "each",
        "every",
        "remaining",
        "rest",
        "less",
        "fewer",
        "more",
        "times",
        "average",
        "total",
    ]
)
_ASKS = frozenset(
    [
        "what",
        "which",
        "who",
        "whom",
        "whose",
        "when",
        "where",
        "why",
        "how",
        "not",
        "no",
        "never",
        "except",
        "least",
        "most",
        "best",
        "likely",
        "following",
        "true",
        "false",
    ]
)
_HARD = frozenset(
    [
        "prove",
        "proof",
        "derive",
        "theorem",
        "integral",
        "algorithm",
        "complexity",
        "optimize",
        "optimise",
        "refactor",
        "debug",
        "implement",
        "design",
        "architecture",
        "analyze",
        "analyse",
        "compare",
        "evaluate",
        "explain",
        "tradeoff",
        "constraint",
        "constraints",
        "equation",
        "probability",
        "recursion",
        "recursive",
        "concurrent",
        "therefore",
        "suppose",
        "assume",
        "show",
        "calculate",
        "determine",
        "compute",
        "find",
        "function",
        "let",
    ]
)


def signals(text: str) -> tuple[float, ...]:
    """Give the figures of a text, in the order of `SIGNALS`."""
    head = text[:HEAD_CHARS]
    raw = head.encode(
        "utf-8", "replace"
    )  # counting in bytes takes a hundredth of the time that a loop over characters does
    words = _WORD.findall(head.lower())
    numbers = _NUMBER.findall(head)
    count = len(words) or 1
    kinds = set(words)
    letters = sum(map(len, words))
    ends = head.count(". ") + head.count("? ") + head.count("! ") + head.count(".\n") + head.count("?\n") + bool(words)
    return (
        _damped(len(text), 8000),
        _damped(len(words), 1500),
        min(1.0, letters / (12 * count)),
        len(kinds) / count,
        _damped(ends, 60),
        _damped(head.count("\n"), 100),
        _damped(len(numbers), 50),
        min(1.0, max(map(len, numbers), default=0) / 9),
        _damped(len([1 for word in words if word in _PARTS]), 12),
        _damped(_among(raw, _FORMULA), 40),
        sum(mark in head for mark in _CODE) / len(_CODE),
        min(1.0, len(_OPTION.findall(head)) / 6),
        min(1.0, 4 * _among(raw, _UPPER) / (letters or 1)),
        min(1.0, 4 * (len(raw) - _among(raw, _PLAIN)) / (len(raw) or 1)),
        _damped(len([1 for word in words if word in _ASKS]), 12),
        min(1.0, len(kinds & _HARD) / 5),
    )


def _among(raw: bytes, which: bytes) -> int:
    return len(raw) - len(raw.translate(None, which))


def _damped(count: int, full: int) -> float:
    return min(1.0, math.log1p(count) / math.log1p(full))
