"""The table of attempts: repeated deliveries, cancellations that overtake their job, and forgetting."""

from __future__ import annotations

import pytest

from agents.attempts import Attempts, Memory, Repeated
from common.errors import DeviceBusy, JobCancelled
from tests.unit.agents.hand_clock import HandClock


def test_a_cancellation_that_overtakes_its_job_wins() -> None:
    """The job comes after it, and is refused as cancelled."""
    attempts = Attempts(HandClock())

    found = attempts.cancel("inbox.1.1")

    assert found is False
    with pytest.raises(JobCancelled, match="j1"):
        attempts.check("j1", "inbox.1.1")


def test_an_early_cancellation_of_one_attempt_spares_all_others() -> None:
    """Attempt 1 was fenced by the dispatcher; attempt 2 may run here, and so may the same id from somebody else."""
    attempts = Attempts(HandClock())

    attempts.cancel("inbox.1.1")

    attempts.check("j1", "inbox.1.2")
    attempts.check("j1", "inbox.2.1")
    with pytest.raises(JobCancelled):
        attempts.check("j1", "inbox.1.1")


def test_an_early_cancellation_is_forgotten_after_a_minute() -> None:
    """59 s later it still holds, 61 s later no longer."""
    clock = HandClock()
    attempts = Attempts(clock)
    attempts.cancel("inbox.1.1")
    attempts.cancel("inbox.2.1")
    clock.now_s += 59

    with pytest.raises(JobCancelled):
        attempts.check("j1", "inbox.1.1")
    clock.now_s += 2
    attempts.check("j2", "inbox.2.1")

    assert len(attempts) == 0


def test_a_refusal_holds_for_a_minute() -> None:
    """59 s later the attempt is refused again, another one of the job is not, and 61 s later it is forgotten."""
    clock = HandClock()
    attempts = Attempts(clock)
    attempts.refuse("inbox.1.1")
    clock.now_s += 59

    with pytest.raises(DeviceBusy, match="j1"):
        attempts.check("j1", "inbox.1.1")
    attempts.check("j1", "inbox.1.2")
    clock.now_s += 2
    attempts.check("j1", "inbox.1.1")


def test_a_cancellation_by_the_jobs_id_is_not_remembered() -> None:
    """The id may come again, from anybody."""
    attempts = Attempts(HandClock())

    found = attempts.cancel_job("j1")

    attempts.check("j1", "inbox.1.1")
    assert found is False


def test_a_job_refused_as_cancelled_counts_as_delivered() -> None:
    """The same delivery again is a repetition, and is not answered twice."""
    attempts = Attempts(HandClock())
    attempts.cancel("inbox.1.1")
    with pytest.raises(JobCancelled):
        attempts.check("j1", "inbox.1.1")

    with pytest.raises(Repeated):
        attempts.check("j1", "inbox.1.1")


def test_memory_forgets_the_oldest_when_it_is_full() -> None:
    """However many come, `most` are kept."""
    memory = Memory(HandClock(), 60.0, most=2)

    for reply in ("a", "b", "c"):
        memory.add(reply)

    kept = [reply for reply in ("a", "b", "c") if reply in memory]
    assert kept == ["b", "c"]


def test_memory_is_renewed_by_a_second_mention() -> None:
    """One mentioned again counts from then."""
    clock = HandClock()
    memory = Memory(clock, 60.0)
    memory.add("a")
    clock.now_s += 50
    memory.add("a")
    clock.now_s += 50

    assert "a" in memory
