"""The arithmetic of budgets: periods, who is let in, and that nothing is spent twice or lost, in whatever order it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from common.keys import Budget, Period, Unit
from dispatcher.ledger.budgets import Account, charged, corrected, refusal, rolled, shown, shrunk, still_counts, window

DAY_S = 86_400.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOON = at("2026-11-21T12:00")


@pytest.mark.parametrize(
    ("period", "now", "begin", "end"),
    [
        (Period.DAY, "2026-11-21T00:00:00", "2026-11-21", "2026-11-22"),
        (Period.DAY, "2026-11-21T23:59:59", "2026-11-21", "2026-11-22"),
        (Period.DAY, "2026-12-31T12:00:00", "2026-12-31", "2027-01-01"),
        (Period.MONTH, "2026-11-30T23:59:59", "2026-11-01", "2026-12-01"),
        (Period.MONTH, "2028-02-29T12:00:00", "2028-02-01", "2028-03-01"),
        (Period.MONTH, "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
    ],
)
def test_periods_are_those_of_utc(period: Period, now: str, begin: str, end: str) -> None:
    """A day is a day, and a month as long as it is."""
    assert (at(begin), at(end)) == window(period, at(now))


def test_all_time_has_no_end() -> None:
    """Nor does it begin anew."""
    assert (0.0, None) == window(Period.EVER, NOON)


@pytest.mark.parametrize("now_unix_s", [-1e15, -1.0, 1e15, 253_402_300_799.0])
@pytest.mark.parametrize("period", Period)
def test_a_clock_that_is_out_of_its_mind_is_no_crash(period: Period, now_unix_s: float) -> None:
    """There is always a period that runs, and it ends behind its beginning."""
    begin, end = window(period, now_unix_s)

    assert end is None or begin < end


def account(limit: int = 100, spent: int = 0, period: Period = Period.DAY, unit: Unit = Unit.TOKENS) -> Account:
    return Account(unit=unit, period=period, limit=limit, spent=spent, window_unix_s=window(period, NOON)[0])


def test_a_new_day_has_nothing_spent() -> None:
    """The one that is over goes, whatever it was."""
    assert (90, 0) == (rolled(account(spent=90), NOON).spent, rolled(account(spent=90), NOON + DAY_S).spent)


def test_a_clock_that_goes_back_gives_nothing_back() -> None:
    """Who sets it back and on again has no second budget for the day."""
    yesterday = rolled(account(spent=90), NOON - DAY_S)
    again = rolled(yesterday, NOON)

    assert (90, 90) == (yesterday.spent, again.spent)


def test_it_is_told_when_a_budget_begins_anew() -> None:
    """With what is set aside."""
    told = shown(account(spent=90), {Unit.TOKENS: 7}, NOON)

    assert Budget(
        unit=Unit.TOKENS, limit=100, period=Period.DAY, spent=90, reserved=7, resets_unix_s=at("2026-11-22")
    ) == told  # fmt: skip


@pytest.mark.parametrize(
    ("spent", "reserved", "wanted", "fits"),
    [(0, 0, 100, True), (0, 0, 101, False), (50, 49, 1, True), (50, 50, 1, False), (200, 0, 0, True)],
)
def test_a_job_fits_to_the_last_token(spent: int, reserved: int, wanted: int, *, fits: bool) -> None:
    """What wants nothing always does."""
    why = refusal([account(spent=spent)], {Unit.TOKENS: reserved}, {Unit.TOKENS: wanted}, NOON)

    assert fits == (why is None)


def test_of_several_budgets_the_one_that_lasts_longest_is_named() -> None:
    """Who waits for the other one would wait in vain."""
    day, month = account(spent=100), account(spent=100, period=Period.MONTH)
    why = refusal([month, day], {}, {Unit.TOKENS: 1}, NOON)

    assert why is not None
    assert (Period.MONTH, at("2026-12-01")) == (why.budget.period, why.free_unix_s)


def test_a_job_that_never_fits_is_not_told_to_wait() -> None:
    """No new day helps it."""
    why = refusal([account()], {}, {Unit.TOKENS: 101}, NOON)

    assert why is not None
    assert (True, None) == (why.never, why.free_unix_s)


def test_what_jobs_hold_that_run_may_come_back() -> None:
    """Then to wait for them is enough."""
    why = refusal([account(spent=10)], {Unit.TOKENS: 90}, {Unit.TOKENS: 20}, NOON)

    assert why is not None
    assert (True, False) == (why.passing, why.never)


def test_a_late_record_opens_no_day_that_is_over() -> None:
    """What was counted yesterday stays there; today pays nothing for it."""
    today = account(spent=5)
    late = corrected(today, {Unit.TOKENS: 50}, {Unit.TOKENS: 70}, lapsed_unix_s=NOON - DAY_S, now_unix_s=NOON)

    assert 5 == late.spent


def test_what_was_counted_as_nothing_is_spent_when_its_record_comes() -> None:
    """The second record of a shared job, after midnight."""
    late = corrected(account(spent=5), {Unit.TOKENS: 0}, {Unit.TOKENS: 7}, lapsed_unix_s=NOON - DAY_S, now_unix_s=NOON)

    assert 12 == late.spent


JOULES = {Unit.TOKENS: 4000, Unit.ENERGY: 12_001}


@pytest.mark.parametrize(
    ("accounts", "reserved", "tokens", "millijoules"),
    [
        ([account(limit=5000)], {}, 4000, 12_001),
        ([account(limit=2000, spent=300)], {Unit.TOKENS: 700}, 1000, 3001),
        ([account(limit=2000), account(limit=300, period=Period.MONTH)], {}, 300, 901),
        ([account(limit=2000), account(limit=3000, unit=Unit.ENERGY)], {}, 999, 2998),
        ([account(limit=50)], {}, 100, 301),
        ([account(limit=2000, spent=9000)], {}, 100, 301),
        ([account(limit=5, unit=Unit.MONEY)], {}, 4000, 12_001),
    ],
    ids=["enough", "what is left", "of the tightest", "of joules", "never the least", "passed", "money is no length"],
)
def test_a_job_that_would_do_with_less_gets_what_is_left(
    accounts: list[Account], reserved: dict[Unit, int], tokens: int, millijoules: int
) -> None:
    """4000 tokens wanted, 100 needed, at 3.00025 joules a token; where not even the least is left, that is what is refused."""
    found = shrunk(accounts, reserved, JOULES, 100, NOON)
    fits = refusal(accounts, reserved, found, NOON) is None

    assert ({Unit.TOKENS: tokens, Unit.ENERGY: millijoules}, tokens > 100) == (found, fits)


MOST_JOBS = 6
LIMITS = {Period.DAY: 60, Period.MONTH: 150, Period.EVER: 400}


@dataclass(slots=True)
class Told:
    """What the machine has been told of one job."""

    amount: int
    expires_s: float
    lapsed_s: float | None = None
    charges: dict[Period, tuple[float, int]] = field(default_factory=dict)


class Purse(RuleBasedStateMachine):
    """A key with a budget of each period, whose jobs end in any order, twice, late, or never; beside it, an account book: what each
    job was charged, and in which period."""

    asked: ClassVar[Counter[str]] = Counter()
    """What became of those that asked, in all runs together: a budget that never gave or never refused proves nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = NOON
        self.accounts = [account(limit=limit, period=period) for period, limit in LIMITS.items()]
        self.open: dict[int, Told] = {}
        self.book: list[Told] = []
        self.over = dict.fromkeys(Period, 0)
        """By how much jobs took more than was set aside for them: by that alone may a budget be passed."""

    @property
    def reserved(self) -> dict[Unit, int]:
        return {Unit.TOKENS: sum(one.amount for one in self.open.values() if one.lapsed_s is None)}

    @rule(job=st.integers(0, MOST_JOBS), amount=st.integers(1, 70), lasts_s=st.sampled_from([10.0, 3600.0]))
    def reserve(self, job: int, amount: int, lasts_s: float) -> None:
        if job in self.open:
            return  # it came twice
        why = refusal(self.accounts, self.reserved, {Unit.TOKENS: amount}, self.now_s)
        rest = min(one.limit - rolled(one, self.now_s).spent - self.reserved[Unit.TOKENS] for one in self.accounts)
        assert (amount > rest) == (why is not None)
        self.asked["let in" if why is None else "turned away"] += 1
        if why is None:
            self.open[job] = Told(amount, self.now_s + lasts_s)

    @rule(job=st.integers(0, MOST_JOBS), most=st.integers(1, 500), least=st.integers(1, 40))
    def reserve_what_is_left(self, job: int, most: int, least: int) -> None:
        if job in self.open:
            return
        found = shrunk(self.accounts, self.reserved, {Unit.TOKENS: most}, least, self.now_s)
        rest = min(one.limit - rolled(one, self.now_s).spent - self.reserved[Unit.TOKENS] for one in self.accounts)
        why = refusal(self.accounts, self.reserved, found, self.now_s)
        assert (min(least, most) > rest) == (why is not None)
        if why is None:
            assert min(most, rest) == found[Unit.TOKENS]
            self.open[job] = Told(found[Unit.TOKENS], self.now_s + 10.0)

    @rule(job=st.integers(0, MOST_JOBS), share=st.floats(0, 1.5))
    def settle(self, job: int, share: float) -> None:
        """Its record comes: for a job that is known, or that was settled or released, and so is known no more."""
        told = self.open.pop(job, None)
        if told is None:
            return
        took, lapsed_s = round(told.amount * share), told.lapsed_s
        was, amounts = {Unit.TOKENS: told.amount}, {Unit.TOKENS: took}
        if lapsed_s is None:
            self._charge(told, took)
            self.accounts = [charged(one, amounts, self.now_s) for one in self.accounts]
            return
        for period, (begin, _) in told.charges.items():
            if begin == window(period, self.now_s)[0]:
                told.charges[period] = begin, took
        self.accounts = [
            corrected(one, was, amounts, lapsed_unix_s=lapsed_s, now_unix_s=self.now_s) for one in self.accounts
        ]
        self._note_over(told, took)

    @precondition(lambda self: any(one.lapsed_s is not None for one in self.open.values()))
    @rule(share=st.floats(0, 1.5))
    def settle_late(self, share: float) -> None:
        """As above, of a job that has lapsed: by chance it would be seldom."""
        self.settle(next(job for job, told in self.open.items() if told.lapsed_s is not None), share)

    @precondition(lambda self: any(one.lapsed_s is not None for one in self.open.values()))
    @rule()
    def come_again(self) -> None:
        """The same request as one that has lapsed: what it counts as comes back, and is set aside again."""
        told = next(one for one in self.open.values() if one.lapsed_s is not None)
        lapsed_s, was = told.lapsed_s or 0.0, {Unit.TOKENS: told.amount}
        begun = [one for one in self.accounts if not still_counts(one, lapsed_s, self.now_s)]
        new = [period for period, (begin, _) in told.charges.items() if begin != window(period, self.now_s)[0]]
        assert new == [one.period for one in begun]
        why = refusal(begun, self.reserved, was, self.now_s)
        if why is not None:
            return
        self.accounts = [
            corrected(one, was, {}, lapsed_unix_s=lapsed_s, now_unix_s=self.now_s) for one in self.accounts
        ]
        was_charged = {period: (begin, took if period in new else 0) for period, (begin, took) in told.charges.items()}
        self.book = [one for one in self.book if one is not told] + [Told(0, self.now_s, charges=was_charged)]
        told.charges = {}
        told.lapsed_s, told.expires_s = None, self.now_s + 10.0

    @rule(job=st.integers(0, MOST_JOBS), took=st.integers(0, 70))
    def run_again(self, job: int, took: int) -> None:
        """A further record of a shared job that is settled: it was counted as nothing, whenever that was."""
        if job in self.open:
            return
        self._charge(Told(0, self.now_s), took)
        lapsed_s = self.now_s - DAY_S * (job % 2)
        was, amounts = {Unit.TOKENS: 0}, {Unit.TOKENS: took}
        self.accounts = [
            corrected(one, was, amounts, lapsed_unix_s=lapsed_s, now_unix_s=self.now_s) for one in self.accounts
        ]

    @rule(job=st.integers(0, MOST_JOBS))
    def release(self, job: int) -> None:
        if job in self.open and self.open[job].lapsed_s is None:
            del self.open[job]

    @rule()
    def lapse(self) -> None:
        for told in self.open.values():
            if told.lapsed_s is None and told.expires_s <= self.now_s:
                told.lapsed_s = self.now_s
                self._charge(told, told.amount)
                self.accounts = [charged(one, {Unit.TOKENS: told.amount}, self.now_s) for one in self.accounts]

    @rule(wait_s=st.sampled_from([1.0, 4000.0, DAY_S / 2, DAY_S, 20 * DAY_S]))
    def wait(self, wait_s: float) -> None:
        self.now_s += wait_s

    @precondition(lambda self: self.book)
    @rule()
    def refill(self) -> None:
        self.accounts = [replace(one, spent=0) for one in self.accounts]
        self.book.clear()
        self.over = dict.fromkeys(Period, 0)
        self.open = {job: told for job, told in self.open.items() if told.lapsed_s is None}

    def _charge(self, told: Told, amount: int) -> None:
        told.charges = {period: (window(period, self.now_s)[0], amount) for period in Period}
        self.book.append(told)
        self._note_over(told, amount)

    def _note_over(self, told: Told, took: int) -> None:
        for period in Period:
            self.over[period] += max(0, took - told.amount)

    @invariant()
    def what_is_spent_is_what_the_book_says(self) -> None:
        """To the token: nothing twice, nothing lost, nothing of another period."""
        for one in self.accounts:
            begin = window(one.period, self.now_s)[0]
            expected = sum(amount for told in self.book for at_s, amount in [told.charges[one.period]] if at_s == begin)
            assert expected == rolled(one, self.now_s).spent

    @invariant()
    def nobody_is_let_in_beyond_a_limit(self) -> None:
        """Only what a job took beyond what was set aside for it may be."""
        told: Mapping[Period, Budget] = {one.period: shown(one, self.reserved, self.now_s) for one in self.accounts}
        for period, budget in told.items():
            assert budget.spent + budget.reserved <= budget.limit + self.over[period]
            assert min(budget.spent, budget.reserved) >= 0


def test_nothing_is_overspent_in_any_order() -> None:
    """Jobs that are let in, end, are released, lapse, come late and twice, over days and months: the machine compares after
    each step."""
    Purse.asked.clear()
    run_state_machine_as_test(Purse, settings=settings(max_examples=100, stateful_step_count=40, deadline=None))  # type: ignore[no-untyped-call]

    assert {"let in", "turned away"} == set(Purse.asked)


@pytest.mark.parametrize(("wait_s", "free"), [(1.0, [0, 0, 0]), (DAY_S, [40, 0, 0]), (20 * DAY_S, [40, 40, 0])])
def test_what_lapsed_and_comes_again_is_in_the_book_once(wait_s: float, free: list[int]) -> None:
    """Let in again in the same period, on the next day and in the next month: the machine's own steps, none of them by chance.
    Only periods that have begun since need room for it."""
    machine = Purse()
    machine.reserve(job=0, amount=40, lasts_s=10.0)
    machine.wait(4000.0)
    machine.lapse()
    machine.wait(wait_s)
    begun = [0 if still_counts(one, NOON + 4000.0, machine.now_s) else 40 for one in machine.accounts]
    machine.come_again()
    held = machine.reserved[Unit.TOKENS]
    machine.what_is_spent_is_what_the_book_says()
    machine.settle(job=0, share=0.5)
    machine.what_is_spent_is_what_the_book_says()

    assert (free, 40, [20] * 3) == (begun, held, [rolled(one, machine.now_s).spent for one in machine.accounts])
