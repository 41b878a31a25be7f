"""What a question says, read once: its words, numbers, negations, names, roles, and what is asked for in what form.

English is read; of other languages it tells that they are others. It knows no second question and judges nothing. Any text will do,
in time that grows with its length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.cache.guard.kinds import Ask, ask_of, stripped
from dispatcher.cache.guard.numbers import numbers
from dispatcher.cache.guard.roles import PARTICLES, ROLES, SMALL_WORDS, roles
from dispatcher.cache.guard.tokens import Token, tokens
from dispatcher.cache.guard.wishes import wishes
from dispatcher.cache.guard.words import (
    ARTICLES,
    CONDITIONS,
    ENGLISH_WORDS,
    FOREIGN_NEGATIONS,
    FRAMES,
    LANGUAGE_WORDS,
    MODALS,
    NEGATIONS,
    PAST_FORMS,
    QUANTIFIERS,
    stem,
    word_set,
)

ENGLISH = "en"
SCRIPT = "script"
"""Of a text that is mostly in letters other than Latin ones."""

_QUOTED = re.compile(r'"([^"\n]{1,80})"')
_OPERATORS = frozenset("+*/=<>^|~√∑∫≤≥≠≈±%&∞π")
_MOST_CAPITALS = 0.6
_DEGREES = {
    "most": "most", "least": "least", "more": "more", "less": "less", "best": "most good", "worst": "most bad",
    "better": "more good",
    "worse": "more bad", "fewer": "less", "fewest": "least", "further": "more far", "furthest": "most far",
    "farthest": "most far",
    "maximum": "most", "minimum": "least", "max": "most", "min": "least", "top": "most", "bottom": "least",
    "main": "main",
    "favorite": "most good", "ideal": "most good", "optimal": "most good", "biggest": "most big", "bigger": "more big",
    "latest": "most late", "newest": "most new", "equally": "equal", "equal": "equal", "same": "equal",
    "too": "too", "enough": "enough",
}  # fmt: skip
_ADJECTIVES = word_set(
    "old tall high deep large small wide heavy fast hot cold thick thin strong weak bright dark dense loud quiet"
    " hard soft soon safe early late"
    " warm cool rich poor steep close near far sweet short long cheap easy light new young slow quick dry clean"
    " dirty cold smart simple hot big"
    " wet low narrow tiny fat lean mild sour bitter spicy tough rough smooth busy happy sad lazy crazy noisy healthy"
    " costly ugly pretty funny"
    " dim great few kind wise pure rare shallow sharp dull tight loose fresh ripe full clear wealthy angry heavy"
    " lucky tasty cloudy sunny"
)
_PERSONS = {"i": "1", "me": "1", "myself": "1", "we": "1", "us": "1", "you": "2", "yourself": "2"}
_PAST = word_set("did was were had ago")
_PRESENT = word_set("is are am do does has have can could may might must should would be to get gets")
_FUTURE = frozenset(["will", "shall", "upcoming"])
_TENSE_WORDS = {
    "already": "already", "yet": "yet", "still": "still", "anymore": "anymore", "longer": "longer", "soon": "soon",
    "again": "again",
    "now": "now", "formerly": "past", "previously": "past", "originally": "past", "eventually": "future",
}  # fmt: skip
_NOUNS_TOO = word_set("will can might help need mean like let being back left right second while")
"""Behind an article they are things."""

_THANKS = frozenset(["thanks", "thank", "cheers", "thx"])
"""At the end of a text they are politeness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One question as the guard sees it. All words are in lower case; tuples are in the order of the text unless said otherwise.

    `words`: every word, contractions written out (`can not`), numbers as they stood.
    `content`: stems of the words that carry meaning; numbers, negations, small words and politeness are left out.
    `numbers`: in one writing, with the unit beside them: `5 km`, `20 %`, `#2`, `x2`, `3.11`, `10:30`.
    `negations`: kinds of negating words (`not`, `never`, `without`, `except`, `stop`, ...); `negated`: each with the next content.
    `directions`: prepositions and particles that say a direction or an order (`from`, `to`, `off`, `before`).
    `roles`: phrases under a preposition, sorted: `from:paris`, `~:python`. `order`: the content that is under none, canonical.
    `names`: what is capitalised, quoted, or written like a name of a thing in a machine, in lower case.
    `kind`: what kind of question. `wishes`: language, format, length of the answer. `degrees`: comparatives and superlatives.
    `persons`: `1` for I and me, `2` for you, in order; whose something is doesn't count.
    `quantifiers`, `conditions`, `modals`: canonical words. `tense`: `past`, `present` or `future`; `times`: words like `already`.
    `language`: `en`, the code of another one that its small words betray, `script` for other letters.
    `chars`: of the text as it was asked; `sentences`; `bare`: words without the politeness at the head.
    """

    words: tuple[str, ...]
    content: tuple[str, ...]
    numbers: tuple[str, ...]
    negations: tuple[str, ...]
    negated: tuple[str, ...]
    directions: tuple[str, ...]
    roles: tuple[str, ...]
    order: tuple[str, ...]
    names: tuple[str, ...]
    kind: Ask
    wishes: frozenset[str]
    degrees: tuple[str, ...]
    persons: tuple[str, ...]
    quantifiers: tuple[str, ...]
    conditions: tuple[str, ...]
    modals: tuple[str, ...]
    tense: str
    times: tuple[str, ...]
    language: str
    chars: int
    sentences: int
    bare: int


def read(text: str) -> Reading:
    """Read a question. Deterministic; never raises."""
    found = tokens(text)
    spoken = [token for token in found if token.is_word]
    words = [token.text for token in spoken]
    counted = numbers(found)
    polite = stripped(words)
    places = [place for place, token in enumerate(found) if token.is_word]
    head = places[polite] if polite < len(places) else len(found)
    content = _content(found, counted.taken, head)
    carried = [
        counted.begins[place].replace(" ", "_") if place in counted.begins else word
        for place, word in enumerate(content)
    ]
    order, phrases = roles([token.text for token in found[head:]], carried[head:])
    negations, negated = _negations(found, content)
    bare = len(words) - polite
    return Reading(
        words=tuple(words),
        content=tuple(word for word in content if word is not None),
        numbers=counted.numbers,
        negations=negations,
        negated=negated,
        directions=tuple(
            _direction(word) for word in words if (word in ROLES and ROLES[word] != "~") or word in PARTICLES
        ),
        roles=phrases,
        order=order,
        names=_names(
            text, [token for place, token in enumerate(found) if token.is_word and place not in counted.taken]
        ),
        kind=ask_of(words),
        wishes=wishes(words),
        degrees=tuple(degree for word in words if (degree := degree_of(word))),
        persons=tuple(_PERSONS[word] for word in words[len(words) - bare :] if word in _PERSONS),
        quantifiers=tuple(QUANTIFIERS[word] for word in words if word in QUANTIFIERS),
        conditions=tuple(
            CONDITIONS[word] for place, word in enumerate(words) if word in CONDITIONS and (place or word != "when")
        ),
        modals=tuple(MODALS[word] for word in words[len(words) - bare :] if word in MODALS),
        tense=_tense(words[len(words) - bare :]),
        times=tuple(_TENSE_WORDS[word] for word in words if word in _TENSE_WORDS),
        language=_language(words),
        chars=len(text),
        sentences=sum(token.first for token in found),
        bare=bare,
    )


def _content(found: Sequence[Token], taken: frozenset[int], head: int) -> list[str | None]:
    """Give the stem of each token that carries meaning. What only frames a question counts where nothing else is left."""
    kept = [None if place in taken or place < head else _carried(found, place) for place in range(len(found))]
    if any(kept):
        return kept
    return [
        stem(token.text) if token.text in FRAMES and place not in taken else None for place, token in enumerate(found)
    ]


def _carried(found: Sequence[Token], place: int) -> str | None:
    token = found[place]
    text = token.text
    if not token.is_word:
        return text if text in _OPERATORS or _between_numbers(found, place) or _is_picture(text) else None
    if text in _NOUNS_TOO and place and found[place - 1].text in ARTICLES:
        return stem(text)
    if text in SMALL_WORDS or text in NEGATIONS or (text in _THANKS and place >= len(found) - 4):
        return None
    return stem(text)


def _between_numbers(found: Sequence[Token], place: int) -> bool:
    behind = place + 1 < len(found) and found[place + 1].text[0].isdecimal()
    return found[place].text == "-" and behind


def _is_picture(mark: str) -> bool:
    """Tell an emoji or another sign with a meaning of its own: above what punctuation there is."""
    return ord(mark) > 0x2190 and not 0x3000 <= ord(mark) <= 0x303F and not 0xFE00 <= ord(mark) <= 0xFFEF


def _negations(found: Sequence[Token], content: Sequence[str | None]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    kinds: list[str] = []
    scopes: list[str] = []
    following: str | None = None
    for place in range(len(found) - 1, -1, -1):
        word = found[place].text
        kind = _negation(found, place)
        if kind is not None:
            kinds.append(kind)
            scopes.append(f"{kind} {following or ''}".strip())
        if content[place] is not None:
            following = content[place]
        elif word in ".?!;":
            following = None
    return tuple(reversed(kinds)), tuple(reversed(scopes))


def _negation(found: Sequence[Token], place: int) -> str | None:
    word = found[place].text
    after = found[place + 1].text if place + 1 < len(found) else ""
    if word == "anything" and after == "but":
        return "except"
    if word == "other" and after == "than":
        return "except"
    if word in NEGATIONS:
        if (word == "rather" and after != "than") or (word == "no" and after in (".", "#") and place + 2 < len(found)):
            return None
        return NEGATIONS[word]
    if not word.isascii() or word in (
        "nie",
        "nicht",
        "kein",
        "keine",
        "ohne",
        "sans",
        "jamais",
        "nunca",
        "sin",
        "nada",
    ):
        return "not" if any(word in negating for negating in FOREIGN_NEGATIONS.values()) else None
    return None


def _direction(word: str) -> str:
    role = ROLES.get(word, word)
    return word if role == "~" else role


def degree_of(word: str) -> str | None:
    """Give the comparison in a word: `most high` for `highest`, `more` for `more`; None where there is none."""
    if word in _DEGREES:
        return _DEGREES[word]
    for ending, degree in (("iest", "most"), ("est", "most"), ("ier", "more"), ("er", "more")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            base = word[: -len(ending)]
            for adjective in (base + "y" if ending[0] == "i" else base, base + "e", base[:-1]):
                if adjective in _ADJECTIVES:
                    return f"{degree} {adjective}"
    return None


def _tense(words: Sequence[str]) -> str:
    if any(
        word in _FUTURE or (word == "going" and "to" in words[place + 1 : place + 2])
        for place, word in enumerate(words)
    ):
        return "future"
    if any(
        word in _PAST or (word == "used" and words[place + 1 : place + 2] == ["to"] and not {"is", "are"} & set(words))
        for place, word in enumerate(words)
    ):
        return "past"
    early = next(
        (
            word
            for word in words[:4]
            if word in _PRESENT or word in PAST_FORMS or (word.endswith("ed") and len(word) > 4)
        ),
        "",
    )
    return "past" if early and early not in _PRESENT else "present"


def _names(text: str, spoken: Sequence[Token]) -> tuple[str, ...]:
    lettered = [token for token in spoken if token.raw[:1].isalpha() and len(token.raw) > 1]
    capitals = sum(token.raw[0].isupper() for token in lettered)
    shouted = text.isupper() or (len(lettered) > 3 and capitals > _MOST_CAPITALS * len(lettered))
    found = [token.text for token in spoken if _is_name(token, shouted=shouted)]
    found.extend(f'"{quoted.strip().lower()}"' for quoted in _QUOTED.findall(text))
    return tuple(found)


def _is_name(token: Token, *, shouted: bool) -> bool:
    raw = token.raw
    if len(raw) < 2:
        return False
    inner = any(char.isupper() for char in raw[1:])
    if any(char in "._@/#:" for char in raw) or (inner and any(char.islower() for char in raw)):
        return not raw[0].isdecimal()
    if any(char.isdecimal() for char in raw):
        return raw[0].isalpha()
    if shouted:
        return False
    if inner:
        return True
    return raw[0].isupper() and not token.first and token.text not in SMALL_WORDS


_FOREIGN = {code: words - ENGLISH_WORDS for code, words in LANGUAGE_WORDS.items()}


def _language(words: Sequence[str]) -> str:
    """Tell the language by its small words; a text that has none of any is taken for English."""
    letters = [char for word in words for char in word if char.isalpha()]
    others = sum(not _is_latin(char) for char in letters)
    if others * 3 > len(letters):
        return SCRIPT
    english = sum(word in ENGLISH_WORDS for word in words)
    scores = {code: sum(word in small for word in words) for code, small in _FOREIGN.items()}
    best = max(scores, key=lambda code: scores[code])
    accented = any(not char.isascii() for char in letters)
    if scores[best] > english and (scores[best] > 1 or accented or len(words) > 2):
        return best
    return ENGLISH if english or not accented else "unknown"


def _is_latin(char: str) -> bool:
    return ord(char) < 0x250 or 0x1E00 <= ord(char) <= 0x1EFF or 0x2C60 <= ord(char) <= 0x2C7F
