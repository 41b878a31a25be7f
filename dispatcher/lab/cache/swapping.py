"""Makes other questions of questions by exchanging one thing: a negation, a number, an opposite, a name, who does what to whom,
the question word. A verifier learns from them that what differs in one thing only is not the same. English; it knows no features.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from dispatcher.cache.guard.opposites import opposites_of
from dispatcher.cache.guard.words import stem
from dispatcher.lab.cache.scopes import Chance

Words = list[str]

_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*|\d+|[^\sA-Za-z\d]")
_AUXILIARIES = frozenset(
    ["is", "are", "was", "were", "can", "could", "do", "does", "did", "will", "would", "should", "has", "have", "must"]
)
_NUMBERS = [
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "twelve",
    "twenty",
    "thirty",
    "fifty",
]
_EXCHANGED = {
    word: other
    for pair in [
        "from/to",
        "before/after",
        "with/without",
        "in/out",
        "on/off",
        "up/down",
        "over/under",
        "into/from",
        "above/below",
        "since/until",
        "all/some",
        "most/least",
        "more/less",
        "first/last",
        "best/worst",
        "every/no",
        "always/never",
        "can/should",
        "should/must",
        "today/tomorrow",
        "yesterday/tomorrow",
        "last/next",
        "now/yesterday",
        "many/few",
        "my/your",
        "monday/friday",
        "morning/evening",
        "buy/sell",
        "send/receive",
        "open/close",
        "start/stop",
        "increase/decrease",
    ]
    for word, other in (pair.split("/"), pair.split("/")[::-1])
}
_ASKING = {"how": "why", "why": "how", "when": "where", "where": "when", "what": "who", "who": "when", "which": "whose"}
_SMALL = frozenset(
    [
        "a",
        "an",
        "the",
        "to",
        "of",
        "in",
        "on",
        "at",
        "for",
        "from",
        "with",
        "by",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "am",
        "do",
        "does",
        "did",
        "can",
        "could",
        "would",
        "will",
        "should",
        "may",
        "might",
        "i",
        "me",
        "my",
        "we",
        "us",
        "our",
        "you",
        "your",
        "he",
        "she",
        "it",
        "its",
        "they",
        "them",
        "their",
        "this",
        "that",
        "these",
        "those",
        "there",
        "here",
        "and",
        "or",
        "but",
        "if",
        "so",
        "as",
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
        "have",
        "has",
        "had",
        "please",
        "tell",
        "need",
        "want",
        "get",
        "give",
        "make",
        "know",
        "like",
        "just",
        "some",
        "any",
        "about",
        "into",
        "than",
        "then",
        "too",
        "very",
        "also",
    ]
)
_LEAST_LETTERS = 4


def exchanged(texts: Sequence[str], count: int, chance: Chance) -> list[tuple[str, str]]:
    """Give up to `count` pairs of a question and one in which one thing is another, each way of exchanging as often as it can
    be."""
    nouns = sorted({word.lower() for text in texts for word in _WORD.findall(text) if _carries(word)})
    ways: Sequence[Callable[[Words, Sequence[str], Chance], Words | None]] = (
        _negated, _counted, _opposed, _renamed, _renamed, _turned, _directed, _asked,
    )  # fmt: skip
    found: list[tuple[str, str]] = []
    for number in range(8 * count):
        if len(found) == count:
            break
        text = texts[int(chance.integers(len(texts)))]
        words = _WORD.findall(text)
        other = ways[number % len(ways)](list(words), nouns, chance)
        if other is not None and other != words:
            found.append((text, " ".join(other)))
    return found


def _carries(word: str) -> bool:
    return word.isalpha() and len(word) >= _LEAST_LETTERS and word.lower() not in _SMALL


def _negated(words: Words, _: Sequence[str], __: Chance) -> Words | None:
    for place, word in enumerate(words):
        if word.lower() == "not":
            return words[:place] + words[place + 1 :]
        if word.lower().endswith("n't"):
            return [*words[:place], word[:-3], *words[place + 1 :]]
    for place, word in enumerate(words):
        if word.lower() in _AUXILIARIES:
            behind = place + 2 if place == 0 or words[place - 1].lower() in _ASKING else place + 1
            return [*words[:behind], "not", *words[behind:]]
    return ["do", "not", *words] if words and _carries(words[0]) else None


def _counted(words: Words, _: Sequence[str], chance: Chance) -> Words | None:
    for place, word in enumerate(words):
        if word.isdecimal():
            return [*words[:place], str(int(word[:9]) + int(chance.integers(1, 9))), *words[place + 1 :]]
        if word.lower() in _NUMBERS:
            others = [number for number in _NUMBERS if number != word.lower()]
            return [*words[:place], others[int(chance.integers(len(others)))], *words[place + 1 :]]
    return None


def _opposed(words: Words, nouns: Sequence[str], chance: Chance) -> Words | None:
    for place in chance.permutation(len(words)).tolist():
        against = opposites_of(stem(words[place].lower()))
        for other in sorted(against):
            full = next((noun for noun in nouns if stem(noun) == other), other)
            return [*words[:place], full, *words[place + 1 :]]
    return None


def _renamed(words: Words, nouns: Sequence[str], chance: Chance) -> Words | None:
    """Put another word in the place of one that carries meaning, of the same ending: the form stays, what is asked about does
    not."""
    places = [place for place, word in enumerate(words) if _carries(word)]
    if len(places) < 2:
        return None
    place = places[int(chance.integers(1, len(places)))]
    same_form = [noun for noun in nouns if noun[-2:] == words[place].lower()[-2:] and noun != words[place].lower()]
    if not same_form:
        return None
    return [*words[:place], same_form[int(chance.integers(len(same_form)))], *words[place + 1 :]]


def _turned(words: Words, _: Sequence[str], chance: Chance) -> Words | None:
    """Have two words change places: who does it, and to whom."""
    places = [place for place, word in enumerate(words) if _carries(word)]
    if len(places) < 2:
        return None
    one = int(chance.integers(len(places) - 1))
    left, right = places[one], places[one + 1]
    if right - left < 2:
        return None
    turned = list(words)
    turned[left], turned[right] = words[right], words[left]
    return turned


def _directed(words: Words, _: Sequence[str], chance: Chance) -> Words | None:
    places = [place for place, word in enumerate(words) if word.lower() in _EXCHANGED]
    if not places:
        return None
    place = places[int(chance.integers(len(places)))]
    return [*words[:place], _EXCHANGED[words[place].lower()], *words[place + 1 :]]


def _asked(words: Words, _: Sequence[str], __: Chance) -> Words | None:
    for place, word in enumerate(words[:4]):
        if word.lower() in _ASKING:
            return [*words[:place], _ASKING[word.lower()], *words[place + 1 :]]
    return None
