"""How the energy of a moment is split between jobs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.energy.split import COSTS, Work, shares, weight
from agents.simulator.profiles import DeviceProfile, catalogue
from common.frames import Phase

DECODING = Work(phase=Phase.DECODE, tokens_s=10.0, pace=20.0)

works = st.builds(
    Work,
    phase=st.sampled_from(Phase),
    tokens_s=st.none() | st.floats(0, 1e6),
    pace=st.none() | st.floats(0, 1e6),
)


def test_two_jobs_alike_pay_alike() -> None:
    """The same work has the same share."""
    assert shares([DECODING, DECODING]) == [0.5, 0.5]


def test_more_tokens_of_the_same_model_pay_more() -> None:
    """Who makes three tokens while the other makes one pays three quarters."""
    fast = Work(phase=Phase.DECODE, tokens_s=30.0, pace=20.0)

    assert shares([fast, DECODING]) == pytest.approx([0.75, 0.25])


def test_a_token_of_a_slow_model_costs_as_much_as_the_time_it_takes() -> None:
    """Two tokens of a model that makes two a second weigh what twenty of one do that makes twenty."""
    large = Work(phase=Phase.DECODE, tokens_s=1.0, pace=2.0)

    assert shares([large, DECODING]) == [0.5, 0.5]


@pytest.mark.parametrize("phase", [Phase.LOAD, Phase.PREFILL])
def test_a_job_without_tokens_pays_for_its_time(phase: Phase) -> None:
    """Who loads or reads its prompt makes no tokens, and weighs what that costs."""
    assert weight(Work(phase=phase)) == COSTS[phase]


@pytest.mark.parametrize("unknown", [Work(phase=Phase.DECODE, tokens_s=3.0), Work(phase=Phase.DECODE, pace=3.0)])
def test_without_a_speed_the_time_counts(unknown: Work) -> None:
    """A model's first job can't be weighed by its tokens."""
    assert weight(unknown) == COSTS[Phase.DECODE]


def test_where_nobody_works_all_pay_alike() -> None:
    """What is drawn while all jobs stall has to be somebody's."""
    stalled = Work(phase=Phase.DECODE, tokens_s=0.0, pace=20.0)

    assert shares([stalled, stalled]) == [0.5, 0.5]


@given(st.lists(works, min_size=1, max_size=20))
def test_shares_are_whole_and_none_is_negative(jobs: list[Work]) -> None:
    """Whatever the jobs do, all is paid, and nobody is paid."""
    parts = shares(jobs)

    assert (sum(parts), min(parts) >= 0) == (pytest.approx(1.0), True)


@pytest.mark.parametrize("device", catalogue().devices.values(), ids=lambda device: device.name)
def test_the_costs_are_those_of_known_boards(device: DeviceProfile) -> None:
    """What load and prefill cost against decoding lies within 0.15 of every profile's own figures."""
    decode_w = device.decode_w.value - device.idle_w.value
    load, prefill = ((figure.value - device.idle_w.value) / decode_w for figure in (device.load_w, device.prefill_w))

    assert (load, prefill) == (
        pytest.approx(COSTS[Phase.LOAD], abs=0.15),
        pytest.approx(COSTS[Phase.PREFILL], abs=0.21),
    )
