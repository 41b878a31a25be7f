"""The rules, on the pairs that they were made with, and that they judge any two texts alike both ways."""

from __future__ import annotations

import json
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.cache.guard.judge import Judge
from dispatcher.cache.guard.refusals import unfit
from dispatcher.cache.guard.rules import LEAST_SIMILARITY, RuleJudge

MOST_SERVED = 0.02
LEAST_KEPT = 0.75
"""Bounds of the shares on the train part, which are 0 of 119 and 99 of 111 as this is written."""

WORDS = st.sampled_from(
    [
        "who",
        "bit",
        "the",
        "dog",
        "man",
        "from",
        "to",
        "paris",
        "london",
        "5",
        "km",
        "not",
        "is",
        "how",
        "do",
        "i",
        "convert",
        "in",
        "french",
        "of",
        "and",
        "by",
        "was",
        "written",
        "best",
    ]
)
QUESTIONS = st.lists(WORDS, max_size=9).map(" ".join) | st.text(max_size=60)


def pairs(part: str) -> list[dict[str, object]]:
    """Read the pairs of one part."""
    text = (resources.files("dispatcher.lab") / "cache" / "pairs" / "swaps.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return [row for row in rows if row["part"] == part]


def share_served(*, same: bool) -> float:
    """Give the share of the train pairs of one label that the rules serve, whatever their similarity."""
    judge = RuleJudge(0.0)
    wanted = [(str(row["a"]), str(row["b"])) for row in pairs("train") if row["same"] is same]
    served = [judge.judge(a, b, 1.0).same and unfit(a) is None and unfit(b) is None for a, b in wanted]
    return sum(served) / len(wanted)


def test_swaps_are_not_served() -> None:
    """Of pairs with something swapped hardly any passes."""
    assert share_served(same=False) <= MOST_SERVED


def test_paraphrases_are_served() -> None:
    """Most of what says the same passes: nobody wins by refusing all."""
    assert share_served(same=True) >= LEAST_KEPT


def test_there_are_as_many_pairs_as_promised() -> None:
    """At least 300 swaps in the part that nothing is made with, 400 in all, and 200 paraphrases."""
    test, train = pairs("test"), pairs("train")
    swaps = sum(not row["same"] for row in test)
    assert swaps >= 300
    assert swaps + sum(not row["same"] for row in train) >= 400
    assert sum(row["same"] is True for row in [*test, *train]) >= 200


def test_no_pair_stands_in_both_parts() -> None:
    """The parts share no question."""
    texts = [{row[side] for row in pairs(part) for side in ("a", "b")} for part in ("train", "test")]
    assert set() == texts[0] & texts[1]


@pytest.mark.parametrize(
    ("asked", "kept", "why"),
    [
        ("How far is 5 km?", "How far is 6 km?", "other numbers: 5 km and 6 km"),
        ("Can birds fly?", "Can't birds fly?", "other negations: none and not"),
        ("Why did Rome fall?", "When did Rome fall?", "another kind of question: why and when"),
        ("List the gases as JSON", "List the gases as CSV", "other wishes for the answer: format:json and format:csv"),
        ("How do I lock the door?", "How do I unlock the door?", "the opposite: lock and unlock"),
        ("Which lake is the deepest?", "Which lake is the largest?", "other degrees: most deep and most larg"),
        ("Are all snakes blind?", "Are some snakes blind?", "other quantities: all and some"),
        ("Must I register?", "May I register?", "what must, may or can be"),
        ("How tall is Etna?", "How tall is Teide?", "another name: etna"),
        ("How do I cook soup?", "How do I freeze soup?", "other words: cook and freez"),
        ("Did Carthage attack Rome?", "Did Rome attack Carthage?", "the same words in other roles"),
        ("Was Pluto a planet?", "Is Pluto a planet?", "another time: past and present"),
        ("Do you love me?", "Do I love you?", "another who"),
        ("What is your age limit?", "What is my age limit?", "another who"),
        ("Is the cat in the box?", "Is the cat on the box?", "other small words: in and on"),
        ("What is the plural of mouse?", "What is the plural of mice?", "other spellings: mouse and mice"),
        ("Can I use a 5 V plug for 12 V?", "Can I use a 12 V plug for 5 V?", "the same words in other roles"),
        ("How many live in the US?", "How many live in us?", "another name: us"),
        ("Wo ist der Bahnhof?", "Wo ist der Flughafen?", "not in English, and not word for word the same"),
    ],
)
def test_the_first_objection_is_named(asked: str, kept: str, why: str) -> None:
    """The reason says what differs, and of the texts nothing else."""
    judgement = RuleJudge(0.5).judge(asked, kept, 0.99)
    assert not judgement.same
    assert why in judgement.why


def test_below_the_threshold_nothing_is_the_same() -> None:
    """Even a question and itself, where their vectors say otherwise."""
    judgement = RuleJudge(0.9).judge("How tall is Etna?", "How tall is Etna?", 0.89)
    assert (False, "not alike enough: 0.890 is below 0.900") == (judgement.same, judgement.why)


def test_a_similarity_that_is_no_number_is_not_enough() -> None:
    """A broken vector never serves."""
    assert not RuleJudge(0.5).judge("How tall is Etna?", "How tall is Etna?", float("nan")).same


def test_the_rules_are_a_judge_with_a_threshold_for_each_tier() -> None:
    """They fit the protocol; the tiers with vectors have a threshold each."""
    judge: Judge = RuleJudge(LEAST_SIMILARITY["minilm"])
    assert ("rules", LEAST_SIMILARITY["minilm"]) == (judge.name, judge.least_similarity)
    assert {"static", "minilm", "reference"} == set(LEAST_SIMILARITY)


@given(QUESTIONS, QUESTIONS)
def test_judging_is_total_symmetric_and_deterministic(one: str, other: str) -> None:
    """Any two texts are judged, and the same whichever was kept."""
    judge = RuleJudge(0.0)
    judgement = judge.judge(one, other, 0.9)
    assert judgement == RuleJudge(0.0).judge(one, other, 0.9)
    assert judgement.same is judge.judge(other, one, 0.9).same


@given(QUESTIONS)
def test_a_question_is_the_same_as_itself(question: str) -> None:
    """Nothing differs from itself."""
    assert RuleJudge(0.0).judge(question, question, 1.0).same
