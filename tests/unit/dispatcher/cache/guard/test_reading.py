"""What is read off a question, feature by feature, and that any text can be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.cache.guard import opposites
from dispatcher.cache.guard.kinds import Ask
from dispatcher.cache.guard.opposites import opposed, opposites_of
from dispatcher.cache.guard.reading import read
from dispatcher.cache.guard.synonyms import is_slip, meaning
from dispatcher.cache.guard.words import stem

MOST_CHARS = 10_000
HOSTILE = [
    "a-",
    '"',
    '"a',
    "1,",
    "1.",
    "x of y ",
    "b and a ",
    "hundred and one ",
    "hundred ",
    "can you tell me ",
    "n't'",
    "'s",
    "a's",
    "is by ",
    "to ",
    "from a to ",
    "\ufdfa",
    "\U0001f600",
    "²①٣",
    "v1.2 ",
    "\ud800",
    "\x00",
    "((((",
    "+1 ",
    "1-2-",
    "a@a.",
    "AB12 ",
    "if when ",
]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("a run of 5 km", ("5 km",)),
        ("a run of five kilometres", ("5 km",)),
        ("5km", ("5 km",)),
        ("1,000 euros", ("1000 eur",)),
        ("€1000", ("1000 eur",)),
        ("20% of 450", ("20 %", "450")),
        ("twenty-five percent", ("25 %",)),
        ("two hundred and five pages", ("205",)),
        ("3 million people", ("3000000 people",)),
        ("1.5k", ("1500",)),
        ("a dozen eggs", ("12",)),
        ("half a cup", ("1/2",)),
        ("twice as much", ("x2",)),
        ("Python 3.11", ("3.11",)),
        ("Python 3.10", ("3.10",)),
        ("at 10:30", ("10:30",)),
        ("the 2nd door", ("#2",)),
        ("the second door", ("#2",)),
        ("30 seconds", ("30 s",)),
        ("38.5 °C", ("38.5 c",)),
        ("38.5 degrees Celsius", ("38.5 c",)),
        ("World War II", ("2",)),
        ("which one is it", ()),
        ("one egg", ("1",)),
        ("5 - 3", ("5", "3")),
        ("٣ km", ("3 km",)),
    ],
)
def test_numbers_have_one_writing(text: str, numbers: tuple[str, ...]) -> None:
    """Digits, words, separators, units and signs of currencies give the same number."""
    assert numbers == read(text).numbers


@pytest.mark.parametrize(
    ("text", "negated"),
    [
        ("my card hasn't arrived", ("not arriv",)),
        ("my card has not arrived", ("not arriv",)),
        ("why can't I log in", ("not log",)),
        ("why cant I log in", ("not log",)),
        ("bread without yeast", ("without yeast",)),
        ("never eat raw beans", ("never eat",)),
        ("anything but jazz", ("except jazz",)),
        ("everyone except Bob", ("except bob",)),
        ("my card has arrived", ()),
    ],
)
def test_negations_are_read_with_what_they_negate(text: str, negated: tuple[str, ...]) -> None:
    """However a negation is written, it is found, with the word behind it."""
    assert negated == read(text).negated


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("How do I rename a tag?", Ask.HOW_TO),
        ("What is the way to rename a tag?", Ask.HOW_TO),
        ("What are the steps to rename a tag?", Ask.HOW_TO),
        ("how to rename a tag", Ask.HOW_TO),
        ("Is there a way to rename a tag?", Ask.HOW_TO),
        ("How does a tag work?", Ask.HOW),
        ("How many tags are there?", Ask.HOW_MUCH),
        ("How long does it take?", Ask.HOW_LONG),
        ("How tall is Etna?", Ask.HOW_DEGREE),
        ("What is a tag?", Ask.WHAT),
        ("Could you please explain what a tag is?", Ask.WHAT),
        ("Define entropy", Ask.WHAT),
        ("Why do cats purr?", Ask.WHY),
        ("What is the reason that cats purr?", Ask.WHY),
        ("When did the wall fall?", Ask.WHEN),
        ("In which year did the wall fall?", Ask.WHEN),
        ("Who wrote Faust?", Ask.WHO),
        ("By whom was Faust written?", Ask.WHO),
        ("Where is Ghent?", Ask.WHERE),
        ("Which river is long?", Ask.WHICH),
        ("Is lead heavy?", Ask.WHETHER),
        ("Can you list the gases?", Ask.DO),
        ("If it rains, what do I do?", Ask.WHAT),
        ("My card is lost", Ask.STATEMENT),
    ],
)
def test_the_kind_of_question_is_read_through_its_politeness(text: str, kind: Ask) -> None:
    """What is asked for is found, whatever stands before it."""
    assert kind is read(text).kind


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the capital of France", "France's capital"),
        ("flights from Paris to London", "flights to London from Paris"),
        ("In Python, how do I sort a list?", "How do I sort a list in Python?"),
        ("the difference between TCP and UDP", "the difference between UDP and TCP"),
        ("Was the dog bitten by the man?", "Did the man bite the dog?"),
        ("By whom was Faust written?", "Who wrote Faust?"),
    ],
)
def test_the_same_roles_in_another_order_read_the_same(one: str, other: str) -> None:
    """Possessives, phrases that moved, passives and lists have one canonical shape."""
    assert (read(one).order, read(one).roles) == (read(other).order, read(other).roles)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("flights from Paris to London", "flights from London to Paris"),
        ("Does a dog bite a man?", "Does a man bite a dog?"),
        ("replace tabs with spaces", "replace spaces with tabs"),
        ("subtract 5 from 12", "subtract 12 from 5"),
        ("Is lead denser than gold?", "Is gold denser than lead?"),
        ("Who did Henry divorce?", "Who divorced Henry?"),
    ],
)
def test_exchanged_roles_read_differently(one: str, other: str) -> None:
    """The same words with their roles exchanged have another shape."""
    assert (read(one).order, read(one).roles) != (read(other).order, read(other).roles)


def test_names_are_what_is_written_like_one() -> None:
    """Capitals inside a sentence, identifiers, files and quotations are names; the first word is none."""
    text = 'Does the Jetson run main.py, camelCase, GPIO or "hello world"?'
    assert ("jetson", "main.py", "camelcase", "gpio", '"hello world"') == read(text).names


def test_what_is_written_in_capitals_throughout_holds_no_names() -> None:
    """Shouting names nothing."""
    assert () == read("WHAT IS THE SPEED OF LIGHT").names


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("Explain tides in French", "language:french"),
        ("Sort a list in Rust", "code:rust"),
        ("List the gases as JSON", "format:json"),
        ("Explain tides in two sentences", "length:2 sentence"),
        ("Explain tides briefly", "manner:short"),
        ("Explain tides step by step", "manner:steps"),
    ],
)
def test_wishes_for_the_answer_are_read(text: str, wish: str) -> None:
    """Language, format, length and manner of the answer are wishes."""
    assert wish in read(text).wishes


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        ("the highest lake", ("most high",)),
        ("a cheaper car", ("more cheap",)),
        ("the worst way", ("most bad",)),
        ("a number", ()),
    ],
)
def test_degrees_are_read(text: str, degrees: tuple[str, ...]) -> None:
    """Comparatives and superlatives say of what they are one; other words in -er are none."""
    assert degrees == read(text).degrees


@pytest.mark.parametrize(
    ("text", "tense"),
    [
        ("Who ruled Rome?", "past"),
        ("Will it flood?", "future"),
        ("Is Pluto a planet?", "present"),
        ("What was Rome?", "past"),
    ],
)
def test_tenses_are_read(text: str, tense: str) -> None:
    """Past, present and future are told apart."""
    assert tense == read(text).tense


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the capital of France?", "en"),
        ("Was ist die Hauptstadt von Frankreich?", "de"),
        ("Quelle est la capitale de la France ?", "fr"),
        ("¿Cuál es la capital de Francia?", "es"),
        ("Какая столица Франции?", "script"),
        ("法国的首都是哪里", "script"),
        ("kubectl rollout restart", "en"),
        ("How do you say 'wo ist der Bahnhof' in English?", "en"),
        ("roll 6 sided die", "en"),
    ],
)
def test_what_is_not_english_says_so(text: str, language: str) -> None:
    """Other scripts and other languages are told, so that nobody takes their words for read."""
    assert language == read(text).language


@pytest.mark.parametrize(
    ("form", "base"),
    [
        ("cities", "city"),
        ("movies", "movie"),
        ("boxes", "box"),
        ("running", "run"),
        ("stopped", "stop"),
        ("written", "write"),
        ("children", "child"),
        ("organise", "organize"),
        ("colour", "color"),
    ],
)
def test_forms_of_a_word_share_a_stem(form: str, base: str) -> None:
    """Plurals, endings, irregular forms and spellings fold."""
    assert stem(base) == stem(form)


@pytest.mark.parametrize("word", ["news", "species", "bus", "during", "kubernetes", "analysis", "need", "string"])
def test_what_only_looks_like_a_form_is_kept(word: str) -> None:
    """An -s or -ing that is none is not cut off."""
    assert word == stem(word)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("buy", "sell"),
        ("encrypt", "decrypt"),
        ("lock", "unlock"),
        ("before", "after"),
        ("hypothyroidism", "hyperthyroidism"),
        ("legal", "illegal"),
    ],
)
def test_opposites_are_known_both_ways(one: str, other: str) -> None:
    """Of the table or by a prefix, and whichever comes first."""
    assert opposed(stem(one), stem(other))
    assert opposed(stem(other), stem(one))


def test_no_word_says_what_its_opposite_says() -> None:
    """The tables of opposites and of words that say the same don't contradict one another."""
    words = list(opposites._OPPOSITES)
    clashes = [(word, against) for word in words for against in opposites_of(word) if meaning(word) == meaning(against)]
    assert [] == clashes


def test_there_are_some_hundred_pairs_of_opposites() -> None:
    """The table is no token of one."""
    assert sum(len(opposites_of(word)) for word in opposites._OPPOSITES) // 2 > 500


@pytest.mark.parametrize(
    ("one", "other", "slip"),
    [
        ("temperature", "temprature", True),
        ("diference", "difference", True),
        ("nitrate", "nitrite", False),
        ("marital", "martial", False),
        ("morality", "mortality", False),
        ("form", "from", False),
    ],
)
def test_a_slip_is_no_other_word(one: str, other: str, slip: bool) -> None:
    """A letter left out of a long word is a slip; a wrong letter, and what is known to be confused, is another word."""
    assert slip is is_slip(one, other)


@given(st.text(max_size=400))
def test_any_text_can_be_read_and_reads_the_same_again(text: str) -> None:
    """Reading is total and deterministic."""
    assert read(text) == read(text)


@given(
    st.lists(st.sampled_from([*HOSTILE, "not", "hundred", "what", "of", "Paris", "12", " ", "by", "was"]), max_size=60)
)
def test_any_heap_of_what_is_read_can_be_read(parts: list[str]) -> None:
    """Whatever stands beside what: a number's parts, joints and small words in any order."""
    assert len("".join(parts)) == read("".join(parts)).chars


@pytest.mark.parametrize("part", HOSTILE)
@pytest.mark.timeout(60)
def test_long_hostile_texts_are_read(part: str) -> None:
    """Ten thousand characters of what is worst for a pattern are read; the time limit is a guard against hanging only."""
    assert MOST_CHARS == read((part * MOST_CHARS)[:MOST_CHARS]).chars
