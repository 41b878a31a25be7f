"""The hard rules for when no verifier is trained: two questions are the same where nothing that can be read differs.
They know no answer and no chance: what they can't explain is another question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from dispatcher.cache.guard.judge import Judgement
from dispatcher.cache.guard.kinds import Ask
from dispatcher.cache.guard.opposites import opposed
from dispatcher.cache.guard.reading import ENGLISH, Reading, degree_of, read
from dispatcher.cache.guard.roles import SMALL_WORDS
from dispatcher.cache.guard.synonyms import is_slip, meaning
from dispatcher.cache.guard.together import Alike
from dispatcher.cache.guard.words import stem, word_set

LEAST_SIMILARITY = {"static": 0.80, "minilm": 0.80, "reference": 0.80}
"""The cosine of each tier's vectors below which no pair is judged; `drover lab cache-eval` measures them."""

_ALIKE = (
    {Ask.HOW_TO, Ask.HOW},
    {Ask.WHAT, Ask.DO},
    {Ask.WHICH, Ask.DO},
)
_BESIDE = {
    Ask.HOW_TO: "step steps method procedure process instruction instructions command follow good best easy easiest proper correct",
    Ask.HOW: "process method",
    Ask.WHY: "reason cause make fact because",
    Ask.WHEN: "year date time day",
    Ask.WHERE: "place location",
    Ask.WHO: "person",
    Ask.HOW_MUCH: "number amount quantity price cost",
    Ask.HOW_LONG: "time duration",
    Ask.HOW_FAR: "distance",
    Ask.WHAT: "definition concept term",
    Ask.DO: "format",
}  # fmt: skip
"""Words that only say again what kind of question it is."""

_BESIDE_STEMS = {kind: frozenset(map(stem, words.split())) for kind, words in _BESIDE.items()}
_HEAD_VERBS = frozenset(map(stem, ("give", "list", "name", "return", "show")))
"""Of an order they say no more than `what are`, where they stand first."""

_OF_WORDS = frozenset(
    map(
        stem,
        word_set(
            "plural tense synonym antonym opposite pronounce pronunciation spell spelling spelled rhyme anagram syllable"
            " translate translation etymology grammar grammatical capitalize hyphen say word adjective adverb noun verb homophone"
            " abbreviation acronym conjugate palindrome vowel consonant stand"
        ),
    )
)
"""Who asks about words asks about these very ones: no other form of one, and none that says the same, is meant."""

_PARTICLES = frozenset(
    ["up", "down", "off", "out", "away", "back", "over", "under", "before", "after", "above", "below"]
)
_LOOSE_MODALS = {"would": "can", "will": "can"}
_ANY_WAY = frozenset([Ask.HOW_TO, Ask.HOW])
_BEST_WAY = frozenset(["most good", "more good", "most easy", "most simple"])

_OWNERS = {"my": "1", "mine": "1", "our": "1", "your": "2", "yours": "2"}

Objection = Callable[[Reading, Reading], str | None]


class RuleJudge:
    """Judges by rules alone. Deterministic; the order of the two questions makes no difference to `same`. It keeps nothing between
    two questions: a reading that is there already would tell what others asked."""

    def __init__(self, least_similarity: float = LEAST_SIMILARITY["static"]) -> None:
        """Judge pairs whose vectors have a cosine of `least_similarity` or more."""
        self._least = least_similarity

    @property
    def name(self) -> str:
        """Say what it is."""
        return "rules"

    @property
    def least_similarity(self) -> float:
        """Give the cosine below which no pair is worth judging."""
        return self._least

    @property
    def neighbours(self) -> int:
        """Give how many of the nearest entries it wants to see beside the one that is judged."""
        return 1

    def judge(self, asked: str, kept: str, similarity: float) -> Judgement:
        """Judge whether the answer to `kept` answers `asked`."""
        return self.judge_together(asked, [Alike(question=kept, similarity=similarity)], most=1)[0]

    def judge_together(self, asked: str, near: Sequence[Alike], *, most: int) -> list[Judgement]:
        """Judge the first `most` of the nearest entries, each for itself."""
        mine = read(asked)
        return [self._judged(mine, one) for one in near[:most]]

    def _judged(self, mine: Reading, other: Alike) -> Judgement:
        if not other.similarity >= self._least:
            return Judgement(same=False, why=f"not alike enough: {other.similarity:.3f} is below {self._least:.3f}")
        why = objection(mine, read(other.question))
        return Judgement(same=why is None, why=why or "nothing that can be read differs")


def objections(one: Reading, other: Reading) -> dict[str, str]:
    """Name all in which two questions differ, by rule of `RULES`."""
    found = zip(RULES, (rule(one, other) for rule in _RULES), strict=True)
    return {name: why for name, why in found if why}


def objection(one: Reading, other: Reading) -> str | None:
    """Name the first thing in which two questions differ, or None. Symmetric, but for the order in which words are named."""
    return next((why for rule in _RULES if (why := rule(one, other))), None)


def _language(one: Reading, other: Reading) -> str | None:
    if one.language == other.language == ENGLISH or one.words == other.words:
        return None
    return "not in English, and not word for word the same"


def _numbers(one: Reading, other: Reading) -> str | None:
    return _unlike("numbers", one.numbers, other.numbers)


def _negations(one: Reading, other: Reading) -> str | None:
    return _unlike("negations", one.negations, other.negations)


def _kinds(one: Reading, other: Reading) -> str | None:
    if one.kind is other.kind or any({one.kind, other.kind} == pair for pair in _ALIKE):
        return None
    return f"another kind of question: {one.kind} and {other.kind}"


def _wishes(one: Reading, other: Reading) -> str | None:
    return _unlike("wishes for the answer", one.wishes, other.wishes)


def _turned(one: Reading, other: Reading) -> str | None:
    mine, theirs = set(one.content), set(other.content)
    for word in one.content:
        for against in other.content:
            if word not in theirs and against not in mine and opposed(word, against):
                return f"the opposite: {word} and {against}"
    return None


def _degrees(one: Reading, other: Reading) -> str | None:
    return _unlike("degrees", _degrees_of(one), _degrees_of(other))


def _degrees_of(reading: Reading) -> list[str]:
    spared = _BEST_WAY if reading.kind is Ask.HOW_TO else frozenset[str]()
    parts = (degree.split(" ", 1) for degree in reading.degrees if degree not in spared)
    return [" ".join([part[0], *(meaning(stem(word)) for word in part[1:])]) for part in parts]


def _quantifiers(one: Reading, other: Reading) -> str | None:
    return _unlike("quantities", one.quantifiers, other.quantifiers)


def _conditions(one: Reading, other: Reading) -> str | None:
    return _unlike("conditions", one.conditions, other.conditions)


def _modals(one: Reading, other: Reading) -> str | None:
    if one.kind in _ANY_WAY and other.kind in _ANY_WAY:
        return None
    return _unlike("what must, may or can be", _modals_of(one), _modals_of(other))


def _modals_of(reading: Reading) -> list[str]:
    return [modal for modal in reading.modals if modal not in _LOOSE_MODALS]


def _tenses(one: Reading, other: Reading) -> str | None:
    if one.tense == other.tense and one.times == other.times:
        return None
    return f"another time: {' '.join((one.tense, *one.times))} and {' '.join((other.tense, *other.times))}"


def _persons(one: Reading, other: Reading) -> str | None:
    mine, theirs = _persons_of(one), _persons_of(other)
    exchanged = mine != theirs and set(mine) == set(theirs)
    apart = bool(mine and theirs) and not set(mine) & set(theirs)
    return "another who" if exchanged or apart or _owned_by_another(one, other) else None


def _owned_by_another(one: Reading, other: Reading) -> bool:
    """Tell `my name` from `your name`; where there is hardly a word but that one, whose it is must be said alike."""
    mine, theirs = ({_OWNERS[word] for word in side.words if word in _OWNERS} for side in (one, other))
    if len(one.content) < 2:
        return mine | set(_persons_of(one)) != theirs | set(_persons_of(other))
    return bool(mine and theirs) and not mine & theirs


def _persons_of(reading: Reading) -> list[str]:
    """Give who is spoken of, without repetitions. `how do I`, `how do you` and `how does one` ask the same."""
    persons = reading.persons[1:] if reading.kind in _ANY_WAY else reading.persons
    return [person for place, person in enumerate(persons) if not place or persons[place - 1] != person]


def _small_words(one: Reading, other: Reading) -> str | None:
    """Small words that change places with one another: a cat in the box is not on it, and `or` is not `and`."""
    for here, there in (("in", "on"), ("and", "or")):
        for mine, theirs in ((one.words, other.words), (other.words, one.words)):
            if here in mine and there not in mine and there in theirs and here not in theirs:
                return f"other small words: {here} and {there}"
    return None


def _spellings(one: Reading, other: Reading) -> str | None:
    if not _OF_WORDS & {*one.content, *other.content}:
        return None
    return _unlike("spellings", *([word for word in side.words if word not in SMALL_WORDS] for side in (one, other)))


def _particles(one: Reading, other: Reading) -> str | None:
    return _unlike("directions", *([word for word in side.directions if word in _PARTICLES] for side in (one, other)))


def _names(one: Reading, other: Reading) -> str | None:
    for mine, theirs in ((one, other), (other, one)):
        for name in mine.names:
            if not (_is_quoted_there(name, theirs) if name.startswith('"') else _is_named_there(name, theirs)):
                return f"another name: {name}"
    return None


def _is_quoted_there(name: str, reading: Reading) -> bool:
    quoted = [other for other in reading.names if other.startswith('"')]
    return name in quoted or not quoted


def _is_named_there(name: str, reading: Reading) -> bool:
    if name in SMALL_WORDS:
        return name in reading.names
    return name in reading.words or meaning(stem(name)) != stem(name) or _spelled(name, reading)


def _spelled(name: str, reading: Reading) -> bool:
    """Tell whether a name stands there in another writing: `8GB` for `8 GB`, `WHAT` for `what is`."""
    return any(name.rstrip("s") == word.rstrip("s") for word in reading.words) or any(char.isdecimal() for char in name)


def _contents(one: Reading, other: Reading) -> str | None:
    lacking, added = _difference(one, other)
    for word in list(lacking):
        match = next((slip for slip in added if is_slip(word, slip)), None)
        if match is not None:
            lacking.remove(word)
            added.remove(match)
    if not lacking and not added:
        return None
    return f"other words: {_named(lacking)} and {_named(added)}"


def _difference(one: Reading, other: Reading) -> tuple[list[str], list[str]]:
    mine, theirs = Counter(_meanings(one)), Counter(_meanings(other))
    return list((mine - theirs).elements()), list((theirs - mine).elements())


def _meanings(reading: Reading) -> list[str]:
    return _said_of(reading.content, reading)


def _said_of(stems: Sequence[str], reading: Reading) -> list[str]:
    ordered = (
        reading.kind in (Ask.DO, Ask.WHAT)
        and bool(stems)
        and stems[0] in _HEAD_VERBS
        and stem(_first(reading)) == stems[0]
    )
    return [said for word in stems[ordered:] if (said := _said(word, reading.kind)) is not None]


def _first(reading: Reading) -> str:
    """Give the first word behind the politeness."""
    return reading.words[len(reading.words) - reading.bare]


def _said(word: str, kind: Ask) -> str | None:
    """Give what a stem says, or None where it only repeats the kind of question."""
    if word in _BESIDE_STEMS.get(kind, ()):
        return None
    degree = degree_of(word)
    if degree is None:
        return meaning(word)
    head, _, adjective = degree.partition(" ")
    return f"{head} {meaning(stem(adjective))}".strip()


def _structure(one: Reading, other: Reading) -> str | None:
    mine, theirs = _shape(one), _shape(other)
    if mine == theirs:
        return None
    if mine[1] == theirs[1] and _same_line(one, other):
        return None
    return "the same words in other roles"


def _shape(reading: Reading) -> tuple[list[str], list[str], list[str]]:
    """Give the core in order, the phrases of a clear direction, and the others."""
    core = _said_of(reading.order, reading)
    strong: list[str] = []
    weak: list[str] = []
    for phrase in reading.roles:
        label, _, words = phrase.partition(":")
        said = " ".join(filter(None, (_said(word, reading.kind) for word in words.split())))
        if said:
            (weak if label == "~" else strong).append(f"{label}:{said}")
    return core, sorted(strong), sorted(weak)


def _same_line(one: Reading, other: Reading) -> bool:
    """Tell whether the words stand in the same order, whatever small words are between them."""
    mine, theirs = _meanings(one), _meanings(other)
    return (
        one.numbers == other.numbers
        and len(mine) == len(theirs)
        and all(word == against or is_slip(word, against) for word, against in zip(mine, theirs, strict=True))
    )


def _unlike(what: str, mine: Iterable[str], theirs: Iterable[str]) -> str | None:
    here, there = Counter(mine), Counter(theirs)
    if here == there:
        return None
    return f"other {what}: {_named((here - there).elements())} and {_named((there - here).elements())}"


def _named(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)[:4]) or "none"


_RULES: tuple[Objection, ...] = (
    _language,
    _numbers,
    _negations,
    _kinds,
    _wishes,
    _turned,
    _degrees,
    _quantifiers,
    _conditions,
    _modals,
    _tenses,
    _particles,
    _persons,
    _small_words,
    _spellings,
    _names,
    _contents,
    _structure,
)

RULES = tuple(rule.__name__.lstrip("_") for rule in _RULES)
"""The rules by name, in the order in which they are asked."""
