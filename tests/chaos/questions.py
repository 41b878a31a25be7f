"""Questions whose answer is known beforehand, so that two answers spliced together, or somebody else's, are found; no I/O."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from agents.simulator.text import Writer

_LABEL = re.compile(r"\[simulated [^\]\s]+/[^\]\s]+\] ")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One job. `expected` is the answer without the label of the device that gives it."""

    job: str
    prompt: str
    model: str
    expected: str

    def fault_of(self, text: str, *, whole: bool = True) -> str:
        """Say why a text is not the answer, or not its beginning; empty when it is."""
        plain = _LABEL.sub("", text, count=1)
        if _LABEL.search(plain):
            return f"two answers begin in it: {text[:400]!r}"
        if plain == self.expected or (not whole and self.expected.startswith(plain)):
            return ""
        return f"got {plain[:400]!r}, expected {self.expected[:400]!r}"


def questions(model: str, *, words: int = 60, prefix: str = "job") -> Iterator[Question]:
    """Give questions without end, each with a word of its own that its answer is about."""
    for number in itertools.count(1):
        prompt = f"Say {words} words about {_word(number)} please."
        yield Question(job=f"{prefix}-{number}", prompt=prompt, model=model, expected=_answer(model, prompt))


def _answer(model: str, prompt: str) -> str:
    if model == "echo":
        return f"echo: {prompt}"
    writer = Writer(device="any", model=model, question=prompt, history=f"user: {prompt}", seed=0)
    return "".join(writer.answer()[1:])


def _word(number: int) -> str:
    """Spell a number in letters, long enough to be the longest word of its question."""
    word = ""
    for _ in range(14):
        number, digit = divmod(number, 26)
        word += _LETTERS[digit]
    return word
