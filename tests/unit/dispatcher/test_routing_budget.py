"""A budget of strong calls is held, whatever the traffic does."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.routing.budget import MOST_DEBT, WINDOW, Budget, verdict

PRIOR = tuple(number / 100 for number in range(101))


def _run(budget: Budget, scores: list[float]) -> Budget:
    for score in scores:
        _, budget = budget.decide(score)
    return budget


@pytest.mark.parametrize("share", [0.1, 0.45, 0.9])
def test_the_share_is_held_on_traffic_like_training(share: float) -> None:
    """Two thousand prompts: the realised share is the wished one."""
    draw = random.Random(1)

    assert _run(Budget(share=share, prior=PRIOR), [draw.random() for _ in range(2000)]).realised == pytest.approx(
        share, abs=0.02
    )


def test_the_share_is_held_on_other_traffic() -> None:
    """Scores all above those of training would send every prompt to the strong model: only the start does."""
    draw = random.Random(2)
    budget = _run(Budget(share=0.3, prior=PRIOR), [5 + draw.random() for _ in range(2000)])

    assert budget.realised == pytest.approx(0.3, abs=0.03)


def test_the_share_is_held_while_traffic_drifts() -> None:
    """Scores that rise all the time stay ahead of their own quantile; the controller makes up for it."""
    draw = random.Random(3)
    scores = [number / 500 + draw.random() for number in range(3000)]

    assert _run(Budget(share=0.3), scores).realised == pytest.approx(0.3, abs=0.05)


def test_the_higher_scores_go_to_the_strong_model() -> None:
    """A budget is spent where the gain is: strong calls have the greater scores on average."""
    draw = random.Random(4)
    budget, strong, weak = Budget(share=0.3), [], []
    for _ in range(2000):
        score = draw.random()
        chosen, budget = budget.decide(score)
        (strong if chosen else weak).append(score)

    assert sum(strong) / len(strong) > 0.7
    assert sum(weak) / len(weak) < 0.45


@pytest.mark.parametrize(("share", "wanted"), [(0.0, 0), (1.0, 200)])
def test_the_ends_are_exact(share: float, wanted: int) -> None:
    """Never and always mean that, also from the first prompt on."""
    draw = random.Random(5)

    assert _run(Budget(share=share, prior=PRIOR), [draw.random() for _ in range(200)]).strong == wanted


@given(st.floats(0, 1), st.lists(st.floats(-10, 10), max_size=60))
def test_memory_and_debt_are_bounded(share: float, scores: list[float]) -> None:
    """However long it runs, and whatever the scores."""
    budget = _run(Budget(share=share), scores * 12)

    assert len(budget.scores) <= WINDOW
    assert abs(budget.debt) <= MOST_DEBT


def test_in_the_domain_the_score_decides() -> None:
    """And the budget counts it."""
    found, after = verdict(
        0.9, in_domain=True, fallback_strong=False, budget=Budget(share=0.5, prior=PRIOR), chance=0.0
    )

    assert (found.strong, found.explore, after.strong, after.decisions) == (True, False, 1, 1)


@pytest.mark.parametrize("rules", [True, False])
def test_out_of_the_domain_the_rules_decide(rules: bool) -> None:
    """The score is a guess there, and is not remembered."""
    found, after = verdict(9.0, in_domain=False, fallback_strong=rules, budget=Budget(share=0.5), chance=0.5)

    assert (found.strong, found.explore, after.scores) == (rules, False, ())


def test_out_of_the_domain_some_are_explored() -> None:
    """Three of a hundred get the answer that the rules would not have asked for."""
    draw = random.Random(6)
    found = [
        verdict(0.0, in_domain=False, fallback_strong=False, budget=Budget(share=0.5), chance=draw.random())[0]
        for _ in range(5000)
    ]
    explored = [one for one in found if one.explore]

    assert 0.02 < len(explored) / len(found) < 0.05
    assert all(one.strong for one in explored)
