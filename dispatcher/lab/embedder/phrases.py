"""Sentences to teach a static table from: frames of ordinary prompts, filled with words of the vocabulary; it knows no model.

No corpus is needed, and none is shipped: the words come from the tokenizer, what belongs together from the pieces' own vectors, and
the frames were written for this project. One seed gives one list.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

FRAMES = (
    # asking for knowledge
    "What is {a}?",
    "What is the difference between {a} and {b}?",
    "Explain {a} to me like I'm five.",
    "Explain how {a} works, and why {b} matters.",
    "Why does {a} depend on {b}?",
    "How do I get from {a} to {b}?",
    "Who was the first {a} of {b}?",
    "When did the {a} of {b} begin, and what came before it?",
    "Where can I find {a} near {b}?",
    "Give me three facts about {a}.",
    "Is it true that {a} can {b} without {c}?",
    "Tell me about the history of {a} in {b}.",
    "Describe the role of {a} in {b} and {c}.",
    "What are the main causes of {a}, and how is it treated with {b}?",
    "Compare {a}, {b} and {c} in terms of {d}.",
    # tests
    "Which of the following is an example of {a}?\nA. {b}\nB. {c}\nC. {d}\nD. {e}",
    "The term {a} refers to\nA. {b}\nB. the {c} of {d}\nC. {e}\nD. none of the above",
    "{a} is best described as\nA. {b} {c}\nB. {c} {d}\nC. {d} {e}\nD. {e} {b}",
    "According to the theory of {a}, {b} leads to {c} because of",
    "Question: A {a} of {b} was found near a {c}. What does this say about the {d}?\nAnswer:",
    'This question refers to the following information.\n"The {a} has {b} the {c}, and no {d} shall {e}."',
    "Choose the right word: the {a} was {b} by the {c}. Options: {d}, {e}",
    "Premise: the {a} {b} a {c}. Hypothesis: a {d} was near the {c}. Does the premise entail the hypothesis?",
    "Statement 1| Every {a} is a {b}. Statement 2| Some {c} have no {d}. True or false?",
    # numbers
    "If a {a} costs ${n} and a {b} costs ${m}, how much do {k} of each cost?",
    "{name} has {n} {a}. She gives {m} of them to {name2} and buys {k} more {b}. How many {a} does {name} have now?",
    "A {a} travels {n} miles in {m} hours. How far does it go in {k} hours?",
    "What is {n} * {m} + {k}?",
    "Solve for x: {n}x + {m} = {k}. Show every step.",
    "Find the probability that a {a} is chosen from {n} {b} and {m} {c}.",
    "Compute the integral of x^{k} from {n} to {m}, and state the {a} that you use.",
    "{n} percent of the {a} are {b}, the rest are {c}. What is the ratio of {b} to {c}?",
    # code
    "Write a Python function that takes a list of {a} and returns the {b}.",
    "def {a}({b}, {c}):\n    return {b} + {c}\n\nWhat does this code do?",
    "Fix this bug: TypeError: '{a}' object has no attribute '{b}'",
    "SELECT {a}, {b} FROM {c} WHERE {d} > {n};",
    "How do I install {a} on {b} with docker?",
    "Write a regular expression that matches {a} but not {b}.",
    "Refactor the class {a} so that {b} no longer depends on {c}.",
    "What is the time complexity of {a} on a {b} with {n} nodes?",
    # writing
    "Write a short story about a {a} who meets a {b} in {c}.",
    "Write a poem about {a} and {b}.",
    "Write an email to my {a} about the {b}, asking for {c}.",
    "Summarize the following text: The {a} said that {b} and {c} would {d} the {e} this year.",
    "Translate into French: the {a} is {b} than the {c}.",
    "Rewrite this more politely: give me the {a}, you {b}!",
    "Imagine you are a {a}. How would you explain {b} to a {c}?",
    "List the pros and cons of {a} for {b}.",
    "Correct the grammar: the {a} have {b} by {c} yesterday",
    # assistants
    "set a timer for {n} minutes and remind me of the {a}",
    "book a {a} for {n} people at {m} pm in {b}",
    "how much {a} is left on my {b} account",
    "why was my {a} declined when i tried to {b}",
    "can you cancel the {a} i ordered, the {b} never arrived",
    "what's the weather in {a} and should i take a {b}",
    "play some {a} and turn down the {b}",
    "how do i change the {a} of my {b}",
    "i want to know if the {a} has {b} any {c}",
    "thanks, that was a {a} {b}",
    # plain
    "{a} {b}",
    "{a}, {b} and {c}",
    "the {a} of the {b} {c} in the {d}",
    "the {a} was {b} by {c} in {y}, after the {d} had {e}",
    "In {y}, {a} became the {b} of {c}; {d} followed.",
    "{a} {b} {c} {d} {e}",
)
"""Shapes of what people send; the letters are words, `n`, `m`, `k` numbers, `y` a year."""

_NAMES = ("Maria", "John", "Ahmed", "Wei", "Olga", "Sam", "Priya", "Carlos", "Emma", "Kofi", "Yuki", "Tom")
_WORD = re.compile(r"^[a-z]{2,}$")
_TAIL = re.compile(r"^##[a-z]{1,}$")


def sentences(
    count: int, pieces: Sequence[str], near: Sequence[Sequence[int]], *, seed: int, longest: int = 5
) -> list[str]:
    """Make `count` texts of one to `longest` sentences, most of them of one.

    `pieces` are the vocabulary, `near` the neighbours of each piece by its own vector: half of a sentence's words are kin to its
    first, as in real ones.
    """
    writer = _Writer(random.Random(seed), pieces, near)  # noqa: S311  # nothing secret
    return [" ".join(writer.sentence() for _ in range(writer.length(longest))) for _ in range(count)]


class _Writer:
    def __init__(self, rng: random.Random, pieces: Sequence[str], near: Sequence[Sequence[int]]) -> None:
        self._rng = rng
        self._pieces = pieces
        self._near = near
        self._words = [number for number, piece in enumerate(pieces) if _WORD.match(piece)]
        self._tails = [piece.removeprefix("##") for piece in pieces if _TAIL.match(piece)]

    def length(self, longest: int) -> int:
        """Seven of ten prompts are one sentence."""
        return 1 if self._rng.randrange(10) < 7 else self._rng.randint(2, longest)

    def sentence(self) -> str:
        """Fill one frame."""
        rng = self._rng
        anchor = rng.choice(self._words)
        slots = {letter: self._slot(anchor) for letter in "bcde"}
        sizes = (rng.randint(1, 12), rng.randint(10, 100), rng.randint(100, 5000))
        numbers = {letter: str(rng.choice(sizes)) for letter in "nmk"}
        name, name2 = rng.sample(_NAMES, 2)
        frame = rng.choice(FRAMES)
        return frame.format(
            a=self._pieces[anchor], name=name, name2=name2, y=rng.randint(1200, 2024), **slots, **numbers
        )

    def _slot(self, anchor: int) -> str:
        """A word: kin of the anchor, any, or one that the vocabulary lacks, since its parts must be learnt too."""
        rng, pieces = self._rng, self._pieces
        match rng.randrange(4):
            case 0 | 1:
                return pieces[rng.choice(self._near[anchor])].removeprefix("##")
            case 2:
                return pieces[rng.choice(self._words)]
            case _:
                return pieces[rng.choice(self._words)] + rng.choice(self._tails)
