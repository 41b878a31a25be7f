"""Who does what to whom, as far as the order of words and prepositions tell: a canonical order, in which `X of Y` is `Y's X`,
what is joined by `and` is sorted, a passive with `by` is active, and phrases with a preposition stand apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dispatcher.cache.guard.words import (
    BE,
    FUNCTION_WORDS,
    PARTICIPLES,
    QUESTION_WORDS,
    WEAK_PREPOSITIONS,
    stem,
    word_set,
)

ROLES = {
    "from": "from", "to": "to", "into": "to", "onto": "to", "before": "before", "after": "after", "above": "above",
    "below": "below",
    "beneath": "below", "over": "over", "under": "under", "underneath": "under", "until": "until", "till": "until",
    "since": "since",
    "without": "without", "against": "against", "by": "by", "between": "between", "than": "than", "inside": "inside",
    "outside": "outside", "behind": "behind", "towards": "to", "toward": "to", "through": "through", "via": "through",
    "except": "except", "unless": "unless", "if": "if", "because": "because", "beyond": "beyond",
    "instead": "instead", "per": "per",
    "during": "during", "despite": "despite", "like": "like", "as": "~", "using": "~", "for": "~", "with": "~",
    "in": "~", "on": "~", "at": "~",
    "about": "~", "within": "~", "around": "~", "among": "~", "along": "~", "across": "~", "regarding": "~",
    "when": "if", "while": "while",
}  # fmt: skip
"""What a preposition says of what follows it; `~` are those that people exchange freely."""

PARTICLES = frozenset(["up", "down", "off", "out", "on", "in", "away", "back", "left", "right", "over", "under"])
_SENDING = frozenset(
    stem(verb)
    for verb in [
        "convert",
        "translate",
        "go",
        "travel",
        "change",
        "move",
        "send",
        "transfer",
        "migrate",
        "upgrade",
        "downgrade",
        "switch",
        "add",
        "compare",
        "connect",
        "fly",
        "drive",
        "walk",
        "ship",
        "drop",
        "push",
        "deploy",
        "write",
        "export",
        "import",
        "copy",
        "map",
        "cast",
        "transform",
        "turn",
        "lend",
        "sell",
        "give",
        "bind",
        "attach",
        "deliver",
        "respond",
        "reply",
        "close",
        "relate",
        "similar",
        "equal",
        "due",
        "next",
        "prior",
        "according",
        "opposed",
        "distance",
        "flight",
        "train",
        "trip",
        "route",
        "bus",
        "ferry",
        "directions",
        "allergic",
        "resistant",
        "immune",
        "superior",
        "inferior",
        "preferable",
        "parallel",
        "perpendicular",
        "apply",
        "belong",
        "contribute",
        "lead",
        "listen",
        "speak",
        "talk",
        "introduce",
        "assign",
        "append",
        "set",
        "redirect",
        "subscribe",
        "publish",
        "commute",
        "return",
    ]
)
_DETERMINERS = word_set("a an the my your his her its our their this that these those all every each any some both")
_ACTORS = frozenset(["and", "or", "vs", "versus", "nor", "&"])
_JOINS_ONLY = frozenset(["the", "a", "an", "both", "either"])


@dataclass(slots=True)
class Part:
    """Words under one preposition, or the core of the question, while they are collected."""

    label: str
    words: list[str] = field(default_factory=list)
    run: int = 0
    """Where the words since the last small word begin."""
    left: int = -1
    """Where the words before `of` begin, while the ones behind it are collected."""
    joint: str = ""

    def add(self, word: str) -> None:
        """Take a word. Behind `and` it changes places with the one before, if that sorts after it."""
        self.words.append(word)
        if self.joint == "and":
            self.joint = ""
            if len(self.words) > 1 and word < self.words[-2]:
                self.words[-2:] = [word, self.words[-2]]

    def close(self) -> None:
        """End a run of words: behind `of` it goes before the run that stood there."""
        if self.joint == "of" and self.run < len(self.words):
            before, behind = self.words[self.left : self.run], self.words[self.run :]
            self.words[self.left :] = behind + before
            self.run, self.joint = self.left, ""

    def join(self, joint: str) -> None:
        """Say that what follows belongs to the run that just ended."""
        self.close()
        self.joint = joint
        if joint == "of":
            self.left, self.run = self.run, len(self.words)

    def end_run(self) -> None:
        """A small word ends a run, but for an article right behind a joint."""
        if self.joint and (self.joint == "and" or self.run == len(self.words)):
            return
        self.close()
        self.run = len(self.words)


def roles(words: Sequence[str], content: Sequence[str | None]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the canonical order of the core, and the phrases beside it, sorted, as `from:paris`.

    `content` holds the stem of each word that is content, None for the others.
    """
    core = Part("")
    both_ways = "from" in words
    parts: list[Part] = []
    now = core
    for place, word in enumerate(words):
        kept = content[place]
        label = _label(words, content, place, both_ways=both_ways)
        if label is not None:
            now.close()
            now = Part(label)
            parts.append(now)
        elif kept is not None:
            now.add(kept)
        elif word == "of" or (word in _ACTORS and "then" not in words[place + 1 : place + 2]):
            now.join("of" if word == "of" else "and")
        else:
            now.end_run()
            if now is not core and now.words and word not in WEAK_PREPOSITIONS and word != ",":
                now.close()
                now = core
            elif now is not core and word == ",":
                now = core
    for part in (core, *parts):
        part.close()
    _activate(core, parts, words)
    return tuple(core.words), tuple(sorted(f"{part.label}:{' '.join(part.words)}" for part in parts if part.words))


def _label(words: Sequence[str], content: Sequence[str | None], place: int, *, both_ways: bool) -> str | None:
    word = words[place]
    if word not in ROLES or content[place] is not None:
        return None
    after = words[place + 1] if place + 1 < len(words) else ""
    if not after or after in ("?", ".", "!", ","):
        return None
    if after in QUESTION_WORDS:
        return None
    if word == "to":
        return "to" if both_ways or _is_direction(words, place) else None
    if word == "when" and (place == 0 or after in BE or after in ("do", "does", "did", "will", "can", "should")):
        return None
    return ROLES[word]


def _is_direction(words: Sequence[str], place: int) -> bool:
    """Tell `to Paris` from `to cook`: by what stands around it."""
    after = words[place + 1]
    if after in _DETERMINERS or after[:1].isdecimal():
        return True
    before = {stem(word) for word in words[max(0, place - 4) : place]}
    return bool(before & _SENDING) and after not in ("be", "do", "get", "make", "have", "use")


def _activate(core: Part, parts: list[Part], words: Sequence[str]) -> None:
    """Turn `hamlet written by shakespeare` into `shakespeare write hamlet`."""
    if not (BE & set(words) and core.words):
        return
    for part in parts:
        if part.label == "by" and part.words and len(core.words) >= 1:
            at = words.index("by")
            verb = stem(words[at - 1]) if at else ""
            passive = verb != words[at - 1] and verb in core.words
            if passive:
                core.words.remove(verb)
                core.words[:] = [*part.words, verb, *core.words]
                parts.remove(part)
                return
    _verb_first(core, words)


def _verb_first(core: Part, words: Sequence[str]) -> None:
    """Turn `tower built` of a passive without an actor into `build tower`: what is done stands before what it is done to."""
    last = next((word for word in reversed(words) if stem(word) == core.words[-1]), "")
    if len(core.words) > 1 and (last in PARTICIPLES or (last.endswith("ed") and stem(last) != last)):
        core.words.insert(0, core.words.pop())


SMALL_WORDS = FUNCTION_WORDS | frozenset(ROLES) | PARTICLES - frozenset(["left", "right", "back", "away"])
"""What is no content."""
