"""Lets a job in, or says which budget it does not fit: one transaction, so that no two can be let in on the same rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from sqlalchemy import func, insert, select

from common.errors import BadRequest, DuplicateJob, QuotaSpent, UnknownKey
from common.key_requests import ReleaseJob
from common.keys import Period, Reservation, Reserved, Unit
from dispatcher.ledger import purse
from dispatcher.ledger.budgets import Amounts, Refusal, refusal, shown
from dispatcher.ledger.database import Database, RowRefused
from dispatcher.ledger.key_rows import amounts_of, reservation_row
from dispatcher.ledger.keyring import NOTED_S, note_used, require_live
from dispatcher.ledger.rows import Row
from dispatcher.ledger.tables import reservations, shares

USUAL_J_PER_TOKEN = 3.0
"""Where no job has told of any: a small model on a Jetson takes one joule a token, on a Raspberry Pi some three."""

RECENT_SHARES = 2000
REMEMBERED_S = 60.0

PASSING_S = 5.0
"""When to try again where jobs that run may give some back."""

_OF_TIME = {Period.DAY: " a day", Period.MONTH: " a month", Period.EVER: ""}
_TOLD = {Unit.TOKENS: (1, "tokens"), Unit.MONEY: (1_000_000, "USD"), Unit.ENERGY: (1000, "J")}


class Usual:
    """What a token usually takes, by what devices have told lately; asked of the database once a minute at most."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: Mapping[str, float] = {}
        self._all = USUAL_J_PER_TOKEN
        self._until_unix_s = 0.0

    async def joules_per_token(self, tenant: str, now_unix_s: float) -> float:
        """Give the mean of the tenant's jobs, else of everybody's, else the stated one. Raises `LedgerUnavailable`.

        It is of tokens that were answered; those that are asked take less, so for both together it is rather too much.
        """
        if not now_unix_s < self._until_unix_s <= now_unix_s + REMEMBERED_S:
            await self._look()
            self._until_unix_s = now_unix_s + REMEMBERED_S
        return self._known.get(tenant, self._all)

    async def _look(self) -> None:
        of = shares.c.tenant, shares.c.joules, shares.c.tokens
        recent = select(*of).order_by(shares.c.received_unix_s.desc()).limit(RECENT_SHARES).subquery()
        sums = func.sum(recent.c.joules), func.sum(recent.c.tokens)
        async with self._database.reading() as connection:
            found = (await connection.execute(select(recent.c.tenant, *sums).group_by(recent.c.tenant))).all()
        tokens = sum(int(one[2]) for one in found)
        self._known = {tenant: float(joules) / int(its) for tenant, joules, its in found if its}
        self._all = sum(float(one[1]) for one in found) / tokens if tokens else USUAL_J_PER_TOKEN


class Reserving:
    """Sets aside and gives back, over a database."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._usual = Usual(database)

    async def reserve(self, wanted: Reservation) -> Reserved:
        """Set aside what a job may use, unless a budget of its key has not that much left; a key without budgets needs nothing.

        Raises `QuotaSpent`, `Unauthorized` for a key that has ended meanwhile, `UnknownKey`, `DuplicateJob` where the job has been
        reserved by another key, or smaller, or so long ago that it counts as spent.
        """
        now_unix_s = self._clock()
        joules = wanted.tokens * await self._usual.joules_per_token(wanted.tenant, now_unix_s)
        amounts = {
            Unit.TOKENS: wanted.tokens,
            Unit.MONEY: wanted.micro_usd,
            Unit.ENERGY: math.ceil(joules * 1000),
        }
        try:
            return await self._reserve(wanted, amounts, now_unix_s)
        except RowRefused:
            raise _taken(wanted) from None  # by another key, just now

    async def release(self, wanted: ReleaseJob) -> bool:
        """Give back what was set aside for a job that never ran, if that is its holder's alone."""
        async with self._database.writing() as connection:
            await purse.hold(connection, [wanted.key])
            return await purse.free(connection, wanted.key, wanted.job, wanted.holder)

    async def lapse(self) -> int:
        """Count as spent whatever has no record after its time; gives how many."""
        number = 0
        while True:
            async with self._database.writing() as connection:
                some = await purse.lapse(connection, self._clock())
            if not some:
                return number
            number += some

    async def _reserve(self, wanted: Reservation, amounts: Amounts, now_unix_s: float) -> Reserved:
        ids = [wanted.key]
        async with self._database.writing() as connection:
            key = require_usable(wanted, await purse.held(connection, wanted.key), now_unix_s)
            accounts = (await purse.accounts_of(connection, ids)).get(wanted.key, [])
            reserved = (await purse.reserved_of(connection, ids)).get(wanted.key, {})
            there = await purse.found_reservation(connection, wanted.tenant, wanted.job)
            again = there is not None and there["holder"] == wanted.holder
            open_there = there is not None and not (there["key"] == wanted.key and purse.settled(there))
            if there is not None and open_there:
                _require_same(wanted, there)
                if not again:
                    await purse.share(connection, wanted.tenant, wanted.job)
            elif accounts:
                if (why := refusal(accounts, reserved, amounts, now_unix_s)) is not None:
                    raise spent(wanted.key, why, now_unix_s)
                row = reservation_row(wanted, amounts, now_unix_s)
                if there is None:
                    await connection.execute(insert(reservations).values(row))
                else:
                    await purse.reopen(connection, row)
                reserved = {unit: reserved.get(unit, 0) + more for unit, more in amounts_of(row).items()}
            if (key["last_used_unix_s"] or 0.0) < now_unix_s - NOTED_S:
                await note_used(connection, wanted.key, now_unix_s)
        return Reserved(
            budgets=tuple(shown(one, reserved, now_unix_s) for one in accounts), anew=there is None or again
        )


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
        return "it never has that much: ask for a shorter answer"
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
    more = wanted.tokens > there["tokens"] or wanted.micro_usd > there["micro_usd"]
    if there["key"] != wanted.key or more or there["lapsed_unix_s"] is not None:
        raise _taken(wanted)


def _taken(wanted: Reservation) -> DuplicateJob:
    return DuplicateJob(
        f"a job {wanted.job} has been let in already, and is another one: give this one an id of its own"
    )
