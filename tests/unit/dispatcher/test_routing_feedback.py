"""What outcomes do to the weights: bounded whatever is said, in the right direction, and undone when nothing confirms it."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.outcomes import Terms
from dispatcher.routing import Cloud, RoutingPolicy, decide
from dispatcher.routing.feedback import (
    COUNTS,
    FACTOR,
    SHARE_DOWN,
    SHARE_STEP,
    SHARE_UP,
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
        assert max(moves) <= 2 * STEP + 1e-12  # what all have in common is taken out again
        assert -SHARE_DOWN <= learned.share <= SHARE_UP
        assert (change is None) == (not batch)
        assert sum(learned.policy(owner).normalised().values()) == pytest.approx(1.0)


def noise(seed: int, *, per_change: int, outcomes: int = 10_000) -> float:
    """How far the factors got, at most, while rewards had nothing to do with the terms: thumbs in odd worlds, clocks in even ones;
    leads of up to 0.1 in some, and up to 1 in others."""
    draw = random.Random(seed)
    width = 0.1 if seed % 4 < 2 else 1.0
    learned, furthest = Learned(), 0.0
    for number in range(1, outcomes + 1):
        source, reward = (Source.USER, float(draw.random() < 0.5)) if seed % 2 else (Source.LATENCY, draw.random())
        tokens, topic, health = (width * draw.uniform(-1.0, 1.0) for _ in range(3))
        learned = heard(
            learned,
            Outcome(source=source, reward=reward, chosen=Terms(tokens, topic, health), rival=Terms(0.0, 0.0, 0.0)),
        )
        if number % per_change == 0:
            learned, _ = changed(learned)
            furthest = max(furthest, *map(abs, learned.logs))
    return math.expm1(furthest)


@pytest.mark.parametrize("per_change", [1, 10, 50])
def test_pure_noise_stays_within_ten_percent(per_change: int) -> None:
    """However many jobs there are in a second: over ten thousand outcomes no factor ever leaves 0.9 to 1.1."""
    assert max(noise(seed, per_change=per_change) for seed in range(8)) <= 0.1


@pytest.mark.parametrize("leads", [0.05, 0.2])
def test_what_is_true_is_learned_through_noise(leads: float) -> None:
    """Thumbs that follow a term in six of ten jobs: its weight rises by a quarter, the others' don't."""
    draw = random.Random(1)
    learned = Learned()
    for _ in range(1500):
        topic = leads * draw.choice((-1.0, 1.0))
        liked = draw.random() < (0.65 if topic > 0.0 else 0.35)
        rival = Terms(0.0, 0.0, 0.0)
        chosen = Terms(leads * draw.uniform(-1.0, 1.0), topic, leads * draw.uniform(-1.0, 1.0))
        learned = after(learned, Outcome(source=Source.USER, reward=float(liked), chosen=chosen, rival=rival))

    assert learned.factors["topic"] > 1.25
    assert max(learned.factors["tokens"], learned.factors["health"]) < 1.0


@pytest.mark.parametrize(("thumbs", "moved"), [(9, False), (10, True)])
def test_nine_thumbs_are_an_accident_and_ten_that_agree_are_not(thumbs: int, moved: bool) -> None:
    """Nothing moves before the outcomes agree beyond three standard errors, whatever their size."""
    assert moved == any(after(Learned(usual=0.8), *[said(0.0)] * thumbs).logs)


def test_no_claim_of_a_source_counts_for_more_than_a_thumb() -> None:
    """Who says "judge" or "vote" and is none wins nothing by it."""
    assert COUNTS[Source.USER] == max(COUNTS.values())


def test_answers_that_are_worse_than_usual_take_weight_from_what_chose_them() -> None:
    """The chosen device led by topic and lagged by health: the one loses, the other gains, and fit, in which they are equal, is
    hardly moved."""
    factors = after(Learned(usual=0.8), *[said(0.0)] * 15).factors

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
    taught = after(Learned(usual=0.8), *[said(0.0)] * 20)
    later = after(Learned(logs=taught.logs, usual=0.8), *[said(0.8)] * 300)

    assert 0.0 < abs(later.logs[1]) < abs(taught.logs[1]) / 4


def test_disliked_weak_answers_raise_the_share_of_strong_calls_and_liked_ones_lower_it() -> None:
    """Up to bounds that are narrower where it costs the owner; a fifth of dislikes keeps it, and strong answers say nothing."""
    down = after(Learned(), *[said(0.0, strong=False)] * 200).share
    up = after(Learned(), *[said(1.0, strong=False)] * 300).share
    even = after(Learned(), *[said(0.0, strong=False), *[said(1.0, strong=False)] * 4] * 60).share
    strong = after(Learned(), *[said(0.0, strong=True)] * 200).share

    assert (SHARE_UP, -SHARE_DOWN, 0.0, 0.0) == pytest.approx((down, up, even, strong))


def test_the_share_moves_by_one_step_at_most() -> None:
    """However many are disliked in a second."""
    learned = Learned()
    for _ in range(500):
        learned = heard(learned, said(0.0, strong=False))

    assert SHARE_STEP == pytest.approx(changed(learned)[0].share)


def test_clocks_are_no_reason_for_another_share() -> None:
    """What a weak answer took tells nothing of how good it was."""
    assert 0.0 == after(Learned(), *[said(0.0, source=Source.LATENCY, strong=False)] * 30).share


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
