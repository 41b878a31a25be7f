"""The places for running jobs."""

from __future__ import annotations

import pytest

from agents.slots import Slots
from common.errors import DeviceBusy


def test_a_job_beyond_the_slots_is_refused_at_once() -> None:
    """The refusal says how many slots there are."""
    slots = Slots(1)

    with slots.take("a"), pytest.raises(DeviceBusy, match="all 1 slots"), slots.take("a"):
        pass


def test_a_slot_is_free_again_when_its_job_fails() -> None:
    """Whatever ends the job frees the slot."""
    slots = Slots(1)

    with pytest.raises(ValueError, match="boom"), slots.take("a"):
        raise ValueError("boom")

    assert slots.in_flight == 0


def test_a_refused_job_frees_no_slot() -> None:
    """Only who took one gives one back."""
    slots = Slots(1)

    with slots.take("a"):
        with pytest.raises(DeviceBusy), slots.take("b"):
            pass

        assert (slots.in_flight, slots.by_dispatcher) == (1, {"a": 1})


def test_slots_are_counted_by_dispatcher() -> None:
    """A dispatcher that has none left is not named."""
    slots = Slots(3)

    with slots.take("a"), slots.take("b"):
        with slots.take("a"):
            assert slots.by_dispatcher == {"a": 2, "b": 1}

        assert slots.by_dispatcher == {"a": 1, "b": 1}
    assert slots.by_dispatcher == {}
