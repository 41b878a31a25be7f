"""Budgets in the database: what is set aside for a job, what its record settles, what lapses; it knows no bus.

Whoever changes what a key has used holds the row of that key until the end of the transaction, so that of many at once each sees
what the one before has set aside. Of several keys they are held in the order of their ids.

Each job runs these statements, and to build one takes as long as to run it: so they are built once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import UpdateBase, bindparam, delete, exists, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.errors import DuplicateJob
from common.key_requests import ReleaseJob
from common.keys import Unit
from common.records import JobEntry
from dispatcher.ledger.budgets import Account, Amounts, charged, corrected
from dispatcher.ledger.database import RowRefused
from dispatcher.ledger.key_rows import account_of, account_row, amounts_of, given_up_row
from dispatcher.ledger.rows import Row
from dispatcher.ledger.tables import budgets, jobs, keys, reservations

DONE = "done"
"""The state of a record that has an answer."""

AT_ONCE = 500
"""Reservations that lapse in one transaction."""

TOLD_AGAIN_S = 86_400.0
"""So long after it was asked the answer of a job may be told to who sends it again."""

_OPEN = reservations.c.lapsed_unix_s.is_(None)

_ANSWERED = exists().where(
    jobs.c.job == reservations.c.job,
    jobs.c.tenant == reservations.c.tenant,
    jobs.c.state == DONE,
    jobs.c.received_unix_s >= reservations.c.reserved_unix_s - TOLD_AGAIN_S,
)
"""A record that is there while the reservation is came before it: later ones settle it."""


_KEYS = keys.c.id.in_(bindparam("ids", expanding=True))
_HOLD = select(keys.c.id).where(_KEYS).order_by(keys.c.id).with_for_update()
_HELD = select(keys).where(_KEYS).order_by(keys.c.id).with_for_update()

_ACCOUNTS = (
    select(budgets)
    .where(budgets.c.key.in_(bindparam("ids", expanding=True)))
    .order_by(budgets.c.key, budgets.c.unit, budgets.c.period)
)
_SPENT = (
    update(budgets)
    .where(
        budgets.c.key == bindparam("of_key"),
        budgets.c.unit == bindparam("of_unit"),
        budgets.c.period == bindparam("of_period"),
    )
    .values(
        {name: bindparam(f"new_{name}", type_=budgets.c[name].type) for name in ("limit", "window_unix_s", "spent")}
    )
)
_SUMS = (
    select(reservations.c.key, *(func.sum(reservations.c[str(unit)]).label(f"reserved_{unit}") for unit in Unit))
    .where(_OPEN, reservations.c.key.in_(bindparam("ids", expanding=True)))
    .group_by(reservations.c.key)
    .subquery()
)
_STANDING = _ACCOUNTS.outerjoin(_SUMS, _SUMS.c.key == budgets.c.key).add_columns(
    *(_SUMS.c[f"reserved_{unit}"] for unit in Unit)
)

_THESE = tuple_(reservations.c.tenant, reservations.c.job).in_(bindparam("names", expanding=True))
_OF_JOBS = select(reservations).where(_THESE)
_FORGET = delete(reservations).where(_THESE)
_SHARE = update(reservations).where(_THESE).values(holder=None)
_MARK = update(reservations).where(_THESE).values(holder=bindparam("by", type_=reservations.c.holder.type))
_SET_ASIDE = insert(reservations)
_COUNTED = (
    update(reservations)
    .where(_THESE)
    .values(lapsed_unix_s=bindparam("at_unix_s", type_=reservations.c.lapsed_unix_s.type))
)
_EMPTY = _COUNTED.values({str(unit): 0 for unit in Unit})

Name = tuple[str, str]
"""What a reservation is found by: a tenant, and its name of a job."""


async def hold(connection: AsyncConnection, ids: Iterable[str]) -> None:
    """Have nobody else change what these keys have used, until the transaction ends; SQLite has one writer as it is."""
    if not _alone(connection):
        await connection.execute(_HOLD, {"ids": sorted(set(ids))})


async def held(connection: AsyncConnection, ids: Iterable[str]) -> dict[str, Row]:
    """Hold keys, and give their rows."""
    found = await connection.execute(_HELD, {"ids": sorted(set(ids))})
    return {row["id"]: dict(row) for row in found.mappings()}


async def accounts_of(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, list[Account]]:
    """Give the budgets of keys."""
    found: dict[str, list[Account]] = {}
    for row in (await connection.execute(_ACCOUNTS, {"ids": list(ids)})).mappings():
        found.setdefault(row["key"], []).append(account_of(dict(row)))
    return found


async def standing_of(
    connection: AsyncConnection, ids: Sequence[str]
) -> tuple[dict[str, list[Account]], dict[str, dict[Unit, int]]]:
    """Give the budgets of keys, and what is set aside for jobs of those that have any."""
    accounts: dict[str, list[Account]] = {}
    reserved: dict[str, dict[Unit, int]] = {}
    for row in (await connection.execute(_STANDING, {"ids": list(ids)})).mappings():
        accounts.setdefault(row["key"], []).append(account_of(dict(row)))
        reserved[row["key"]] = {unit: int(row[f"reserved_{unit}"] or 0) for unit in Unit}
    return accounts, reserved


async def write_accounts(connection: AsyncConnection, some: Iterable[tuple[str, Account]]) -> None:
    """Write budgets of keys that are there already."""
    rows = [account_row(key, one) for key, one in some]
    of, new = ("key", "unit", "period"), ("limit", "window_unix_s", "spent")
    if rows:
        names = {**{name: f"of_{name}" for name in of}, **{name: f"new_{name}" for name in new}}
        await connection.execute(_SPENT, [{names[name]: value for name, value in row.items()} for row in rows])


async def reservations_of(connection: AsyncConnection, names: Iterable[Name]) -> dict[Name, Row]:
    """Give what is set aside for jobs; nothing of those for which nothing is."""
    found = await connection.execute(_OF_JOBS, {"names": sorted(set(names))})
    return {_name(row): row for row in map(dict, found.mappings())}


async def set_aside(connection: AsyncConnection, rows: Iterable[Row]) -> None:
    """Write what is new; in one order, so that no two wait for each other."""
    if ordered := sorted(rows, key=_name):
        await connection.execute(_SET_ASIDE, ordered)


async def free(connection: AsyncConnection, released: ReleaseJob) -> bool:
    """Give back what its holder has set aside for a job that never ran; False where there is nothing, it has lapsed, or another
    request has come under the same id."""
    of = reservations.c
    its = of.key == released.key, of.job == released.job, of.holder == released.holder, _OPEN
    return bool((await connection.execute(delete(reservations).where(*its))).rowcount)


async def give_up(connection: AsyncConnection, tenant: str, released: ReleaseJob, now_unix_s: float) -> None:
    """Note, where nothing is set aside for a job, that its holder has taken back a wish which may come yet: `given_up` tells. Like
    all that has lapsed it is forgotten after a while."""
    name = (tenant, released.job)
    there = (await reservations_of(connection, [name])).get(name)
    if there is None:
        await set_aside(connection, [given_up_row(tenant, released, now_unix_s)])
    elif there["key"] == released.key and settled(there):
        await _of_these(connection, _MARK, [name], by=released.holder)


async def share(connection: AsyncConnection, names: Iterable[Name]) -> None:
    """Have nobody give back what is set aside for jobs: several requests mean each, and who ends does not know of the others."""
    await _of_these(connection, _SHARE, names)


async def settle(connection: AsyncConnection, ended: Sequence[JobEntry], now_unix_s: float) -> None:
    """Spend what jobs took, by records that are new here, and forget what was set aside for them.

    It counts into the period that runs now, whatever the clocks of dispatchers say. What of its reservation had lapsed comes back.
    Where several requests meant the job it may run again, and then what is set aside stays for a while, as nothing that has lapsed:
    further records are spent as well.
    """
    took: dict[tuple[str, str], list[JobEntry]] = {}
    for one in ended:
        if one.error != DuplicateJob.code:  # it is of another request under the same id
            took.setdefault((one.tenant, one.job), []).append(one)
    found = await reservations_of(connection, took) if took else {}
    if not found:
        return
    if not _alone(connection):
        await hold(connection, (row["key"] for row in found.values()))
        found = await reservations_of(connection, took)  # as they are now that nobody else changes them
    found = {name: row for name, row in found.items() if not never_was(row)}
    await _end(connection, [(row, _sum(map(taken, took[name]))) for name, row in found.items()], now_unix_s)
    shared = [name for name, row in found.items() if row["holder"] is None or settled(row)]
    await _of_these(connection, _EMPTY, shared, at_unix_s=now_unix_s)
    await _of_these(connection, _FORGET, found.keys() - shared)


def settled(row: Mapping[str, Any]) -> bool:
    """Tell whether nothing is set aside for a job any more, nor counted in its place."""
    return row["lapsed_unix_s"] is not None and not any(amounts_of(row).values())


def given_up(row: Mapping[str, Any], holder: str) -> bool:
    """Tell whether this holder has taken back its wish, before it came: another ledger may have had it so long."""
    return settled(row) and row["holder"] == holder


def reopened_by(row: Mapping[str, Any], holder: str) -> str | None:
    """Name who may give back what is set aside anew in the place of this: nobody where the job may have run."""
    return holder if never_was(row) else None


def never_was(row: Mapping[str, Any]) -> bool:
    """Tell whether it notes a wish that was taken back, and no more: it was over when it was made."""
    return settled(row) and row["holder"] is not None and row["lapsed_unix_s"] == row["reserved_unix_s"]


async def reopen(connection: AsyncConnection, row: Row) -> None:
    """Set aside anew for a job that is settled, or counts as spent, and may run once more. Raises `RowRefused` where another key
    has done so meanwhile."""
    its = reservations.c.tenant == row["tenant"], reservations.c.job == row["job"], _OPEN.is_(False)
    if not (await connection.execute(update(reservations).where(*its).values(row))).rowcount:
        raise RowRefused("it is another key's by now")


async def lapse(connection: AsyncConnection, now_unix_s: float) -> int:
    """Count as spent what is set aside for jobs whose record does not come; gives how many, at most some at once. The record may
    come yet, so they stay until nothing comes that late.

    A job that was answered lately was settled then, and who sends it again is told that answer: no record comes of that, and it is
    forgotten.
    """
    late = (
        select(reservations.c.key).where(_OPEN, reservations.c.expires_unix_s <= now_unix_s).distinct().limit(AT_ONCE)
    )
    ids = (await connection.execute(late)).scalars().all()
    if not ids:
        return 0
    await hold(connection, ids)
    ask = select(reservations, _ANSWERED.label("answered")).where(
        _OPEN, reservations.c.expires_unix_s <= now_unix_s, reservations.c.key.in_(ids)
    )
    found = [dict(row) for row in (await connection.execute(ask.limit(AT_ONCE))).mappings()]
    lost = [row for row in found if not row["answered"]]
    await _end(connection, [(row, amounts_of(row)) for row in lost], now_unix_s)
    await _of_these(connection, _COUNTED, map(_name, lost), at_unix_s=now_unix_s)
    await _of_these(connection, _FORGET, (_name(row) for row in found if row["answered"]))
    return len(found)


async def forget_lapsed(connection: AsyncConnection, key: str) -> None:
    """Have no late record of these jobs change a budget that never counted them."""
    await connection.execute(delete(reservations).where(reservations.c.key == key, _OPEN.is_(False)))


def taken(entry: JobEntry) -> dict[Unit, int]:
    """Give what a job took, rounded up: the tokens that it was asked and answered with, what providers took, and what devices drew
    above idle, also for attempts that were lost.

    An answer from the cache has its tokens, as its reader was given them; it cost nobody money or energy but for what a look for
    it took, and its record says so. What no sensor or model tells of is nothing.
    """
    joules = 0.0 if entry.energy is None else entry.energy.joules
    return {
        Unit.TOKENS: entry.usage.prompt_tokens + entry.usage.completion_tokens,
        Unit.MONEY: math.ceil(max(0.0, entry.cost_usd or 0.0) * 1e6 - _DUST),
        Unit.ENERGY: math.ceil(max(0.0, joules) * 1e3 - _DUST),
    }


_DUST = 1e-6
"""A millionth of a unit is no unit: 0.07 dollars times a million is a little more than 70 000."""


def _sum(some: Iterable[Amounts]) -> Amounts:
    total = dict.fromkeys(Unit, 0)
    for amounts in some:
        for unit in Unit:
            total[unit] += amounts.get(unit, 0)
    return total


def _name(row: Mapping[str, Any]) -> Name:
    return row["tenant"], row["job"]


def _alone(connection: AsyncConnection) -> bool:
    """Tell whether nobody else can write before the transaction ends."""
    return connection.dialect.name == "sqlite"


async def _of_these(
    connection: AsyncConnection, change: UpdateBase, names: Iterable[Name], **values: float | str
) -> None:
    """Change reservations, if any are named."""
    if some := sorted(names):
        await connection.execute(change, {"names": some, **values})


async def _end(
    connection: AsyncConnection, ends: Sequence[tuple[Mapping[str, Any], Amounts]], now_unix_s: float
) -> None:
    """Charge what these took to the budgets of their keys."""
    if not ends:
        return
    changed: list[tuple[str, Account]] = []
    for key, before in (await accounts_of(connection, sorted({row["key"] for row, _ in ends}))).items():
        after = before
        for row, amounts in ends:
            if row["key"] == key:
                after = [_charged(one, row, amounts, now_unix_s) for one in after]
        changed += [(key, one) for one, was in zip(after, before, strict=True) if one != was]
    await write_accounts(connection, changed)


def _charged(account: Account, row: Mapping[str, Any], amounts: Amounts, now_unix_s: float) -> Account:
    lapsed_unix_s = row["lapsed_unix_s"]
    if lapsed_unix_s is None:
        return charged(account, amounts, now_unix_s)
    return corrected(account, amounts_of(row), amounts, lapsed_unix_s=lapsed_unix_s, now_unix_s=now_unix_s)
