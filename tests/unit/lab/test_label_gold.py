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
        ("The answer is 15 + 27 = 42.", "42"),
        ("Answer: 6*7 = 42", "42"),
        ("The answer is 15 + 27, which is 42.", "42"),
        ("The answer is 42, since 6 + 36 = 42 and 6 is even.", "42"),
        ("The answer is 42. I checked it: 42 = 40 + 2.", "42"),
        ("The answer is 42 because x = 3.", "42"),
        ("The answer is not 41, it is 42.", "42"),
        ("The answer is not 41 but 42.", "42"),
        ("**Final answer:** $1,234", "1234"),
        (r"So \boxed{\frac{1}{2}}.", "1/2"),
        (r"So \boxed{\frac{1}{2}}.", "0.5"),
        (r"\boxed{\text{Paris}}", "Paris"),
        (r"\boxed{6 \cdot 7 = 42}", "42"),
        (r"\boxed{-\dfrac{3}{4}}", "-3/4"),
        ("The capital is Paris", "Paris"),
        ("Let me think. The capital of France is Paris.", "Paris"),
        ("The capital is **Paris**.", "paris"),
        ("The answer is not London, it is Paris.", "Paris"),
        ("The answer is not B, it is C", "C"),
        ("The answer is not B but C.", "C"),
        ("The answer is not B. It is C.", "C"),
        ("The answer is A.", "A"),
        ("The final answer is **C**, and option B is wrong.", "C"),
        ("**Answer:** (d)", "D"),
        ("The result is 10 - 3 = 7 apples.", "7"),
        ("#### 15 + 27 = 42", "42"),
        ("Answer: 42 (not 43)", "42"),
        ("The answer is 3.5.", "3.5"),
        ("The answer is A, since it is a sum.", "A"),
        ("The answer is a matter of counting.\nB", "B"),
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
        ("The answer is 15 + 27 = 42.", "15"),
        ("The answer is not 42, it is 41.", "42"),
        ("The answer is not 42.", "42"),
        ("The answer is not B, it is C", "B"),
        ("The answer is a matter of counting.", "A"),
        ("The capital is not Paris", "Paris"),
        ("Some think that it is Paris", "Paris"),
        ("The capital isn't what you think, and I doubt that it is Paris", "Paris"),
        (r"\boxed{\frac{1}{2}}", "1"),
    ],
)
def test_wrong_answers(answer: str, gold: str) -> None:
    """A mention is no answer."""
    assert not matches(answer, gold)
