"""What form of an answer is asked for: a language, a format, a length, for whom. It reads words, and knows no question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dispatcher.cache.guard.numbers import FIXED, SMALL, plain
from dispatcher.cache.guard.words import word_set

LANGUAGES = word_set(
    "english french german spanish italian portuguese dutch polish russian ukrainian czech swedish danish norwegian"
    " finnish turkish greek"
    " arabic hebrew hindi bengali urdu tamil chinese mandarin cantonese japanese korean vietnamese thai indonesian"
    " malay latin swahili"
    " hungarian romanian bulgarian serbian croatian slovak catalan basque irish welsh esperanto persian farsi"
    " tagalog swedish deutsch"
    " français español"
)
CODE = word_set(
    "python java javascript typescript rust go golang c c++ c# ruby php perl kotlin swift scala haskell lua r julia"
    " matlab bash shell sql zsh"
    " powershell dart elixir erlang clojure fortran cobol assembly verilog vhdl numpy pandas pytorch tensorflow"
    " react vue django flask"
    " node nodejs excel sheets postgres postgresql mysql sqlite mongodb ansible terraform docker kubernetes"
)
FORMATS = {
    "json": "json", "yaml": "yaml", "yml": "yaml", "csv": "csv", "xml": "xml", "markdown": "markdown",
    "html": "html", "latex": "latex",
    "table": "table", "tabular": "table", "bullet": "bullets", "bullets": "bullets", "bulleted": "bullets",
    "bulletpoints": "bullets",
    "diagram": "diagram", "regex": "regex", "haiku": "haiku", "limerick": "limerick", "poem": "poem",
    "rhyme": "poem", "emoji": "emoji",
    "emojis": "emoji", "pseudocode": "pseudocode", "flowchart": "diagram", "hex": "hex", "hexadecimal": "hex",
    "binary": "binary",
    "decimal": "decimal", "octal": "octal", "prose": "prose", "checklist": "checklist",
}  # fmt: skip
_LENGTHS = {
    "word": "word", "words": "word", "sentence": "sentence", "sentences": "sentence", "paragraph": "paragraph",
    "paragraphs": "paragraph",
    "line": "line", "lines": "line", "bullet": "bullet", "points": "point", "steps": "step",
    "characters": "character", "tweet": "tweet",
    "page": "page", "pages": "page", "liner": "line", "examples": "example", "example": "example",
    "syllables": "syllable",
}  # fmt: skip
_PLAIN = {
    "briefly": "short", "brief": "short", "short": "short", "shortly": "short", "concise": "short",
    "concisely": "short", "tldr": "short",
    "detail": "long", "details": "long", "detailed": "long", "depth": "long", "thoroughly": "long", "elaborate": "long",
    "eli5": "simple", "simply": "simple", "layman": "simple", "beginner": "simple", "beginners": "simple",
    "novice": "simple",
    "expert": "expert", "experts": "expert", "toddler": "simple", "pirate": "pirate", "formal": "formal",
    "formally": "formal",
    "informal": "informal", "informally": "informal", "polite": "formal", "casual": "informal",
    "uppercase": "uppercase",
    "lowercase": "lowercase", "verbatim": "verbatim", "stepbystep": "steps",
}  # fmt: skip
_BOUNDS = frozenset(["in", "under", "within", "using", "most", "with", "write", "give", "to", "than", "about"])
_CONTAINERS = frozenset(["in", "as", "into", "using", "with", "to", "for"])


def wishes(words: Sequence[str]) -> frozenset[str]:
    """Read the wishes: `language:french`, `code:python`, `format:json`, `length:3 sentence`, `manner:short`."""
    return frozenset(_wishes(words))


def _wishes(words: Sequence[str]) -> Iterator[str]:
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        after = words[place + 1] if place + 1 < len(words) else ""
        yield from _word(word, before, after, words[max(0, place - 3) : place])
        if word == "step" and words[place : place + 3] == ["step", "by", "step"]:
            yield "manner:steps"


def _word(word: str, before: str, after: str, head: Sequence[str]) -> Iterator[str]:
    if word in LANGUAGES and before in ("in", "into", "to", "from", "using"):
        yield f"language:{'from ' if before == 'from' else ''}{word}"
    if word in CODE and (
        before in ("in", "using", "with", "for") or after in ("code", "script", "function", "program", "regex", "query")
    ):
        yield f"code:{word}"
    if word in FORMATS and (_CONTAINERS & set(head)):
        yield f"format:{FORMATS[word]}"
    if word in _LENGTHS and (
        before.isdecimal() or before in SMALL or before in FIXED or before in ("a", "single", "few")
    ):
        count = {"a": "1", "single": "1"}.get(before, str(SMALL.get(before, FIXED.get(before, before))))
        if _BOUNDS & set(head):
            yield f"length:{plain(count)} {_LENGTHS[word]}"
    if word in _PLAIN and (
        word.endswith("ly")
        or word in ("eli5", "tldr", "elaborate")
        or {"in", "for", "like", "be", "more", "a", "to"} & set(head)
    ):
        yield f"manner:{_PLAIN[word]}"
