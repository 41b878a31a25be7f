"""What is taken back of what outcomes have taught: exactly that, as if it had never been said."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.outcomes import Terms
from dispatcher.router.lessons import MOST_KEPT, Lessons
from dispatcher.routing.feedback import Learned, Outcome, Source, changed, heard

UNIT = st.floats(0.0, 1.0)
TERMS = st.builds(Terms, UNIT, UNIT, UNIT)
OUTCOMES = st.builds(
    Outcome,
    source=st.sampled_from(Source),
    reward=UNIT,
    chosen=TERMS,
    rival=st.none() | TERMS,
    strong=st.none() | st.booleans(),
)
STEPS = st.lists(OUTCOMES | st.none(), max_size=60)
"""None: what was heard is applied."""


def said(reward: float = 0.0) -> Outcome:
    return Outcome(source=Source.USER, reward=reward, chosen=Terms(0.5, 0.9, 0.4), rival=Terms(0.5, 0.5, 0.8))


def taught(lessons: Lessons, steps: list[Outcome | None]) -> list[int]:
    """Have it hear and apply; gives the numbers of the outcomes."""
    numbers, said = count(), []
    for step in steps:
        number = next(numbers)
        if step is None:
            lessons.change(number)
        else:
            lessons.hear(number, step)
            said.append(number)
    return said


def learned_from(steps: list[Outcome | None], learned: Learned | None = None) -> Learned:
    learned = learned or Learned()
    for step in steps:
        learned = changed(learned)[0] if step is None else heard(learned, step)
    return learned


@given(steps=STEPS, which=st.data())
def test_what_is_taken_back_is_as_if_it_had_never_been(steps: list[Outcome | None], which: st.DataObject) -> None:
    """Whatever came before and behind it, applied or not; to the last digit. A change tells what there was before and is now."""
    lessons = Lessons()
    numbers = taught(lessons, steps)
    gone = which.draw(st.sets(st.sampled_from(numbers))) if numbers else set[int]()
    before = lessons.learned
    assert all(lessons.forget(number) for number in gone)
    change = lessons.change(10_000)
    left = [step for number, step in enumerate(steps) if number not in gone]

    assert learned_from([*left, None]) == lessons.learned
    assert (before, lessons.learned) == ((before, before) if change is None else (change.before, change.after))


def test_a_factor_that_thumbs_have_moved_is_moved_back() -> None:
    """Fifteen that agree move it, and with those taken back it stands where it stood, whatever it was read from."""
    base = Learned(usual=0.8, logs=(0.1, 0.0, -0.1))
    lessons = Lessons(base)
    thumbs = taught(lessons, [said(), None] * 15)
    moved = lessons.learned.logs
    for number in thumbs:
        lessons.forget(number)
    change = lessons.change(10_000)

    assert (True, base) == (moved[1] < 0.0, lessons.learned)
    assert change is not None
    assert change.moved > 0.0
    assert lessons.change(10_001) is None


def test_what_is_too_long_ago_is_not_taken_back() -> None:
    """So much is kept; what is older stays in what was learned from it."""
    lessons = Lessons()
    numbers = taught(lessons, [said(number % 2) for number in range(MOST_KEPT + 1)])
    before = lessons.learned

    assert [False, True, False] == [lessons.forget(number) for number in (numbers[0], numbers[1], numbers[1])]
    lessons.change(10_000)
    assert before.outcomes - 1 == lessons.learned.outcomes
