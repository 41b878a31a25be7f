"""The account of paid models: what is spent, what is held back, and what outlives the agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.backends.purse import Budget, Purse, open_purse
from common.errors import BudgetSpent, ConfigError
from tests.unit.agents.hand_clock import HandClock

NOON_S = 1_700_000_000 // 86_400 * 86_400 + 43_200
DAY_S = 86_400


def purse(path: Path, clock: HandClock, **budget: float) -> Purse:
    return open_purse(path / "sub" / "cloud.json", Budget(**budget), clock)


def at_noon() -> HandClock:
    clock = HandClock()
    clock.now_s = NOON_S
    return clock


def pay(account: Purse, usd: float) -> None:
    with account.hold(0.0) as bill:
        bill.owe(usd, estimated=False)


def test_without_a_budget_there_is_no_limit(tmp_path: Path) -> None:
    """What is spent is counted all the same."""
    account = purse(tmp_path, at_noon())
    pay(account, 1000.0)

    assert (account.refusal(), account.empty(), account.spent.total_usd) == (None, None, 1000.0)


def test_a_day_s_budget_is_whole_again_the_next_day(tmp_path: Path) -> None:
    """Until then the refusal says how long that is."""
    clock = at_noon()
    account = purse(tmp_path, clock, day_usd=1.0)
    pay(account, 1.0)
    refusal = account.empty()
    clock.now_s += DAY_S / 2

    assert refusal is not None
    assert (refusal.code, refusal.retry_after_s) == ("budget", DAY_S / 2)
    assert "1.00 of 1.00 USD" in refusal.message
    assert "DROVER_CLOUD_BUDGET_DAY_USD" in refusal.message
    assert account.empty() is None


def test_a_total_budget_stays_spent(tmp_path: Path) -> None:
    """Only its owner can raise it."""
    clock = at_noon()
    account = purse(tmp_path, clock, total_usd=1.0)
    pay(account, 1.5)
    clock.now_s += 10 * DAY_S
    refusal = account.empty()

    assert refusal is not None
    assert (refusal.retry_after_s, "raise DROVER_CLOUD_BUDGET_USD" in refusal.message) == (None, True)


def test_what_runs_is_held_back(tmp_path: Path) -> None:
    """Two answers that may cost all of it leave nothing for a third; one ends cheaper, and there is room again."""
    account = purse(tmp_path, at_noon(), day_usd=1.0)
    with account.hold(0.5):
        alone = account.refusal()
        with account.hold(0.5) as cheap:
            both = account.refusal()
            cheap.owe(0.1, estimated=False)
        after = account.refusal()

    assert (alone, both is not None, account.empty(), after) == (None, True, None, None)
    assert both is not None
    assert "held back" in both.message
    assert account.spent.day_usd == pytest.approx(0.1)


def test_an_answer_that_may_cost_more_than_is_left_is_not_begun(tmp_path: Path) -> None:
    """A budget of a cent, up to 20 dollars for the answer: the figures are told, and the ways out."""
    account = purse(tmp_path, at_noon(), day_usd=0.01)
    with pytest.raises(BudgetSpent) as caught, account.hold(20.0):
        raise AssertionError("it was begun")

    told = ("up to 20.00 USD", "0.010 are left", "max_tokens", "raise DROVER_CLOUD_BUDGET_DAY_USD")
    assert [text for text in told if text not in caught.value.message] == []
    assert (caught.value.retry_after_s, account.refusal(), account.spent.held_usd) == (DAY_S / 2, None, 0.0)


def test_room_that_others_hold_may_come_back_at_any_moment(tmp_path: Path) -> None:
    """Then nobody is told to wait for tomorrow."""
    account = purse(tmp_path, at_noon(), day_usd=1.0)
    with account.hold(0.7):
        refusal = account.refusal(0.7)

    assert refusal is not None
    assert (refusal.retry_after_s, account.refusal(0.7)) == (None, None)


def test_another_try_needs_room_for_the_whole_again(tmp_path: Path) -> None:
    """A try of which nothing was heard is paid out of what was held; the next one begins only if the worst still fits."""
    account = purse(tmp_path, at_noon(), total_usd=1.0)
    with account.hold(0.5) as bill:
        bill.owe(0.5, estimated=True)
        second = bill.again()
        bill.owe(0.1, estimated=True)
        third = bill.again()

    assert (second, third is not None) == (None, True)
    assert (account.spent.total_usd, account.spent.held_usd) == (pytest.approx(0.6), 0.0)


def test_what_was_held_when_the_agent_was_killed_is_spent(tmp_path: Path) -> None:
    """It stands in the file before the answer begins; the next agent books it, and asks for no more than is left."""
    clock = at_noon()
    killed = purse(tmp_path, clock)
    pay(killed, 0.25)
    with killed.hold(0.5):
        again = purse(tmp_path, clock, day_usd=0.75)

    assert (again.spent.total_usd, again.spent.held_usd, again.empty() is not None) == (0.75, 0.0, True)


def test_an_answer_that_fails_is_paid_for_as_far_as_its_bill_goes(tmp_path: Path) -> None:
    """The provider counts what it has done, whoever hung up."""
    account = purse(tmp_path, at_noon())

    def breaks_off() -> None:
        with account.hold(1.0) as bill:
            bill.owe(0.25, estimated=True)
            raise ConnectionError

    with pytest.raises(ConnectionError):
        breaks_off()

    assert (account.spent.total_usd, account.spent.held_usd) == (0.25, 0.0)


def test_the_account_outlives_the_agent(tmp_path: Path) -> None:
    """Another agent on the same file goes on where the first one stopped."""
    clock = at_noon()
    pay(purse(tmp_path, clock), 0.75)
    again = purse(tmp_path, clock, day_usd=0.75)

    assert (again.spent.day_usd, again.spent.total_usd, again.empty() is not None) == (0.75, 0.75, True)


def test_of_another_day_only_the_total_counts(tmp_path: Path) -> None:
    """An agent that is started a day later has a day's budget again."""
    clock = at_noon()
    pay(purse(tmp_path, clock), 0.75)
    clock.now_s += DAY_S
    again = purse(tmp_path, clock)

    assert (again.spent.day_usd, again.spent.total_usd) == (0.0, 0.75)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"total_usd":-1}', '{"total_usd":"much"}'])
def test_an_account_that_can_t_be_read_stops_the_agent(tmp_path: Path, text: str) -> None:
    """To begin at 0 would be to forget what was spent; the message names the file."""
    path = tmp_path / "cloud.json"
    path.write_text(text)

    with pytest.raises(ConfigError, match=r"cloud\.json .* delete it"):
        open_purse(path, Budget(), at_noon())


def test_a_place_that_can_t_be_written_stops_the_agent(tmp_path: Path) -> None:
    """The message names the way out."""
    (tmp_path / "sub").write_text("a file where a directory is wanted")

    with pytest.raises(ConfigError, match="DROVER_STATE_DIR"):
        purse(tmp_path, at_noon())


def test_a_budget_that_can_t_be_kept_is_taken_for_spent(tmp_path: Path) -> None:
    """The file can't be written any more: after a restart nobody would know, so nothing is begun, until it can."""
    account = purse(tmp_path, at_noon(), total_usd=10.0)
    (tmp_path / "sub").rename(tmp_path / "away")
    with pytest.raises(BudgetSpent, match="can't be written"), account.hold(1.0):
        raise AssertionError("it was begun")
    refusal = account.empty()
    (tmp_path / "away").rename(tmp_path / "sub")

    assert refusal is not None
    assert (account.empty(), account.refusal(), account.spent.held_usd) == (None, None, 0.0)


@pytest.mark.parametrize(
    ("budget_usd", "words"), [(0.003, "is spent (0.0030 of 0.0030 USD)"), (25.0, "is spent (25.00 of 25.00 USD)")]
)
def test_a_small_budget_is_told_with_digits_that_tell(tmp_path: Path, budget_usd: float, words: str) -> None:
    """Not as 0.00 of 0.00."""
    account = purse(tmp_path, at_noon(), day_usd=budget_usd)
    pay(account, budget_usd)
    refusal = account.empty()

    assert refusal is not None
    assert words in refusal.message
