"""When an answer counts as right."""

from __future__ import annotations

import pytest

from dispatcher.lab.label.gold import matches


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("She pays 3 * 14 = 42. The answer is 42.", "42"),
        ("so 1,234.50 dollars in all", "1234.5"),
        ("He has 18 eggs.\n#### 18", "9 + 9 = 18\n#### 18"),
        ("The answer is $70,000, which leaves 3 days.", "70000"),
        (r"Hence \boxed{3/4} of 12 pies.", "0.75"),
        ("It is 25%", "0.25"),
        ("-7", "-7"),
        ("The answer is (C), not B.", "C"),
        ("B) Paris", "B"),
        ("Option D is right. So: answer: D", "d"),
        ("Paris.", "paris"),
        ("The capital?\nThe Eiffel Tower", "Eiffel tower"),
        ("Final answer: the  blue whale!", "blue whale"),
    ],
)
def test_right_answers(answer: str, gold: str) -> None:
    """Numbers by value where the conclusion stands, letters of a choice, words without case and signs."""
    assert matches(answer, gold)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("The answer is 43, not 42.", "42"),
        ("", "42"),
        ("no idea", "42"),
        ("It is 420", "42"),
        ("It is 4.2", "42"),
        ("The answer is (C).", "B"),
        ("A great question! Bananas.", "B"),
        ("I can't say that it is Paris or London", "Paris"),
        ("", "Paris"),
        ("1/0", "0"),
    ],
)
def test_wrong_answers(answer: str, gold: str) -> None:
    """A mention is no answer."""
    assert not matches(answer, gold)
