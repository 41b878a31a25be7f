"""Why a question is never answered by likeness, whatever is kept. Pure; it knows no second question and no store.

Who holds an office (`who is the president of France`) is not refused: a model's knowledge doesn't change while an entry lives.
Orders for something made up (a poem, a joke, names, ideas) are: who asks for one twice wants another. The rules are for English; a
text in another language is refused as one that can't be read, and still answered when the very same request comes again.
"""

from __future__ import annotations

import re

from dispatcher.cache.guard.kinds import Ask
from dispatcher.cache.guard.leaning import leans
from dispatcher.cache.guard.moment import depends_on_place, depends_on_time, wants_another
from dispatcher.cache.guard.personal import is_personal
from dispatcher.cache.guard.reading import ENGLISH, Reading, read
from dispatcher.cache.guard.words import FRAMES, stem

EMPTY = "says nothing"
LONG = "too long to compare"
CODE = "holds code"
PERSONAL = "holds personal data"
LANGUAGE = "in a language that is not read"
LEANS = "leans on what was said before"
SHORT = "says too little"
TIME = "depends on when it is asked"
PLACE = "depends on where it is asked"
VARIETY = "asks for something new"

REASONS = (EMPTY, LONG, CODE, PERSONAL, LANGUAGE, LEANS, SHORT, TIME, PLACE, VARIETY)
"""All there are; none holds a word of the question, so each can be a label of a metric."""

MOST_CHARS = 600
"""One vector for a longer text says what it is about, and no more what it asks."""

_CODE = re.compile(r"```|~~~|^#include|^\s*(?:def|class) \w+.*:\s*$|^(?:from|import) [\w.]+(?: import .*)?$|\(\);|\) ?\{|^\s*\}|;\s*$|</\w+>|Traceback \(|=> ?\{|\{\{", re.MULTILINE)  # fmt: skip  # noqa: E501
_FRAME_STEMS = frozenset(map(stem, FRAMES))
_CODE_LINES = 2
_FENCES = ("```", "~~~", "Traceback (")


def unfit(question: str, reading: Reading | None = None) -> str | None:
    """Say why a question is never answered by likeness, with one of `REASONS`; None where nothing speaks against it.

    `reading` is of this question, where the caller has one.
    """
    if not any(char.isalnum() for char in question):
        return EMPTY
    if len(question) > MOST_CHARS:
        return LONG
    if is_personal(question):
        return PERSONAL
    if _holds_code(question):
        return CODE
    return _by_words(reading or read(question))


def _holds_code(question: str) -> bool:
    return any(fence in question for fence in _FENCES) or len(_CODE.findall(question)) >= _CODE_LINES


def _by_words(reading: Reading) -> str | None:
    if reading.language != ENGLISH:
        return LANGUAGE
    text = " ".join(reading.words)
    checks = ((LEANS, leans(reading)), (SHORT, _says_too_little(reading)), (TIME, depends_on_time(text)))
    places = ((PLACE, depends_on_place(text)), (VARIETY, wants_another(text)))
    return next((reason for reason, holds in (*checks, *places) if holds), None)


def _says_too_little(reading: Reading) -> bool:
    if not (reading.numbers or any(word not in _FRAME_STEMS for word in reading.content)):
        return True
    return len(reading.words) < 2 or (reading.bare <= 2 and reading.kind is Ask.STATEMENT)
