"""What kind of question a text asks, whatever the politeness before it. English; of others it says `statement`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from dispatcher.cache.guard.words import BE, MODALS, word_set


class Ask(StrEnum):
    """What is asked for."""

    WHAT = "what"  # what is, define, explain, describe, tell me about
    WHICH = "which"
    WHO = "who"
    WHOSE = "whose"
    WHEN = "when"
    WHERE = "where"
    WHY = "why"
    HOW_TO = "how to"  # how do I, what is the way to, the steps to
    HOW = "how"  # how does it work
    HOW_MUCH = "how much"
    HOW_LONG = "how long"
    HOW_FAR = "how far"
    HOW_OFTEN = "how often"
    HOW_DEGREE = "how degree"  # how tall, how deep
    WHETHER = "whether"  # is, can, does
    DO = "do"  # an order: list, translate, turn on
    STATEMENT = "statement"


_OPENERS = word_set(
    "please kindly hi hello hey so ok okay well just now then thanks um uh sorry excuse me quick quickly question"
    " help and but also good"
    " morning afternoon evening dear friend everyone there um hmm like actually basically honestly"
)
_WRAPS = tuple(
    tuple(wrap.split())
    for wrap in (
        "can you please tell me", "could you please tell me", "can you tell me", "could you tell me",
        "would you tell me",
        "will you tell me", "could you kindly tell me", "can you please explain", "could you please explain",
        "can you explain to me",
        "can you explain", "could you explain to me", "could you explain", "please explain", "explain to me",
        "can you help me",
        "could you help me", "can someone tell me", "can anyone tell me", "can somebody tell me", "can someone explain",
        "can anyone explain", "i would like to know", "i would like to understand", "i want to know",
        "i want to understand",
        "i need to know", "i am wondering", "i was wondering", "i wonder", "do you know", "do you happen to know",
        "does anyone know",
        "does anybody know", "does someone know", "any idea", "tell me", "let me know", "show me", "may i ask",
        "can i ask",
        "i am trying to find out", "i am trying to understand", "i am trying to figure out", "i do not understand",
        "i do not know",
        "i am curious", "what i want to know is", "my question is", "the question is", "would you mind telling me",
        "can you let me know", "could you let me know", "would you please tell me", "i would love to know",
        "help me understand",
        "would you explain", "i am not sure", "please tell me", "could you show me", "can you show me",
        "is it known", "what would you say",
    )
)  # fmt: skip
_WRAPS_BY_HEAD = {wrap[0]: [one for one in _WRAPS if one[0] == wrap[0]] for wrap in _WRAPS}
_EXPLAINS = frozenset(["explain", "show", "understand", "explanation"])
_NOUN_KINDS = {
    "way": Ask.HOW_TO, "ways": Ask.HOW_TO, "steps": Ask.HOW_TO, "step": Ask.HOW_TO, "method": Ask.HOW_TO, "procedure": Ask.HOW_TO,
    "process": Ask.HOW_TO, "instructions": Ask.HOW_TO, "recipe": Ask.HOW_TO, "command": Ask.HOW_TO,
    "reason": Ask.WHY, "reasons": Ask.WHY,
    "cause": Ask.WHY, "causes": Ask.WHY, "caused": Ask.WHY, "year": Ask.WHEN, "date": Ask.WHEN, "time": Ask.WHEN, "day": Ask.WHEN,
    "place": Ask.WHERE, "location": Ask.WHERE, "person": Ask.WHO, "author": Ask.WHO, "number": Ask.HOW_MUCH, "amount": Ask.HOW_MUCH,
    "quantity": Ask.HOW_MUCH, "cost": Ask.HOW_MUCH, "price": Ask.HOW_MUCH, "distance": Ask.HOW_FAR, "duration": Ask.HOW_LONG,
}  # fmt: skip
"""`what is the way to` asks what `how do I` asks; a noun of these in the first words says so."""

_HOW = {
    "many": Ask.HOW_MUCH, "much": Ask.HOW_MUCH, "long": Ask.HOW_LONG, "far": Ask.HOW_FAR, "often": Ask.HOW_OFTEN,
    "frequently": Ask.HOW_OFTEN, "come": Ask.WHY, "to": Ask.HOW_TO, "best": Ask.HOW_TO,
}  # fmt: skip
_DEGREES = word_set(
    "old tall high deep big large small wide heavy fast hot cold thick strong bright dense loud hard difficult"
    " expensive soon quickly"
    " safe accurate early late warm rich steep likely dangerous acidic toxic good bad well reliable close near sweet"
    " spicy short cheap"
)
_PEOPLE = word_set("i you we one someone somebody people to")
_ASKS = {
    "why": Ask.WHY, "when": Ask.WHEN, "where": Ask.WHERE, "who": Ask.WHO, "whom": Ask.WHO, "whose": Ask.WHOSE, "which": Ask.WHICH,
}  # fmt: skip
_DEFINES = word_set("define describe explain summarize summarise outline introduce")
ORDERS = word_set(
    "write list give name translate convert compare calculate compute solve summarize summarise rewrite rephrase"
    " draft generate create make"
    " turn set switch play add remove show find suggest recommend open close start stop send call book order"
    " schedule cancel delete update"
    " change fix sort count draw plan design classify extract correct proofread simplify shorten expand continue"
    " prove derive evaluate"
    " estimate print read tell say remind put go get let use check order reset pay transfer spell answer choose pick"
    " act pretend imagine"
    " install configure implement refactor debug optimize optimise explain define describe outline analyze analyse"
    " discuss propose replace"
    " increase decrease raise lower dim mute unlock lock pause resume skip block freeze activate deactivate enable"
    " disable buy sell help export import rename move copy merge split search look rank group filter highlight"
    " paraphrase round save load download upload encrypt decrypt test check build run deploy restart shut brighten"
    " label tag map plot predict score"
)
_LOOK = 6
"""Words after `what` in which a noun still says what is asked."""


_BEFORE = word_set("in on at for by to from of with under into using during after before")
_WHETHER = BE | frozenset(MODALS) | word_set("do does did has have had if whether")


def stripped(words: Sequence[str]) -> int:
    """Give how many words at the head are politeness."""
    at, before = 0, -1
    while at != before:
        before = at
        while (
            at < len(words) - 1
            and words[at] in _OPENERS
            and tuple(words[at : at + 2]) not in (("so", "many"), ("now", "that"))
        ):
            at += 1
        for wrap in _WRAPS_BY_HEAD.get(words[at], ()) if at < len(words) else ():
            if len(words) > at + len(wrap) and tuple(words[at : at + len(wrap)]) == wrap:
                at += len(wrap)
                break
        if tuple(words[at + 1 : at + 2]) == ("you",) and words[at] in ("can", "could", "would", "will"):
            order = at + 3 if words[at + 2 : at + 3] in (["please"], ["kindly"]) else at + 2
            at = order if order < len(words) and words[order] in ORDERS else at
    return at


def ask_of(words: Sequence[str]) -> Ask:
    """Say what kind of question the words ask."""
    at = stripped(words)
    kind = _kind(words[at:])
    if kind is not Ask.STATEMENT:
        return Ask.WHAT if kind is Ask.DO and words[at] in _DEFINES else kind
    if at and any(word in _EXPLAINS for word in words[:at]):
        return Ask.WHAT
    return _inside(words[at:], framed=bool(at))


def _kind(words: Sequence[str]) -> Ask:
    first, second = words[0] if words else "", words[1] if len(words) > 1 else ""
    if first in ("about", "that") and second:
        return Ask.WHAT
    if first in ("how", "what", "which", *_ASKS):
        return _asked(words)
    if first in _BEFORE:
        return _behind(words)
    if first == "if" and (kind := _inside(words[1:], framed=False)) is not Ask.STATEMENT:
        return kind
    if first in ("is", "are") and second == "there" and {"way", "ways"} & set(words[2:5]):
        return Ask.HOW_TO
    return Ask.WHETHER if first in _WHETHER else _order(words)


def _asked(words: Sequence[str]) -> Ask:
    """Give what a question word at the head asks for."""
    first, second = words[0], words[1] if len(words) > 1 else ""
    if first == "how":
        return _how(words)
    if first == "what":
        return _what(words)
    if first == "which":
        return _NOUN_KINDS.get(second, Ask.WHICH)
    if first == "when" and second not in _WHETHER:  # when it is hot, why ...
        inside = _inside(words[1:], framed=False)
        return Ask.WHEN if inside is Ask.STATEMENT else inside
    return _ASKS[first]


def _behind(words: Sequence[str]) -> Ask:
    """Give what is asked behind a preposition or a phrase that stands first: `in two sentences, explain ...`."""
    for place, word in enumerate(words[1:_LOOK], start=1):
        if word in ("how", "what", *_ASKS):
            return _kind(words[place:])
        if word in _DEFINES:
            return Ask.WHAT
        if word in ORDERS and place > 1:
            return Ask.DO
    return Ask.STATEMENT


def _order(words: Sequence[str]) -> Ask:
    first = words[0] if words else ""
    if first in _DEFINES:
        return _kind(words[1:]) if len(words) > 1 and words[1] in (*_ASKS, "how", "what") else Ask.DO
    if first in ("steps", "instructions", "guide", "ways", "way") and {"to", "for", "on"} & set(words[1:3]):
        return Ask.HOW_TO
    if first in ("definition", "meaning", "explanation", "description") and "of" in words[:2]:
        return Ask.WHAT
    return Ask.DO if first in ORDERS else Ask.STATEMENT


def _how(words: Sequence[str]) -> Ask:
    second = words[1] if len(words) > 1 else ""
    if second in _HOW:
        return (
            Ask.HOW_DEGREE if tuple(words[1:2]) == ("much",) and words[2:3] in (["taller"], ["older"]) else _HOW[second]
        )
    if second in _DEGREES:
        return Ask.HOW_DEGREE
    third = words[2] if len(words) > 2 else ""
    acts = second in MODALS or second in ("do", "does", "did", "would")
    if (acts and third in _PEOPLE) or second in ("i", "you", "we", "one"):
        return Ask.HOW_TO
    return Ask.HOW


def _what(words: Sequence[str]) -> Ask:
    if tuple(words[1:3]) == ("is", "it") or len(words) < 2:
        return Ask.WHAT
    if words[1] == "causes" or (words[1] == "makes" and len(words) > 2):
        return Ask.WHY
    if "cost" in words or "costs" in words:
        return Ask.HOW_MUCH
    for place, word in enumerate(words[1:_LOOK], start=1):
        if word == "of":
            break
        kind = _NOUN_KINDS.get(word)
        if kind is None:
            continue
        asks_way = (
            kind is not Ask.HOW_TO
            or "to" in words[place : place + 2]
            or "of" in words[place : place + 2]
            or "for" in words[place : place + 2]
        )
        if asks_way and not (kind is Ask.WHEN and word in ("day", "time", "date") and place > 3):
            return kind
    return Ask.WHAT


def _inside(words: Sequence[str], *, framed: bool) -> Ask:
    """Look for a question word later: `the capital of France is what`, `when I heat it, why does it melt`."""
    for place, word in enumerate(words):
        if word == "how":
            return _how(words[place:])
        if word == "what" and (framed or place >= len(words) - 2 or words[place + 1] in BE | frozenset(["do", "does"])):
            return _what(words[place:])
        if word == "whom" and place:
            return Ask.WHO
        if word in ("why", "which", "who", "where") and place and words[place - 1] not in ("the", "one"):
            follows = words[place + 1] if place + 1 < len(words) else ""
            if (
                framed
                or word == "why"
                or follows in BE
                or follows in ("do", "does", "did", "can", "should")
                or not follows
            ):
                return _ASKS[word]
    return Ask.WHAT if framed and words else Ask.STATEMENT
