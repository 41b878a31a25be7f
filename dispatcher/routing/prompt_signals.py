"""Cheap signals of a prompt, read off its text in some 0.1 ms for each thousand characters of its head; what they mean is learned
elsewhere.

They are counts and shares, mostly on a log scale, of what made questions hard or easy in the data that we measured: length,
numbers, options and their form, negations, formulae, code. `SIGNALS` names them in order, and is part of a trained router's card:
weights that were fitted to other signals are refused.
"""

from __future__ import annotations

import re
from math import log1p

HEAD_CHARS = 4000
"""Only the head of a long prompt is looked at, so that the time stays bounded."""

SIGNALS = (
    "chars", "words", "word_length", "long_words", "distinct_words", "numbers", "digits", "longest_number", "formula_marks",
    "options", "option_length", "option_spread", "options_with_numbers", "negations", "what_words", "task_words",
    "supposing_words", "code_marks", "lines", "question_marks", "commas", "quotes", "blank", "capitals", "foreign", "stem_chars",
    "sentences", "statements", "proper_words",
)  # fmt: skip  # as a table of words it reads better

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[^\W\d_][\w'-]*")
_OPTION = re.compile(r"(?m)^[ \t]*\(?[A-Ja-j][.):][ \t]*(.*)$")
_FORMULA = re.compile(r"[=<>^+*/√∑∫π≤≥\u00d7÷\\|]|\bx\b")
_CODE = ("```", "def ", "class ", "import ", "return", "#include", "function", "();", "assert")
_NEGATIONS = frozenset(
    ["not", "except", "never", "neither", "nor", "cannot", "false", "incorrect", "least", "without", "wrong"]
)
_WHAT = frozenset(["what", "who", "when", "where", "which"])
_TASK = frozenset(["how", "why", "explain", "calculate", "find", "determine", "solve", "prove", "compute"])
_SUPPOSE = frozenset(["if", "suppose", "assume", "let", "given", "consider", "would", "should", "could"])
_MOST_NEGATIONS = 3


def prompt_signals(text: str) -> tuple[float, ...]:
    """Read the signals of a prompt, in the order of `SIGNALS`; all finite."""
    text = text[:HEAD_CHARS]
    words = _WORD.findall(text)
    lower = [word.lower() for word in words]
    numbers = _NUMBER.findall(text)
    options = _OPTION.findall(text)
    lengths = [len(option) for option in options] or [0]
    count, chars = len(words) or 1, len(text) or 1
    stem = _OPTION.search(text)
    return (
        log1p(len(text)),
        log1p(len(words)),
        sum(map(len, words)) / count,
        sum(len(word) > 7 for word in words) / count,
        len(set(lower)) / count,
        log1p(len(numbers)),
        sum(map(len, numbers)) / chars,
        log1p(max(map(len, numbers), default=0)),
        log1p(len(_FORMULA.findall(text))),
        log1p(len(options)),
        log1p(sum(lengths) / len(lengths)),
        log1p(max(lengths) - min(lengths)),
        sum(any(map(str.isdigit, option)) for option in options) / max(1, len(options)),
        float(min(_MOST_NEGATIONS, sum(word in _NEGATIONS or word.endswith("n't") for word in lower))),
        log1p(sum(word in _WHAT for word in lower)),
        log1p(sum(word in _TASK for word in lower)),
        log1p(sum(word in _SUPPOSE for word in lower)),
        log1p(sum(text.count(mark) for mark in _CODE)),
        log1p(text.count("\n")),
        log1p(text.count("?")),
        log1p(text.count(",")),
        log1p(text.count('"')),
        float("_" in text),
        sum(map(str.isupper, text)) / chars,
        0.0 if text.isascii() else sum(not char.isascii() for char in text) / chars,
        log1p(stem.start() if stem else len(text)),
        log1p(sum(text.count(end) for end in (". ", "? ", "! ", ".\n", "?\n", "!\n"))),
        float("tatement" in text),
        sum(word[0].isupper() for word in words) / count,
    )
