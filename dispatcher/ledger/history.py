"""What a device was like: its power by steps of time, as SQL for both databases, and its events, each once; it knows no bus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select

from common import codec
from common.history import (
    LEAST_STEP_S,
    MOST_EVENTS,
    MOST_POINTS,
    USUAL_POINTS,
    DeviceHistory,
    HistoryEvent,
    HistoryPoint,
    HistoryQuery,
)
from common.latency import Window, window
from common.ledger import DevicesQuery
from common.records import DeviceEntry
from dispatcher.ledger.database import Database
from dispatcher.ledger.flooring import floored
from dispatcher.ledger.queries import find_events
from dispatcher.ledger.tables import power

SAME_S = 5.0
"""Several dispatchers tell the same event so soon after one another: they see it by their own heartbeats and clocks."""

_TOLD = ("at_unix_s", "event", "state", "why", "temperature_c", "throttled", "throttling", "watts")


async def history(database: Database, query: HistoryQuery) -> DeviceHistory:
    """Give what a device was like. Raises `BadRequest` for more steps than are told."""
    steps = window(
        since_s=query.since_s,
        until_unix_s=query.until_unix_s,
        step_s=query.step_s,
        most=MOST_POINTS,
        usual=USUAL_POINTS,
        least_s=LEAST_STEP_S,
    )
    of_span = DevicesQuery(
        device=query.device, since_unix_s=steps.since_unix_s, until_unix_s=steps.until_unix_s, limit=MOST_EVENTS
    )
    events = await find_events(database, of_span)
    before = await find_events(database, DevicesQuery(device=query.device, until_unix_s=steps.since_unix_s, limit=1))
    return DeviceHistory(
        device=query.device,
        since_unix_s=steps.since_unix_s,
        until_unix_s=steps.until_unix_s,
        step_s=steps.step_s,
        points=await _points(database, query.device, steps),
        events=tuple(_event(one) for one in once(events[:MOST_EVENTS])),
        before=_event(before[0]) if before else None,
        more_events=len(events) > MOST_EVENTS,
    )


def once(events: Iterable[DeviceEntry]) -> list[DeviceEntry]:
    """Leave out, of events newest first, what another dispatcher tells a little later."""
    kept = list[DeviceEntry]()
    told = dict[tuple[str, str], DeviceEntry]()
    for event in sorted(events, key=lambda one: one.at_unix_s):
        last = told.get((event.event, event.boot))
        if last is None or last.dispatcher == event.dispatcher or event.at_unix_s - last.at_unix_s > SAME_S:
            told[event.event, event.boot] = event
            kept.append(event)
    return kept[::-1]


async def _points(database: Database, device: str, steps: Window) -> tuple[HistoryPoint, ...]:
    async with database.reading() as connection:
        found = (await connection.execute(_summing(device, steps))).mappings().all()
    return tuple(_point(dict(row), steps.step_s) for row in found)


def _summing(device: str, steps: Window) -> Select[*tuple[Any, ...]]:
    key = floored(power.c.from_unix_s / steps.step_s).label("key")
    seconds = case((power.c.to_unix_s > power.c.from_unix_s, power.c.to_unix_s - power.c.from_unix_s), else_=0.0)
    summed = (
        key,
        func.sum(seconds).label("seconds"),
        _mean(power.c.mean_w, seconds).label("watts"),
        func.min(power.c.least_w).label("least_w"),
        func.max(power.c.most_w).label("most_w"),
        func.sum(power.c.energy_j).label("energy_j"),
        _mean(case((power.c.measured, 1.0), else_=0.0), seconds).label("measured_share"),
        func.sum(power.c.jobs).label("jobs"),
        _mean(power.c.in_flight, seconds).label("in_flight"),
        func.max(power.c.temperature_c).label("temperature_c"),
        func.max(power.c.memory_used_bytes).label("memory_used_bytes"),
        func.max(power.c.memory_total_bytes).label("memory_total_bytes"),
    )
    wanted = (
        power.c.device == device,
        power.c.from_unix_s >= steps.since_unix_s,
        power.c.from_unix_s < steps.until_unix_s,
    )
    return select(*summed).where(*wanted).group_by(key).order_by(key)


def _mean(value: ColumnElement[Any], seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    """Weigh by time; what is absent has no weight."""
    return func.sum(value * seconds) / func.nullif(func.sum(case((value.is_not(None), seconds), else_=0.0)), 0.0)


def _point(row: dict[str, Any], step_s: int) -> HistoryPoint:
    # PostgreSQL sums large integers to exact decimals.
    return codec.build(HistoryPoint, {**row, "from_unix_s": int(row["key"]) * step_s, "jobs": int(row["jobs"])})


def _event(entry: DeviceEntry) -> HistoryEvent:
    return HistoryEvent(**{name: getattr(entry, name) for name in _TOLD})
