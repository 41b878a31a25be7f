"""When a second device is worth asking, and how often that may happen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.delivery.hedge import BURST, FirstTokens, HedgeBudget, crowded, hedge_after_s
from tests.unit.dispatcher.builders import device


@pytest.mark.parametrize(("count", "expected"), [(19, None), (20, 0.20), (100, 0.96)])
def test_the_percentile_needs_samples(count: int, expected: float | None) -> None:
    """Below twenty first tokens nothing is known; then it is the 95th of a hundred."""
    seen = FirstTokens()
    for n in range(count):
        seen.note("nano", "m", (n + 1) / 100)

    assert expected == seen.p95_s("nano", "m")


def test_each_device_and_model_has_its_own() -> None:
    """A slow model on a slow board says nothing of another one."""
    seen = FirstTokens()
    for _ in range(50):
        seen.note("nano", "slow", 9.0)

    assert (9.0, None) == (seen.p95_s("nano", "slow"), seen.p95_s("orin", "slow"))


@pytest.mark.parametrize(("p95_s", "expected"), [(None, None), (0.01, 0.25), (3.0, 3.0)])
def test_nobody_is_asked_within_a_blink(p95_s: float | None, expected: float | None) -> None:
    """A quarter of a second is never too late."""
    assert expected == hedge_after_s(p95_s)


@given(st.lists(st.booleans(), max_size=400), st.sampled_from([0.0, 0.05, 0.5]))
def test_hedges_stay_within_their_share(asks: list[bool], share: float) -> None:
    """Whatever comes, hedges are at most the share of the jobs, and what was saved up."""
    budget = HedgeBudget(share)
    for ask in asks:
        budget.earn()
        if ask and budget.enough:
            budget.spend()

    assert budget.spent <= share * len(asks) + min(BURST, 1.0)


@pytest.mark.parametrize(("taken", "waiting", "expected"), [(0, 0, False), (7, 0, False), (8, 0, True), (0, 1, True)])
def test_a_busy_fleet_does_not_hedge(taken: int, waiting: int, expected: bool) -> None:
    """Above seven tenths of the slots, or with anybody in the line, a slot has better uses."""
    assert expected is crowded([device(slots=10, own=taken)], waiting)
