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
    """The score is a guess there, and is not remembered; the call is."""
    found, after = verdict(9.0, in_domain=False, fallback_strong=rules, budget=Budget(share=0.5), chance=0.5)

    assert (found.strong, found.explore, after.scores) == (rules, False, ())
    assert (after.debt, after.strong) == (0.5 - rules, rules)


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


def judged(budget: Budget, draw: random.Random, *, in_domain: bool = True, rules: bool = True) -> tuple[bool, Budget]:
    """One job that the judge, or out of its domain a rule, has a word on."""
    found, after = verdict(
        draw.random(), in_domain=in_domain, fallback_strong=rules, budget=budget, chance=draw.random()
    )
    return found.strong, after


@pytest.mark.parametrize("part", [0.3, 1.0])
def test_the_share_is_held_over_prompts_that_are_like_none(part: float) -> None:
    """Rules that find every such prompt demanding spend what there is, and no more: also where all prompts are of that sort."""
    draw = random.Random(7)
    budget = Budget(share=0.3, prior=PRIOR)
    for _ in range(3000):
        _, budget = judged(budget, draw, in_domain=draw.random() >= part)

    assert budget.realised == pytest.approx(0.3, abs=0.02)


def test_rules_that_find_nothing_demanding_leave_what_is_saved_to_the_judge() -> None:
    """It is a ceiling, and no duty: half the jobs are small talk, and no more than the share goes up."""
    draw = random.Random(8)
    budget = Budget(share=0.3, prior=PRIOR)
    for number in range(3000):
        _, budget = judged(budget, draw, in_domain=number % 2 == 0, rules=False)

    assert budget.realised == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(("share", "wanted"), [(0.0, 0), (1.0, 400)])
@pytest.mark.parametrize("rules", [True, False])
def test_the_ends_are_exact_for_prompts_that_are_like_none(share: float, wanted: int, rules: bool) -> None:
    """Whatever the rules say, and exploring would do."""
    draw = random.Random(9)
    budget = Budget(share=share, prior=PRIOR)
    for _ in range(400):
        _, budget = judged(budget, draw, in_domain=False, rules=rules)

    assert wanted == budget.strong


def test_the_share_is_held_over_what_ran() -> None:
    """A third of the weak verdicts meet a full tier and run on strong models, a third of the strong ones find nobody in time, one
    job in ten is pinned to a strong model, and one in ten is cancelled before it runs: still three of ten that ran were strong."""
    draw = random.Random(10)
    budget = Budget(share=0.3, prior=PRIOR)
    ran: list[bool] = []
    for _ in range(4000):
        if draw.random() < 0.1:
            budget = budget.after(None, strong=True)
            ran.append(True)
            continue
        said, budget = judged(budget, draw)
        if draw.random() < 0.1:
            budget = budget.settled(booked=said, ran=None)
            continue
        did = said != (draw.random() < (0.33 if said else 0.1))
        budget = budget.settled(booked=said, ran=did)
        ran.append(did)

    assert (len(ran), sum(ran)) == (budget.decisions, budget.strong)
    assert budget.realised == pytest.approx(0.3, abs=0.02)


@given(st.floats(0, 1), st.booleans(), st.none() | st.booleans())
def test_what_is_settled_is_as_if_it_had_been_known(share: float, booked: bool, ran: bool | None) -> None:
    """A decision that ran otherwise, or not at all, leaves what the true one would have left."""
    before = Budget(share=share)
    settled = before.after(0.5, strong=booked).settled(booked=booked, ran=ran)
    known = before if ran is None else before.after(0.5, strong=ran)

    assert (known.decisions, known.strong) == (settled.decisions, settled.strong)
    assert known.debt == pytest.approx(settled.debt)
