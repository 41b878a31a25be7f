"""The circuit breaker of a device."""

from __future__ import annotations

from dispatcher.breaker import CLOSED, LONGEST_S, Breaker, BreakerState, aged, failed, succeeded, tripped


def failing(times: int, breaker: Breaker = CLOSED, now_s: float = 0.0) -> Breaker:
    for _ in range(times):
        breaker = failed(breaker, "503", now_s)
    return breaker


def test_three_failures_in_a_row_open_it() -> None:
    """Two are chance."""
    assert [BreakerState.CLOSED, BreakerState.OPEN] == [failing(2).state, failing(3).state]


def test_a_success_between_them_forgives() -> None:
    """Failures count in a row."""
    assert succeeded() == CLOSED
    assert BreakerState.CLOSED is failing(2, succeeded()).state


def test_one_trial_after_its_time() -> None:
    """Open for five seconds, then half open."""
    opened = failing(3)

    assert [BreakerState.OPEN, BreakerState.HALF_OPEN] == [aged(opened, 4.9).state, aged(opened, 5.0).state]


def test_a_failed_trial_opens_it_for_longer_each_time() -> None:
    """5, 10, 20 s and so on, to a minute."""
    breaker, lasted, now_s = failing(3), [], 0.0
    for _ in range(6):
        lasted.append(breaker.until_s - now_s)
        now_s = breaker.until_s
        breaker = failed(aged(breaker, now_s), "503", now_s)

    assert [5.0, 10.0, 20.0, 40.0, LONGEST_S, LONGEST_S] == lasted


def test_what_was_under_way_adds_nothing() -> None:
    """Sixteen jobs that fail together are one opening."""
    opened = failing(3)

    assert opened == failing(13, opened, now_s=1.0)


def test_proof_opens_it_at_once() -> None:
    """A device that was asked for one token and gave none needs no second failure."""
    assert (BreakerState.OPEN, 6.0) == (
        tripped(CLOSED, "no token", 1.0).state,
        tripped(CLOSED, "no token", 1.0).until_s,
    )
