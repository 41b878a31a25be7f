"""How long answers take, by who asks whom for what."""

from __future__ import annotations

import pytest

from dispatcher.delivery.habits import FEWEST, KEPT_S, MOST_KNOWN, Habits

WORDY, TERSE = ("stories", "llama"), ("questions", "llama")


def knowing(*shares: float, habit: tuple[str, str] = WORDY, now_s: float = 0.0) -> Habits:
    """Answers that took these shares of two expected seconds."""
    habits = Habits()
    for share in shares:
        habits.answered(habit, now_s, expected_s=2.0, took_s=2.0 * share)
    return habits


def figures(habits: Habits, now_s: float = 0.0, habit: tuple[str, str] = WORDY) -> tuple[float, float]:
    """What a job of 10 expected seconds takes at least, and likely."""
    return habits.short_s(habit, now_s, 10.0), habits.likely_s(habit, now_s, 10.0)


@pytest.mark.parametrize("known", [0, FEWEST - 1])
def test_before_much_is_known_a_prediction_is_taken_at_its_word_or_an_eighth(known: int) -> None:
    """A few long answers change nothing."""
    assert (1.25, 10.0) == figures(knowing(*[3.0] * known))


def test_likely_times_follow_what_was_seen() -> None:
    """Of shares from a half to 2.9 nine in ten are 0.7 or more, and 19 in 20 at most 2.7."""
    assert pytest.approx((7.0, 27.0)) == figures(knowing(*[0.5 + 0.1 * one for one in range(25)]))


def test_what_one_tenant_asks_says_nothing_of_another() -> None:
    """Long stories of one make nobody else's questions long."""
    assert (1.25, 10.0) == figures(knowing(*[4.0] * 30), habit=TERSE)


@pytest.mark.parametrize(("later_s", "expected"), [(KEPT_S - 1.0, (40.0, 40.0)), (KEPT_S + 1.0, (1.25, 10.0))])
def test_what_was_is_forgotten(later_s: float, expected: tuple[float, float]) -> None:
    """Two minutes after the last long answer nothing is known, though none came since."""
    assert expected == figures(knowing(*[4.0] * 30), now_s=later_s)


def test_the_names_of_strangers_fill_no_memory() -> None:
    """Of more tenants than are kept, the one that was silent for longest is forgotten."""
    habits = knowing(*[4.0] * 30)
    for one in range(MOST_KNOWN):
        habits.answered((f"tenant-{one}", "llama"), 1.0, expected_s=1.0, took_s=1.0)

    assert ((1.25, 10.0), MOST_KNOWN) == (figures(habits, 1.0), len(habits._answers))


@pytest.mark.parametrize(("ran_s", "likely_s"), [(1.0, 2.0), (5.0, 5.0)])
def test_answers_that_were_cut_count_when_they_ran_for_long(ran_s: float, likely_s: float) -> None:
    """One that had no time tells nothing; those that ran for longer than was likely are the long ones, and are never complete."""
    habits = Habits()
    for _ in range(20):
        habits.answered(WORDY, 0.0, expected_s=2.0, took_s=2.0)
        habits.cut(WORDY, 0.0, expected_s=2.0, ran_s=ran_s)

    assert likely_s == habits.likely_s(WORDY, 0.0, 2.0)
