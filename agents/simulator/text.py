"""Writes the simulated answers: the same seed, model and prompt give the same text; it knows neither time nor HTTP.

Every answer begins with a label, so that nobody takes it for a model's. The label counts as one token: even an answer cut
to a single token says that it is simulated.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agents.simulator import tokens

# Judgement: half of the answers are below ~60 tokens, a tenth above ~130; clipped so that a slow board ends some day.
_MEDIAN_TOKENS = 60
_SIGMA = 0.6
_SHORTEST, _LONGEST = 16, 240
# A prompt that asks for "300 words" gets about that many: the one way to ask for a long answer.
_ASKED_WORDS = re.compile(r"\b(\d{1,4}) words\b")
_TOKENS_PER_WORD = 1.3

_COMMON_WORDS = """
about after again also because been before being between both could does doing down during each from have having here
into itself just like make many more most much must only other over please same should some such tell than that their
them then there these they this those through under until very want were what when where which while will with would
write your yours explain describe give answer question
"""
_COMMON = frozenset(_COMMON_WORDS.split())
_OPENINGS = (
    "Here is what can be said about {topic}.",
    "The question is about {topic}, so let us take it in order.",
    "In short, {topic} comes down to a few points.",
    "Looking at {topic}, three things stand out.",
)
_MIDDLES = (
    "First, {topic} depends on the context in which it is used.",
    "A common way to approach {topic} is to start small and measure.",
    "Most of the difficulty with {other} lies in the details.",
    "It helps to separate {topic} from {other}, since they are often confused.",
    "In practice, people weigh cost against benefit before choosing {other}.",
    "One example makes this clearer: take {topic} and change a single part.",
    "The trade-off between speed and quality shows up here as well.",
    "There are exceptions, but they rarely matter for {other}.",
    "A careful reader would also ask how {topic} changes over time.",
    "The same reasoning applies to {other}, with small differences.",
    "When in doubt, check the result by hand.",
    "Each step builds on the one before it, so the order matters.",
)
_CLOSINGS = (
    "That covers the main points about {topic}.",
    "This should be enough to get started with {topic}.",
    "In the end, {topic} is best learned by trying it.",
)


def label(device: str, model: str) -> str:
    """Give the label that every simulated answer starts with."""
    return f"[simulated {device}/{model}] "


_ANY_LABEL = re.compile(r"\[simulated [^\]\s]+/[^\]\s]+\] ?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Writes the answer to one question of one conversation."""

    device: str
    model: str
    question: str
    history: str
    seed: int

    @property
    def label(self) -> str:
        """Give the label of this writer's answers."""
        return label(self.device, self.model)

    @property
    def topic(self) -> str:
        """Give the word of the question that the answer is about."""
        return _topics(self.question)[0]

    def answer(self) -> list[str]:
        """Write the whole answer as pieces, the label first."""
        return [self.label, *tokens.pieces(self._body())]

    def continuation(self, so_far: str) -> list[str]:
        """Go on where an assistant's text stopped: nothing is repeated, no second label is written.

        Text of this very writer is completed exactly. Text of another goes on from the same place of our own answer.
        """
        unlabelled = _ANY_LABEL.sub("", so_far, count=1)
        body = self._body()
        if body.startswith(unlabelled) and len(body) > len(unlabelled):
            return tokens.pieces(body[len(unlabelled) :])
        rest = tokens.pieces(body)[tokens.count(unlabelled) :] or tokens.pieces(" That is all.")
        joint = "" if not unlabelled or unlabelled[-1].isspace() or rest[0][0].isspace() else " "
        return [joint + rest[0], *rest[1:]]

    def _body(self) -> str:
        material = f"{self.seed}\0{self.model}\0{self.history}".encode("utf-8", "surrogatepass")
        generator = random.Random(hashlib.sha256(material).digest())  # noqa: S311 - filler text, not secrets
        return _body(generator, self.question, natural_length(generator, self.question))


def thoughts(prompt: str) -> list[str]:
    """Write what a thinking model thinks before it answers."""
    first, second = _topics(prompt)
    return tokens.pieces(f"[simulated thinking] The user asks about {first}. I should also mention {second}, briefly.")


def natural_length(generator: random.Random, prompt: str) -> int:
    """Give the length of an answer in tokens: what the prompt asks for, else drawn log-normal and clipped."""
    asked = _ASKED_WORDS.search(prompt)
    if asked is not None:
        return max(int(int(asked[1]) * _TOKENS_PER_WORD), 1)
    drawn = generator.lognormvariate(math.log(_MEDIAN_TOKENS), _SIGMA)
    return min(max(int(drawn), _SHORTEST), _LONGEST)


def cut_at_stop(parts: Sequence[str], stops: Sequence[str]) -> list[str]:
    """Cut before the first stop sequence, even one that spans pieces."""
    whole = "".join(parts)
    found = [at for stop in stops if stop and (at := whole.find(stop)) >= 0]
    if not found:
        return list(parts)
    kept: list[str] = []
    room = min(found)
    for part in parts:
        kept.append(part[:room])
        room -= len(part)
        if room <= 0:
            break
    return [part for part in kept if part]


def _body(generator: random.Random, prompt: str, wanted: int) -> str:
    topic, other = _topics(prompt)
    sentences = [generator.choice(_OPENINGS)]
    length = tokens.count(sentences[0].format(topic=topic, other=other))
    while length < wanted:
        sentence = generator.choice(_MIDDLES)
        sentences.append(sentence)
        length += tokens.count(" " + sentence.format(topic=topic, other=other))
    sentences.append(generator.choice(_CLOSINGS))
    return " ".join(sentences).format(topic=topic, other=other)


def _topics(prompt: str) -> tuple[str, str]:
    """Pick two words of the prompt to talk about: the longest uncommon ones of its end, where the question stands."""
    words = re.findall(r"[^\W\d_]{4,20}", prompt[-2000:])
    distinct = list(dict.fromkeys(word for word in words if word.lower() not in _COMMON))
    ranked = sorted(distinct, key=len, reverse=True)
    first = ranked[0] if ranked else "this"
    return first, (ranked[1] if len(ranked) > 1 else "the rest")
