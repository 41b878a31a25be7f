"""What outcomes do to the weights: bounded whatever is said, in the right direction, and undone when nothing confirms it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.outcomes import Terms
from dispatcher.routing import Cloud, RoutingPolicy, decide
from dispatcher.routing.feedback import (
    FACTOR,
    SHARE_MOST,
    SHARE_STEP,
    STEP,
    Learned,
    Outcome,
    Source,
    changed,
    heard,
    latency_reward,
)
from tests.unit.dispatcher.builders import ask, device, fleet, model

UNIT = st.floats(0.0, 1.0)
TERMS = st.builds(Terms, UNIT, UNIT, UNIT)
OUTCOMES = st.builds(
    Outcome,
    source=st.sampled_from(Source),
    reward=st.floats(-5.0, 5.0),
    chosen=TERMS,
    rival=st.none() | TERMS,
    strong=st.none() | st.booleans(),
)


def said(reward: float, *, source: Source = Source.USER, strong: bool | None = None) -> Outcome:
    """An answer of a device that leads by topic, and lags by health."""
    return Outcome(source=source, reward=reward, chosen=Terms(0.5, 0.9, 0.4), rival=Terms(0.5, 0.5, 0.8), strong=strong)


def after(learned: Learned, *outcomes: Outcome) -> Learned:
    """What is learned when each outcome is a change of its own."""
    for outcome in outcomes:
        learned, _ = changed(heard(learned, outcome))
    return learned


@given(batches=st.lists(st.lists(OUTCOMES, max_size=8), max_size=12))
def test_whatever_is_said_the_bounds_hold(batches: list[list[Outcome]]) -> None:
    """No factor leaves half to twice the owner's, no change of one is larger than the step (and the drift home), the share stays
    near the owner's, and the weights still sum to 1."""
    learned, owner = Learned(), RoutingPolicy()
    for batch in batches:
        for outcome in batch:
            learned = heard(learned, outcome)
        before = learned.logs
        learned, change = changed(learned)
        moves = [abs(new - old) for old, new in zip(before, learned.logs, strict=True)]

        assert all(abs(log) <= math.log(FACTOR) + 1e-12 for log in learned.logs)
        assert max(moves) <= 2 * STEP + 0.01 * math.log(FACTOR) + 1e-12  # what all have in common is taken out again
        assert abs(learned.share) <= SHARE_MOST
        assert (change is None) == (not batch)
        assert sum(learned.policy(owner).normalised().values()) == pytest.approx(1.0)


def test_an_answer_that_is_worse_than_usual_takes_weight_from_what_chose_it() -> None:
    """The chosen device led by topic and lagged by health: the one loses, the other gains, and fit, in which they are equal, is
    hardly moved."""
    usual = Learned(usual=0.8)
    factors = after(usual, said(0.0)).factors

    assert factors["topic"] < 1.0 < factors["health"]
    assert factors["tokens"] == pytest.approx(1.0, abs=0.001)


def test_what_is_as_usual_changes_nothing() -> None:
    """There is no praise in it, and no blame."""
    assert (0.0, 0.0, 0.0) == after(Learned(usual=0.8), said(0.8)).logs


def test_without_a_rival_there_is_nothing_to_weigh() -> None:
    """A device that was the only choice says nothing about weights."""
    alone = Outcome(source=Source.USER, reward=0.0, chosen=Terms(0.5, 0.9, 0.4))

    assert (0.0, 0.0, 0.0) == after(Learned(usual=0.8), alone).logs


def test_factors_drift_home_when_nothing_confirms_them() -> None:
    """After 300 outcomes that are as usual less than a quarter of what was learned is left."""
    taught = after(Learned(usual=0.8), *[said(0.0)] * 4)
    later = after(Learned(logs=taught.logs, usual=0.8), *[said(0.8)] * 300)

    assert abs(later.logs[1]) < abs(taught.logs[1]) / 4


def test_disliked_weak_answers_raise_the_share_of_strong_calls_and_liked_ones_lower_it_more_slowly() -> None:
    """One in five disliked keeps it where it is: 4 x 0.25 steps down are as much as one up."""
    down = after(Learned(), said(0.0, strong=False)).share
    up = after(Learned(), said(1.0, strong=False)).share
    even = after(Learned(), said(0.0, strong=False), *[said(1.0, strong=False)] * 4).share
    strong = after(Learned(), said(0.0, strong=True)).share

    assert (SHARE_STEP, -SHARE_STEP / 4, 0.0, 0.0) == pytest.approx((down, up, even, strong))


def test_clocks_are_no_reason_for_another_share() -> None:
    """What a weak answer took tells nothing of how good it was."""
    assert 0.0 == after(Learned(), said(0.0, source=Source.LATENCY, strong=False)).share


@pytest.mark.parametrize(("owner", "expected"), [(0.0, 0.0), (1.0, 1.0), (0.3, 0.45), (0.95, 1.0)])
def test_an_owner_who_allows_none_or_all_is_not_argued_with(owner: float, expected: float) -> None:
    """Else the learned shift is added, within [0, 1]."""
    assert expected == pytest.approx(Learned(share=0.15).strong_share(owner))


def test_nothing_learned_leaves_the_policy_as_it_is() -> None:
    """The very same value: nobody pays for what they don't use."""
    owner = RoutingPolicy()

    assert Learned().policy(owner) is owner


@given(latency_s=st.floats(0.001, 1e6), target_s=st.floats(0.1, 1e4))
def test_a_latency_is_worth_less_the_longer_it_is(latency_s: float, target_s: float) -> None:
    """In (0, 1], and 1 within the target."""
    reward = latency_reward(latency_s, target_s)

    assert 0.0 < reward <= 1.0
    assert latency_reward(latency_s * 2, target_s) <= reward
    assert (reward == 1.0) == (latency_s <= target_s)


def test_exploring_takes_the_second_best_device_if_it_is_near() -> None:
    """Two alike devices change places; one that is far slower is not tried."""
    near = fleet(device("a"), device("b"))
    far = fleet(device("a"), device("b", model(loaded=False, size_bytes=30_000_000_000, parameters_b=40.0)))
    asked = ask("llama3.2:1b")
    firsts = [
        decide(replace(asked, explores=explores), there, RoutingPolicy(), {}).candidates[0].device
        for there in (near, far)
        for explores in (False, True)
    ]

    assert ["a", "b", "a", "a"] == firsts


@pytest.mark.parametrize(
    ("cloud", "expected"),
    [
        (Cloud.ALLOWED, ["a", "remote"]),
        (Cloud.PREFERRED, ["remote", "a"]),
    ],
)
def test_exploring_is_no_reason_to_pay_and_none_to_pass_over_what_is_paid(cloud: Cloud, expected: list[str]) -> None:
    """Remote models stay where the owner's rules put them."""
    there = fleet(device("a"), device("remote", remote=True))
    asked = replace(ask("llama3.2:1b"), explores=True)
    found = decide(asked, there, RoutingPolicy(cloud=cloud), {}).candidates

    assert expected == [one.device for one in found]
