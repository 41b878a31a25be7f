"""What operators ask, as SQL for both databases; it knows no bus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    Table,
    and_,
    case,
    exists,
    func,
    literal,
    literal_column,
    null,
    select,
    union,
    union_all,
)

from common import codec
from common.dates import dated
from common.latency import Window
from common.ledger import By, DevicesQuery, EnergyQuery, EnergyRow, JobsQuery, Span
from common.messages import CHAT
from common.patterns import matches
from common.records import DeviceEntry, JobEntry, PowerEntry
from dispatcher.ledger import rows
from dispatcher.ledger.database import Database
from dispatcher.ledger.flooring import floored
from dispatcher.ledger.latency import Took
from dispatcher.ledger.tables import ENDING, ENDING_CHARS, devices, jobs, power, shares

NOBODY = "-"
"""Stands for the device or model of a job that none was chosen for, and for the site of a device that names none."""

_KEYS: Mapping[By, str] = {
    By.DEVICE: "device",
    By.MODEL: "model",
    By.TENANT: "tenant",
    By.DAY: "day",
    By.SITE: "site",
    By.TIME: "received_unix_s",
}

Fitting = Mapping[str, list[str]]
"""Of a column the values that are asked for; of others all are."""

_UNKNOWN = ("cost_usd", "saved_usd", "cloud_usd", "saved_against", "total_s", "first_token_s")
"""What a job has, and an attempt does not."""

_COUNTS = (
    "jobs", "answered", "cache_hits", "simulated_jobs", "prompt_tokens", "completion_tokens", "energy_answers",
)  # fmt: skip


async def find_jobs(database: Database, query: JobsQuery) -> list[JobEntry]:
    """Give one more than the limit, if there are more. A decision is read only of one job that is named."""
    wanted = within(jobs.c.received_unix_s, query)
    named = {
        "job": query.job,
        "tenant": query.tenant,
        "device": query.device,
        "model": query.model,
        "state": query.state,
        "strategy": query.strategy,
        "error": query.error,
    }
    wanted += [jobs.c[name] == value for name, value in named.items() if value is not None]
    if query.ending is not None:
        wanted.append(jobs.c.job.endswith(query.ending, autoescape=True))
        if len(query.ending) == ENDING_CHARS:  # else nobody asks, but by hand
            wanted.append(_end_of_id() == query.ending)
    if query.before is not None:
        wanted.append(jobs.c.record < query.before)
    columns = [column for column in jobs.c if query.job is not None or column is not jobs.c.decision]
    found = await _all(database, select(*columns).where(*wanted).order_by(jobs.c.record.desc()).limit(query.limit + 1))
    return [rows.job_entry(row) for row in found]


async def find_took(database: Database, columns: Window, most: int) -> list[Took]:
    """Give how chats went, newest first, and one more than `most`, if there are more."""
    wanted = (
        jobs.c.received_unix_s >= columns.since_unix_s,
        jobs.c.received_unix_s < columns.until_unix_s,
        jobs.c.kind == CHAT,
    )
    read = [jobs.c[name] for name in Took._fields]
    ask = select(*read).where(*wanted).order_by(jobs.c.received_unix_s.desc()).limit(most + 1)
    async with database.reading() as connection:
        return [Took(*row) for row in await connection.execute(ask)]


def _end_of_id() -> ColumnElement[str]:
    return literal_column(ENDING.text, jobs.c.job.type)


async def find_events(database: Database, query: DevicesQuery) -> list[DeviceEntry]:
    """Give what devices went through, newest first, and one more than the limit."""
    wanted = within(devices.c.at_unix_s, query)
    if query.device is not None:
        wanted.append(devices.c.device == query.device)
    ask = select(devices).where(*wanted).order_by(devices.c.record.desc()).limit(query.limit + 1)
    return [rows.device_entry(row) for row in await _all(database, ask)]


async def find_power(database: Database, query: DevicesQuery) -> list[PowerEntry]:
    """Give what devices drew, newest first, and one more than the limit."""
    wanted = within(power.c.from_unix_s, query)
    if query.device is not None:
        wanted.append(power.c.device == query.device)
    newest = (power.c.from_unix_s.desc(), power.c.device, power.c.seq.desc())
    ask = select(power).where(*wanted).order_by(*newest).limit(query.limit + 1)
    return [rows.power_entry(row) for row in await _all(database, ask)]


async def sum_energy(database: Database, query: EnergyQuery) -> list[EnergyRow]:
    """Give sums by group: what is by time newest first, else the hungriest first; and one more than the limit."""
    found = await _all(database, _summing(query, await _fitting(database, query)))
    return [_energy_row(_stepped(row, query.step_s) if query.by is By.TIME else row) for row in found]


async def _fitting(database: Database, query: EnergyQuery) -> Fitting:
    """Name the devices and models of the span that fit what is asked for: patterns are no SQL."""
    fits: dict[str, list[str]] = {}
    for name, patterns in (("device", query.allow_devices), ("model", query.allow_models)):
        if patterns:
            there = [select(of.c[name]).where(*within(of.c.received_unix_s, query)) for of in (jobs, shares)]
            found = await _all(database, union(*there))
            fits[name] = [row[name] for row in found if row[name] is not None and matches(row[name], tuple(patterns))]
    return fits


def _summing(query: EnergyQuery, fits: Fitting) -> Select[*tuple[Any, ...]]:
    """Jobs are counted where their answer came from, joules where they were drawn: a losing attempt is its own device's."""
    both = union_all(_counted(query, fits), _drawn(query, fits)).subquery()
    c = both.c
    joules, tokens = func.sum(c.joules), func.sum(c.energy_tokens)
    one_currency = func.count(c.currency.distinct()) == 1
    one_against = func.count(c.saved_against.distinct()) == 1
    totals = select(
        c.key,
        *(func.sum(c[name]).label(name) for name in _COUNTS),
        *(func.sum(c[name]).label(name) for name in ("joules", "idle_joules", "lost_joules", "cancelled_joules")),
        tokens.label("energy_tokens"),
        (joules / func.nullif(tokens, 0)).label("joules_per_token"),
        (joules / func.nullif(func.sum(c.energy_answers), 0)).label("joules_per_answer"),
        (func.sum(c.measured_joules) / func.nullif(joules, 0)).label("measured_share"),
        # Sums of several currencies are no sum.
        case((one_currency, func.sum(c.cost))).label("cost"),
        case((one_currency, func.max(c.currency))).label("currency"),
        func.sum(c.co2e_g).label("co2e_g"),
        func.sum(c.cost_usd).label("cost_usd"),
        func.sum(c.saved_usd).label("saved_usd"),
        func.sum(c.cloud_usd).label("cloud_usd"),
        case((one_against, func.max(c.saved_against))).label("saved_against"),
        func.avg(c.total_s).label("mean_total_s"),
        func.avg(c.first_token_s).label("mean_first_token_s"),
    ).group_by(c.key)
    first = c.key.desc() if query.by in {By.DAY, By.TIME} else joules.desc()
    return totals.order_by(first, c.key).limit(query.limit + 1)


def _counted(query: EnergyQuery, fits: Fitting) -> Select[*tuple[Any, ...]]:
    done = jobs.c.state == "done"
    nothing = literal(0.0)
    return select(
        _key(jobs, query),
        literal(1).label("jobs"),
        case((done, 1), else_=0).label("answered"),
        case((jobs.c.cache_outcome == "hit", 1), else_=0).label("cache_hits"),
        case((jobs.c.simulated, 1), else_=0).label("simulated_jobs"),
        jobs.c.prompt_tokens,
        jobs.c.completion_tokens,
        case((and_(done, jobs.c.energy_joules > 0), 1), else_=0).label("energy_answers"),
        nothing.label("joules"),
        nothing.label("idle_joules"),
        nothing.label("lost_joules"),
        nothing.label("measured_joules"),
        nothing.label("cancelled_joules"),
        literal(0).label("energy_tokens"),
        _absent(shares.c.cost).label("cost"),
        _absent(shares.c.currency).label("currency"),
        _absent(shares.c.co2e_g).label("co2e_g"),
        jobs.c.cost_usd,
        jobs.c.saved_usd,
        # Of jobs from before it was kept, as well as it is known: lost attempts that cost something are in it.
        func.coalesce(jobs.c.cloud_usd, jobs.c.saved_usd + func.coalesce(jobs.c.cost_usd, 0.0)).label("cloud_usd"),
        jobs.c.saved_against,
        case((done, jobs.c.total_s)).label("total_s"),
        case((done, jobs.c.first_token_s)).label("first_token_s"),
    ).where(*_wanted(jobs, query, fits), *within(jobs.c.received_unix_s, query))


def _drawn(query: EnergyQuery, fits: Fitting) -> Select[*tuple[Any, ...]]:
    none = [literal(0).label(name) for name in _COUNTS]
    taken = ("joules", "idle_joules", "lost_joules", "measured_joules")
    priced = ("cost", "currency", "co2e_g")
    unknown = [_absent(jobs.c[name]).label(name) for name in _UNKNOWN]
    return select(
        _key(shares, query),
        *none,
        *(shares.c[name] for name in taken),
        _cancelled().label("cancelled_joules"),
        shares.c.tokens.label("energy_tokens"),
        *(shares.c[name] for name in priced),
        *unknown,
    ).where(*_wanted(shares, query, fits), *within(shares.c.received_unix_s, query))


def _cancelled() -> ColumnElement[float]:
    """Give what was lost of a share since its job was cancelled: few have lost anything, and those alone are sought."""
    cancelled = exists().where(jobs.c.record == shares.c.record, jobs.c.state == "cancelled")
    return case((shares.c.lost_joules == 0, 0.0), (cancelled, shares.c.lost_joules), else_=0.0)


def _key(table: Table, query: EnergyQuery) -> ColumnElement[Any]:
    """Give what rows are grouped by: of sums by time the number of the step."""
    column = table.c[_KEYS[query.by]]
    stepped = floored(column / query.step_s) if query.by is By.TIME else func.coalesce(column, NOBODY)
    return stepped.label("key")


def _wanted(table: Table, query: EnergyQuery, fits: Fitting) -> list[ColumnElement[bool]]:
    of_tenant = [] if query.tenant is None else [table.c.tenant == query.tenant]
    return [*of_tenant, *(table.c[name].in_(names) for name, names in fits.items())]


def _absent(like: ColumnElement[Any]) -> ColumnElement[Any]:
    """Nothing, of a type that PostgreSQL can unite with the other half's."""
    return null().cast(like.type)


def within(column: ColumnElement[float], span: Span) -> list[ColumnElement[bool]]:
    """Give the conditions of a span of time: its beginning belongs to it, its end does not."""
    wanted: list[ColumnElement[bool]] = []
    if span.since_unix_s is not None:
        wanted.append(column >= span.since_unix_s)
    if span.until_unix_s is not None:
        wanted.append(column < span.until_unix_s)
    return wanted


def _stepped(row: dict[str, Any], step_s: int) -> dict[str, Any]:
    """Name a step by its beginning."""
    from_unix_s = int(row["key"]) * step_s
    return row | {"key": dated(from_unix_s).strftime("%Y-%m-%dT%H:%MZ"), "from_unix_s": from_unix_s}


def _energy_row(row: dict[str, Any]) -> EnergyRow:
    # PostgreSQL sums large integers to exact decimals.
    return codec.build(EnergyRow, row | {name: int(row[name]) for name in (*_COUNTS, "energy_tokens")})


async def _all(
    database: Database, ask: Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]]
) -> list[dict[str, Any]]:
    async with database.reading() as connection:
        found = await connection.execute(ask)
        return [dict(row) for row in found.mappings()]
