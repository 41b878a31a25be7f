"""Decides which jobs are let in, one after the other, over what one transaction has read of their keys, and notes what it is to
write; it knows no database. Times are passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from common.errors import BadRequest, DuplicateJob, QuotaSpent, UnknownKey
from common.keys import Period, Reservation, Reserved, Unit
from dispatcher.ledger.budgets import Account, Amounts, Refusal, corrected, refusal, shown, shrunk, still_counts
from dispatcher.ledger.key_rows import amounts_of, reservation_row
from dispatcher.ledger.keyring import NOTED_S, require_live
from dispatcher.ledger.purse import Name, given_up, never_was, reopened_by, settled
from dispatcher.ledger.rows import Row

PASSING_S = 5.0
"""When to try again where jobs that run may give some back."""

_OF_TIME = {Period.DAY: " a day", Period.MONTH: " a month", Period.EVER: ""}
_TOLD = {Unit.TOKENS: (1, "tokens"), Unit.MONEY: (1_000_000, "USD"), Unit.ENERGY: (1000, "J")}


@dataclass(slots=True, kw_only=True)
class Book:
    """What was read: keys and their budgets by id, what is set aside for their jobs, and reservations by name. What is decided is
    entered, so that of two jobs of one transaction the second sees the first."""

    keys: dict[str, Row]
    accounts: dict[str, list[Account]]
    reserved: dict[str, dict[Unit, int]]
    there: dict[Name, Row]
    new: dict[Name, Row] = field(default_factory=dict)
    reopened: dict[Name, Row] = field(default_factory=dict)
    shared: set[Name] = field(default_factory=set)
    uncounted: set[str] = field(default_factory=set)
    """Keys of which something that had lapsed is set aside again, and spent no more."""
    used: set[str] = field(default_factory=set)


def let_in(book: Book, wanted: Reservation, amounts: Amounts, now_unix_s: float) -> Reserved:
    """Let a job in, and enter it. Raises, and has entered nothing then, `QuotaSpent`, `Unauthorized`, `UnknownKey`, `BadRequest`
    and `DuplicateJob`."""
    key = require_usable(wanted, book.keys.get(wanted.key), now_unix_s)
    accounts = book.accounts.get(wanted.key, [])
    name = (wanted.tenant, wanted.job)
    there = book.there.get(name)
    anew = there is None or never_was(there) or there["holder"] == wanted.holder
    if there is not None:
        _require_same(wanted, there)
    if there is not None and there["lapsed_unix_s"] is None:
        if not anew:
            _share(book, name)
    elif accounts:
        if there is not None and not settled(there):
            _count_again(book, wanted, there, now_unix_s)
        else:
            _set_aside(book, wanted, _fitting(book, wanted, amounts, now_unix_s), now_unix_s)
    if (key["last_used_unix_s"] or 0.0) < now_unix_s - NOTED_S:
        book.used.add(wanted.key)
    reserved = book.reserved.get(wanted.key, {})
    entered = book.there.get(name)
    bound = entered if entered is not None and not settled(entered) else None
    return Reserved(
        budgets=tuple(shown(one, reserved, now_unix_s) for one in book.accounts.get(wanted.key, [])),
        anew=anew,
        tokens=None if bound is None else int(bound["tokens"]),
        micro_usd=None if bound is None else int(bound["micro_usd"]),
    )


def _fitting(book: Book, wanted: Reservation, amounts: Amounts, now_unix_s: float) -> Amounts:
    """Give what fits all budgets of its key. Raises `QuotaSpent`."""
    accounts, reserved = book.accounts[wanted.key], book.reserved.get(wanted.key, {})
    if wanted.least_tokens is not None:
        amounts = shrunk(accounts, reserved, amounts, wanted.least_tokens, now_unix_s)
    _require_room(wanted.key, accounts, reserved, amounts, now_unix_s)
    return amounts


def _require_room(
    key: str, accounts: Sequence[Account], reserved: Amounts, amounts: Amounts, now_unix_s: float
) -> None:
    if (why := refusal(accounts, reserved, amounts, now_unix_s)) is not None:
        raise spent(key, why, now_unix_s)


def _count_again(book: Book, wanted: Reservation, there: Row, now_unix_s: float) -> None:
    """Set aside again, as it was, for the same request, what counts as spent already: only periods that began since must have
    room for it. Raises `QuotaSpent`."""
    key, was, lapsed_unix_s = wanted.key, amounts_of(there), there["lapsed_unix_s"]
    accounts = book.accounts[key]
    unpaid = [one for one in accounts if not still_counts(one, lapsed_unix_s, now_unix_s)]
    _require_room(key, unpaid, book.reserved.get(key, {}), was, now_unix_s)
    back = [corrected(one, was, {}, lapsed_unix_s=lapsed_unix_s, now_unix_s=now_unix_s) for one in accounts]
    book.accounts[key] = back
    book.uncounted.add(key)
    _set_aside(book, wanted, was, now_unix_s)


def _set_aside(book: Book, wanted: Reservation, amounts: Amounts, now_unix_s: float) -> None:
    row = reservation_row(wanted, amounts, now_unix_s)
    name = (wanted.tenant, wanted.job)
    if (there := book.there.get(name)) is not None:
        row["holder"] = reopened_by(there, wanted.holder)
        book.reopened[name] = row
    else:
        book.new[name] = row
    book.there[name] = row
    reserved = book.reserved.get(row["key"], {})
    book.reserved[row["key"]] = {unit: reserved.get(unit, 0) + more for unit, more in amounts_of(row).items()}


def _share(book: Book, name: Name) -> None:
    """Have nobody give it back: several requests mean it."""
    if name not in book.new:
        book.shared.add(name)
    book.there[name]["holder"] = None


def require_usable(wanted: Reservation, key: Row | None, now_unix_s: float) -> Row:
    """Give the key's row. Raises `UnknownKey`, `Unauthorized` for one that has ended since it was checked, and `BadRequest` for
    another tenant's."""
    if key is None or key["parent"] is not None:
        raise UnknownKey(f"there is no key {wanted.key}")
    if key["tenant"] != wanted.tenant:
        raise BadRequest(f"key {wanted.key} is of another tenant than {wanted.tenant}", param="tenant")
    require_live(key, now_unix_s)
    return key


def spent(key: str, why: Refusal, now_unix_s: float) -> QuotaSpent:
    """Say which budget has not enough left, what is used of it, and when it begins anew or what else helps."""
    budget, (scale, unit) = why.budget, _TOLD[why.budget.unit]

    def told(amount: int) -> str:
        return f"{amount / scale:.6f}".rstrip("0").rstrip(".") if scale > 1 else str(amount)

    used = f"{told(budget.spent)} are spent, {told(budget.reserved)} set aside for jobs that run"
    return QuotaSpent(
        f"the budget of key {key} is {told(budget.limit)} {unit}{_OF_TIME[budget.period]}: {used}, and this job may take "
        f"{told(why.wanted)}; {_way_out(why)}",
        retry_after_s=_retry_after_s(why, now_unix_s),
        unit=str(budget.unit),
        period=str(budget.period),
        limit=budget.limit,
        spent=budget.spent,
        reserved=budget.reserved,
        wanted=why.wanted,
        resets_unix_s=budget.resets_unix_s,
    )


def _way_out(why: Refusal) -> str:
    if why.never:
        return "it never has that much: name a smaller max_tokens, or send shorter texts"
    ways = ["it may be enough when those have ended"] if why.passing else []
    if why.free_unix_s is not None:
        ways.append(f"it begins anew at {datetime.fromtimestamp(why.free_unix_s, UTC):%Y-%m-%d %H:%M} UTC")
    return ", and ".join(ways) or "ask whoever runs the fleet for more"


def _retry_after_s(why: Refusal, now_unix_s: float) -> float | None:
    if why.never:
        return None
    until_s = None if why.free_unix_s is None else max(0.0, why.free_unix_s - now_unix_s)
    if why.passing:
        return PASSING_S if until_s is None else min(PASSING_S, until_s)
    return until_s


def _require_same(wanted: Reservation, there: Row) -> None:
    """Raise `DuplicateJob` where another job has the id, or its sender has taken this one back. Money is no mark of another one:
    the same request is cheaper once the money is spent, and dearer once another model is there; it is told what it may cost."""
    if given_up(there, wanted.holder):
        raise DuplicateJob(f"whoever sent job {wanted.job} has taken it back already: send it again")
    if never_was(there):
        return
    needed = wanted.tokens if wanted.least_tokens is None else wanted.least_tokens
    if there["key"] != wanted.key or (needed > there["tokens"] and not settled(there)):
        raise taken(wanted)


def taken(wanted: Reservation) -> DuplicateJob:
    """Say that another job has the id."""
    return DuplicateJob(
        f"a job {wanted.job} has been let in already, and is another one: give this one an id of its own"
    )
