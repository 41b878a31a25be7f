"""The table of attempts: repeated deliveries, cancellations that overtake their job, and forgetting."""

from __future__ import annotations

import pytest

from agents.attempts import Attempts, Memory, Repeated
from common.errors import JobCancelled
from tests.unit.agents.hand_clock import HandClock


def test_a_cancellation_that_overtakes_its_job_wins() -> None:
    """The job comes after it, and is refused as cancelled."""
    attempts = Attempts(HandClock())

    found = attempts.cancel("j1")

    assert found is False
    with pytest.raises(JobCancelled, match="j1"):
        attempts.check("j1", 1)


def test_an_early_cancellation_of_one_attempt_spares_the_next() -> None:
    """Attempt 1 was fenced by the dispatcher; attempt 2 may run here."""
    attempts = Attempts(HandClock())

    attempts.cancel("j1", 1)

    attempts.check("j1", 2)
    with pytest.raises(JobCancelled):
        attempts.check("j1", 1)


def test_an_early_cancellation_is_forgotten_after_a_minute() -> None:
    """59 s later it still holds, 61 s later the same id may be used again."""
    clock = HandClock()
    attempts = Attempts(clock)
    attempts.cancel("j1", 1)
    attempts.cancel("j2", 1)
    clock.now_s += 59

    with pytest.raises(JobCancelled):
        attempts.check("j1", 1)
    clock.now_s += 2
    attempts.check("j2", 1)

    assert len(attempts) == 0


def test_a_job_refused_as_cancelled_counts_as_delivered() -> None:
    """The same delivery again is a repetition, and is not answered twice."""
    attempts = Attempts(HandClock())
    attempts.cancel("j1")
    with pytest.raises(JobCancelled):
        attempts.check("j1", 1)

    with pytest.raises(Repeated):
        attempts.check("j1", 1)


def test_memory_forgets_the_oldest_when_it_is_full() -> None:
    """However many keys come, `most` are kept."""
    memory = Memory(HandClock(), 60.0, most=2)

    for number in (1, 2, 3):
        memory.add(("j", number))

    kept = [number for number in (1, 2, 3) if ("j", number) in memory]
    assert kept == [2, 3]


def test_memory_is_renewed_by_a_second_mention() -> None:
    """A key mentioned again counts from then."""
    clock = HandClock()
    memory = Memory(clock, 60.0)
    memory.add(("j", 1))
    clock.now_s += 50
    memory.add(("j", 1))
    clock.now_s += 50

    assert ("j", 1) in memory
