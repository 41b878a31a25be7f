"""The arithmetic of budgets: what a period is, whether a job still fits, and what its end changes. Pure; times are passed in.

A budget has what is spent in the period that runs; what is set aside for jobs is summed up from the reservations themselves. A job
is let in where, for each budget of its key, both and what it wants are within the limit. When it ends, what was set aside is free,
and what it really took is spent: in the period in which it ends. Real ends may be dearer than what was set aside for them, so
`spent` may pass the limit by that, and no further job is let in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from common.keys import Budget, Period, Unit
from common.messages import MOST_COUNT

Amounts = Mapping[Unit, int]
"""How much of each unit; of one that is absent nothing."""

LATEST_UNIX_S = 253_370_764_799.0
"""The last second of the year 9998, behind which there is still a day: what is later is taken for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A budget as it is kept: `spent` is of the period that began at `window_unix_s`."""

    unit: Unit
    period: Period
    limit: int
    window_unix_s: float
    spent: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """The budget that has not enough left."""

    budget: Budget
    wanted: int

    @property
    def never(self) -> bool:
        """Whether it would not even be enough if nothing of it were used."""
        return self.wanted > self.budget.limit

    @property
    def passing(self) -> bool:
        """Whether it may be enough when jobs that run give back what they do not need."""
        return self.budget.spent + self.wanted <= self.budget.limit

    @property
    def free_unix_s(self) -> float | None:
        """When it begins anew; None where that helps nothing, or never comes."""
        return None if self.never else self.budget.resets_unix_s


def window(period: Period, now_unix_s: float) -> tuple[float, float | None]:
    """Give when the period that runs began, and when the next one does; that of all time has no end."""
    if period is Period.EVER:
        return 0.0, None
    now = datetime.fromtimestamp(min(max(now_unix_s, 0.0), LATEST_UNIX_S), UTC)
    begin = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if period is Period.DAY:
        return begin.timestamp(), begin.timestamp() + timedelta(days=1).total_seconds()
    begin = begin.replace(day=1)
    return begin.timestamp(), (begin + timedelta(days=31)).replace(day=1).timestamp()


def rolled(account: Account, now_unix_s: float) -> Account:
    """Begin a period anew where it is time. A clock that has gone back gives nothing back."""
    begin, _ = window(account.period, now_unix_s)
    return replace(account, window_unix_s=begin, spent=0) if begin > account.window_unix_s else account


def shown(account: Account, reserved: Amounts, now_unix_s: float) -> Budget:
    """Give a budget as it is told."""
    account = rolled(account, now_unix_s)
    return Budget(
        unit=account.unit,
        limit=account.limit,
        period=account.period,
        spent=account.spent,
        reserved=_most(reserved.get(account.unit, 0)),
        resets_unix_s=window(account.period, max(now_unix_s, account.window_unix_s))[1],
    )


def shrunk(
    accounts: Sequence[Account], reserved: Amounts, wanted: Amounts, least_tokens: int, now_unix_s: float
) -> Amounts:
    """Give what a job may have that wants so much, and would do with fewer tokens: as many as are left, and of joules in
    proportion. Where not even `least_tokens` are left, it is what those take."""
    most = tokens = wanted.get(Unit.TOKENS, 0)
    for account in accounts:
        want = wanted.get(account.unit, 0)
        if want and account.unit in {Unit.TOKENS, Unit.ENERGY}:
            told = shown(account, reserved, now_unix_s)
            tokens = min(tokens, max(0, told.limit - told.spent - told.reserved) * most // want)
    tokens = max(tokens, min(least_tokens, most))
    if tokens == most:
        return wanted
    joules = -(-wanted.get(Unit.ENERGY, 0) * tokens // most)
    return {**wanted, Unit.TOKENS: tokens, Unit.ENERGY: joules}


def refusal(accounts: Sequence[Account], reserved: Amounts, wanted: Amounts, now_unix_s: float) -> Refusal | None:
    """Tell which budget has not enough left, of several the one that is to be waited for longest; None where a job fits all. What
    wants nothing of a unit is not kept back by it."""
    found = list[Refusal]()
    for account in accounts:
        told, want = shown(account, reserved, now_unix_s), wanted.get(account.unit, 0)
        if want and told.spent + told.reserved + want > told.limit:
            found.append(Refusal(told, want))
    return max(found, key=_wait, default=None)


def _wait(one: Refusal) -> tuple[bool, float]:
    """Order by what helps: jobs that end, the next period, nothing."""
    return not one.passing, float("inf") if one.free_unix_s is None else one.free_unix_s


def charged(account: Account, amounts: Amounts, now_unix_s: float) -> Account:
    """Spend what a job took, in the period in which it ends."""
    account = rolled(account, now_unix_s)
    return replace(account, spent=_most(account.spent + amounts.get(account.unit, 0)))


def corrected(account: Account, was: Amounts, amounts: Amounts, *, lapsed_unix_s: float, now_unix_s: float) -> Account:
    """Spend what a job took whose reservation was counted as spent already: what is too much of it comes back, where the period in
    which it was counted still runs. One that is over is not opened again; of what was counted as nothing all is spent now."""
    if not any(was.values()):
        return charged(account, amounts, now_unix_s)
    if not still_counts(account, lapsed_unix_s, now_unix_s):
        return rolled(account, now_unix_s)
    account, unit = rolled(account, now_unix_s), account.unit
    return replace(account, spent=_most(max(0, account.spent + amounts.get(unit, 0) - was.get(unit, 0))))


def still_counts(account: Account, lapsed_unix_s: float, now_unix_s: float) -> bool:
    """Tell whether what was counted as spent then is a part of what is spent now."""
    return window(account.period, lapsed_unix_s)[0] >= rolled(account, now_unix_s).window_unix_s


def _most(amount: int) -> int:
    """Both databases, and whoever reads it, end there."""
    return min(amount, MOST_COUNT)
