"""What is kept for how long: old rows go, and what devices drew minute by minute becomes hours; it knows no bus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, and_, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from common.errors import ConfigError
from common.records import STREAM_AGE_S
from dispatcher.ledger.database import Database
from dispatcher.ledger.rows import Row
from dispatcher.ledger.store import insert
from dispatcher.ledger.tables import budgets, devices, feedback, jobs, keys, power, rejected, reservations, shares
from dispatcher.ledger.talk import writing

ROWS_AT_ONCE = 1000
GROUPS_AT_ONCE = 100
"""In one transaction: what comes meanwhile waits for it."""

DAY_S = 86_400.0

SETTLED_S = STREAM_AGE_S + 3600.0
"""The stream has forgotten what came before that (and clocks may differ a little): it can't be given again, and be counted
beside the hour that it went into."""

MOST_SILENT_S = 2 * DAY_S
"""Even an idle fleet tells its power by the minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many rows went; of `power_merged` each minute counts that is now in an hour. `keys` had ended as long ago."""

    jobs: int = 0
    devices: int = 0
    power: int = 0
    power_merged: int = 0
    keys: int = 0
    conversations: int = 0


async def prune(
    database: Database, *, now_unix_s: float, days: int, power_days: int, conversation_days: int = 0, sure: bool = False
) -> Pruned:
    """Forget what is older than `days`, unless that is 0, and thin out power older than `power_days`; and conversations that
    nobody has gone on with for `conversation_days`, unless that is 0.

    All is done in small steps, so that writing goes on beside it. Raises `LedgerUnavailable`, and `ConfigError` when nothing has
    come for days, unless it is `sure` of the time: by a clock that is far ahead everything is old.
    """
    if not sure:
        await _believe(database, now_unix_s)
    gone = dict.fromkeys(("jobs", "devices", "power", "keys"), 0)
    if days:
        before = now_unix_s - days * DAY_S
        await _forget(database, shares, shares.c.received_unix_s, before)
        await _forget(database, rejected, rejected.c.stored_unix_s, before)
        await _forget(database, feedback, feedback.c.received_unix_s, before)
        gone["jobs"] = await _forget(database, jobs, jobs.c.received_unix_s, before)
        gone["devices"] = await _forget(database, devices, devices.c.at_unix_s, before)
        gone["power"] = await _forget(database, power, power.c.to_unix_s, before)
        gone["keys"] = await _forget_keys(database, before)
    await _forget_sessions(database, now_unix_s)
    await _forget(database, reservations, reservations.c.lapsed_unix_s, now_unix_s - SETTLED_S)
    merged = await _thin(database, now_unix_s - power_days * DAY_S, settled_unix_s=now_unix_s - SETTLED_S)
    talk = 0
    if conversation_days:
        talk = await writing.prune(database, before_unix_s=now_unix_s - conversation_days * DAY_S)
    return Pruned(**gone, power_merged=merged, conversations=talk)


async def _forget(database: Database, table: Table, at: Column[float], before: float) -> int:
    """Delete the oldest rows again and again, until the oldest is young enough."""
    gone = 0
    while True:
        async with database.writing() as connection:
            oldest = select(at).where(at < before).order_by(at).limit(ROWS_AT_ONCE).subquery()
            upto = (await connection.execute(select(func.max(oldest.c[at.name])))).scalar()
            if upto is None:
                return gone
            gone += (await connection.execute(delete(table).where(at <= upto))).rowcount


async def _forget_keys(database: Database, before: float) -> int:
    """Delete keys that were revoked, or expired, and what belongs to no key any more."""
    async with database.writing() as connection:
        ended = or_(keys.c.revoked_unix_s < before, keys.c.expires_unix_s < before)
        gone = (await connection.execute(delete(keys).where(keys.c.parent.is_(None), ended))).rowcount
        there = select(keys.c.id)
        await connection.execute(delete(keys).where(keys.c.parent.is_not(None), keys.c.parent.not_in(there)))
        await connection.execute(delete(budgets).where(budgets.c.key.not_in(there)))
        await connection.execute(delete(reservations).where(reservations.c.key.not_in(there)))
    return gone


async def _forget_sessions(database: Database, now_unix_s: float) -> None:
    """Delete those that are over."""
    async with database.writing() as connection:
        over = keys.c.parent.is_not(None), keys.c.expires_unix_s < now_unix_s
        await connection.execute(delete(keys).where(*over))


async def _believe(database: Database, now_unix_s: float) -> None:
    newest = (jobs.c.received_unix_s, devices.c.at_unix_s, power.c.stored_unix_s)
    async with database.reading() as connection:
        found = [(await connection.execute(select(func.max(column)))).scalar() for column in newest]
    last_unix_s = max((one for one in found if one is not None), default=now_unix_s)
    if (silent_s := now_unix_s - last_unix_s) > MOST_SILENT_S:
        raise ConfigError(
            f"by this machine's clock the newest row of the ledger is {silent_s / DAY_S:.0f} days old, so the clock may be "
            "wrong, and nothing was forgotten: if it is right, `drover ledger prune --days N` forgets"
        )


async def _thin(database: Database, before_unix_s: float, *, settled_unix_s: float) -> int:
    """Merge what is old, and has come long ago: old alone is also all that a device without a clock tells."""
    merged = 0
    came = power.c.stored_unix_s
    old = and_(
        power.c.hour < int(before_unix_s // 3600),
        or_(came.is_(None), came < min(before_unix_s, settled_unix_s)),
    )
    of_one = (power.c.device, power.c.boot, power.c.hour, power.c.source, power.c.measured)
    crowded = select(*of_one).where(old).group_by(*of_one).having(func.count() > 1)
    while True:
        async with database.writing() as connection:
            groups = (await connection.execute(crowded.limit(GROUPS_AT_ONCE))).mappings().all()
            if not groups:
                return merged
            for group in groups:
                merged += await _merge(connection, old, dict(group))


async def _merge(connection: AsyncConnection, old: ColumnElement[bool], group: dict[str, Any]) -> int:
    """Put the rows of an hour into one, under the number of the first."""
    its = [old, *(power.c[name] == value for name, value in group.items())]
    found = (await connection.execute(select(power).where(*its).order_by(power.c.seq))).mappings()
    minutes = [dict(row) for row in found]
    await connection.execute(delete(power).where(*its))
    await insert(connection, power, [hour_of(minutes)])
    return len(minutes)


def hour_of(minutes: list[Row]) -> Row:
    """Sum up rows of one device: joules are added, watts and jobs at once weighed by time, uncertainty by joules; of heat and
    memory the most is kept."""
    spans = [max(0.0, one["to_unix_s"] - one["from_unix_s"]) for one in minutes]
    joules = sum(one["energy_j"] for one in minutes)
    came = [one["stored_unix_s"] for one in minutes if one["stored_unix_s"] is not None]
    idle = [one["idle_w"] for one in minutes if one["idle_w"] is not None]
    busy = [(one["in_flight"], span) for one, span in zip(minutes, spans, strict=True) if one["in_flight"] is not None]
    return {
        **minutes[0],
        "from_unix_s": min(one["from_unix_s"] for one in minutes),
        "to_unix_s": max(one["to_unix_s"] for one in minutes),
        "samples": sum(one["samples"] for one in minutes),
        "mean_w": _mean([one["mean_w"] for one in minutes], spans),
        "least_w": min(one["least_w"] for one in minutes),
        "most_w": max(one["most_w"] for one in minutes),
        "energy_j": joules,
        "jobs_j": sum(one["jobs_j"] for one in minutes),
        "jobs": sum(one["jobs"] for one in minutes),
        "idle_w": sum(idle) / len(idle) if idle else None,
        "uncertainty": _mean([one["uncertainty"] for one in minutes], [one["energy_j"] for one in minutes]),
        "stored_unix_s": max(came, default=None),
        "in_flight": _mean([jobs for jobs, _ in busy], [span for _, span in busy]) if busy else None,
        **{name: _most(minutes, name) for name in ("temperature_c", "memory_used_bytes", "memory_total_bytes")},
    }


def _most(minutes: list[Row], name: str) -> float | None:
    return max((one[name] for one in minutes if one[name] is not None), default=None)


def _mean(values: list[float], weights: list[float]) -> float:
    whole = sum(weights)
    if whole <= 0:
        return sum(values) / len(values)
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / whole
