"""From what chats took to columns, buckets and percentiles; pure, and exact: from each value, not from its bucket."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import ceil
from typing import Any, NamedTuple

from common.latency import (
    BOUNDS_S,
    MOST_COLUMNS,
    MOST_NAMES,
    USUAL_COLUMNS,
    Latency,
    LatencyColumn,
    LatencyQuery,
    LatencySeries,
    NamedLatency,
    Outcomes,
    Percentiles,
    Window,
    window,
)
from common.patterns import Patterns, matches

DIGITS = 4
"""Of seconds: a tenth of a millisecond is less than any clock between two processes is right by."""

_OUTCOMES = tuple(one.name for one in fields(Outcomes))

HIT = "hit"
DONE = "done"


class Took(NamedTuple):
    """A chat as it went; in the order of the columns that are read."""

    received_unix_s: float
    state: str
    device: str | None
    model: str | None
    cache_outcome: str | None
    first_token_s: float | None
    total_s: float
    simulated: bool


@dataclass(slots=True)
class _Values:
    """Seconds, by column."""

    by_column: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, column: int, seconds: float | None) -> None:
        if seconds is not None:
            self.by_column[column].append(seconds)

    def all(self) -> list[float]:
        return [one for some in self.by_column.values() for one in some]


def of_query(query: LatencyQuery) -> Window:
    """Give the columns that are asked for. Raises `BadRequest`."""
    return window(
        since_s=query.since_s,
        until_unix_s=query.until_unix_s,
        step_s=query.step_s,
        most=MOST_COLUMNS,
        usual=USUAL_COLUMNS,
    )


def latency(query: LatencyQuery, columns: Window, rows: Iterable[Took], *, left_out_before: float | None) -> Latency:
    """Count chats, newest first, which all came within the columns."""
    devices, models = query.allow_devices or None, query.allow_models or None
    seen = [row for row in rows if _allowed(row.device, devices) and _allowed(row.model, models)]
    of_model = [row for row in seen if query.model in (None, row.model)]
    of_device = [row for row in seen if query.device in (None, row.device)]
    asked = [row for row in of_model if query.device in (None, row.device)]
    answered = [row for row in asked if _outcome(row) == "answered"]
    first_token, total = _Values(), _Values()
    for row in answered:
        column = int(row.received_unix_s - columns.since_unix_s) // columns.step_s
        first_token.add(column, row.first_token_s)
        total.add(column, row.total_s)
    by_device, by_model = _named(of_model, "device"), _named(of_device, "model")
    return Latency(
        since_unix_s=columns.since_unix_s,
        until_unix_s=columns.until_unix_s,
        step_s=columns.step_s,
        columns=columns.columns,
        outcomes=_outcomes(asked),
        simulated=sum(row.simulated for row in asked),
        first_token=_series(first_token),
        total=_series(total),
        devices=tuple(by_device[:MOST_NAMES]),
        models=tuple(by_model[:MOST_NAMES]),
        more_names=max(len(by_device), len(by_model)) > MOST_NAMES,
        left_out_before_unix_s=left_out_before,
    )


def _allowed(name: str | None, patterns: Patterns) -> bool:
    """Tell whether a chat of that device or model may be counted: who may not see all sees none that nobody was chosen for."""
    return patterns is None or (name is not None and matches(name, patterns))


def _outcome(row: Took) -> str:
    """Name how a chat ended, as `Outcomes` has it."""
    if row.state != DONE:
        return row.state
    return "cache_hits" if row.cache_outcome == HIT else "answered"


def _outcomes(rows: Iterable[Took]) -> Outcomes:
    counted = Counter(map(_outcome, rows))
    return Outcomes(**{name: counted[name] for name in _OUTCOMES})


def _named(rows: Sequence[Took], what: str) -> list[NamedLatency]:
    """Tell those with names apart, the most used first."""
    found: defaultdict[str, list[Took]] = defaultdict(list)
    for row in rows:
        name = getattr(row, what)
        if name is not None and _outcome(row) == "answered":
            found[name].append(row)
    named = [
        NamedLatency(
            name=name,
            first_token=Percentiles(
                **percentiles([one.first_token_s for one in some if one.first_token_s is not None])
            ),
            total=Percentiles(**percentiles([one.total_s for one in some])),
        )
        for name, some in found.items()
    ]
    return sorted(named, key=lambda one: (-one.total.count, one.name))


def _series(values: _Values) -> LatencySeries:
    columns = sorted(values.by_column.items())
    return LatencySeries(
        **percentiles(values.all()),
        columns=tuple(LatencyColumn(column=column, **percentiles(some)) for column, some in columns),
        cells=tuple((column, *cell) for column, some in columns for cell in sorted(_buckets(some).items())),
    )


def _buckets(seconds: Iterable[float]) -> Counter[int]:
    return Counter(bisect_right(BOUNDS_S, one) for one in seconds)


def percentiles(seconds: Iterable[float]) -> Mapping[str, Any]:
    """Give the fields of `Percentiles`: the least value that so many per cent are not above."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    ranks = {f"p{share}_s": ordered[ceil(share * len(ordered) / 100) - 1] for share in (50, 95, 99)}
    return {"count": len(ordered), **{name: round(one, DIGITS) for name, one in ranks.items()}}
