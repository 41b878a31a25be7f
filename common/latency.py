"""How long answers took, as it is asked for over the bus and told: columns of time, buckets of seconds; it counts nothing itself.

The ledger answers `latency` under `llm.v1.ledger.`. A job stands in the column in which it came, so the newest ones are not whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le, MaxLen
from pydantic import ConfigDict

from common.dates import LATEST_UNIX_S
from common.errors import BadRequest
from common.messages import Count, Number, Patterns, Token, Whole

Moment = Annotated[Number, Ge(0), Le(LATEST_UNIX_S)]

SPAN_S = 3600
LEAST_SPAN_S, MOST_SPAN_S = 60, 31 * 86_400
MOST_COLUMNS = 120
USUAL_COLUMNS = 60

STEPS_S = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200,
)  # fmt: skip
"""How long a column is where nobody says: what people count time in."""

PER_OCTAVE = 4
BUCKETS = 64
LEAST_S = 0.02
"""What is quicker is of one bucket, and what takes longer than a quarter of an hour is of one."""

BOUNDS_S = tuple(float(f"{LEAST_S * 2 ** (number / PER_OCTAVE):.6g}") for number in range(BUCKETS - 1))
"""Where one bucket ends and the next begins; the first has no beginning, and the last no end."""

MOST_NAMES = 50
"""Devices, and models, that are told by name: those with the most answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The columns of a span: `columns` of `step_s` each, from `since_unix_s` on."""

    since_unix_s: int
    step_s: int
    columns: int

    @property
    def until_unix_s(self) -> int:
        return self.since_unix_s + self.columns * self.step_s


def window(*, since_s: int, until_unix_s: float, step_s: int | None, most: int, usual: int, least_s: int = 1) -> Window:
    """Give the columns of the `since_s` before a moment: the last one has the moment in it, and they are counted from 1970.
    Without a step there are `usual` ones at most, none shorter than `least_s`. Raises `BadRequest` for more than `most`."""
    if step_s is None:
        days = (86_400 * number for number in chain((1, 2), repeat(7)))
        step_s = next(one for one in chain(STEPS_S, days) if one >= least_s and one * usual >= since_s)
    columns = -(-since_s // step_s)
    if columns > most:
        raise BadRequest(
            f"since_s={since_s} in steps of {step_s} s are {columns} columns, and at most {most} are told: set step_s to "
            f"{-(-since_s // most)} or more",
            param="step_s",
        )
    end = (int(until_unix_s) // step_s + 1) * step_s
    return Window(since_unix_s=end - columns * step_s, step_s=step_s, columns=columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyQuery:
    """Asks for the chats that came in the `since_s` before a moment, of one `device` or `model` or of all, as far as they are of
    those that the asker is allowed."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    since_s: Annotated[int, Ge(LEAST_SPAN_S), Le(MOST_SPAN_S)] = SPAN_S
    until_unix_s: Moment
    step_s: Annotated[int, Ge(1), Le(MOST_SPAN_S)] | None = None
    device: Token | None = None
    model: Annotated[str, MaxLen(200)] | None = None
    allow_devices: Patterns = ()
    allow_models: Patterns = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Of `count` answers; absent where there are none."""

    count: Count = 0
    p50_s: Number | None = None
    p95_s: Number | None = None
    p99_s: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyColumn(Percentiles):
    """Of the answers of one column, counted from 0."""

    column: Count


Cell = tuple[Count, Count, Count]
"""The numbers of a column and of a bucket, and how many answers are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySeries(Percentiles):
    """Of all answers, by column, and by column and bucket; where there are none, nothing is told."""

    columns: tuple[LatencyColumn, ...] = ()
    cells: tuple[Cell, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedLatency:
    """Of one device, or one model."""

    name: str
    first_token: Percentiles
    total: Percentiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """How the chats ended; times are of those alone that were `answered` by a model. `answered` has no `cache_hits` in it."""

    answered: Count = 0
    cache_hits: Count = 0
    failed: Count = 0
    refused: Count = 0
    cancelled: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long answers took from their request, to the first token and in all.

    `bounds_s` are where buckets end: bucket 0 is below the first, and the last one has no end. `devices` are those of the model
    that was asked for, `models` those of the device, the most used first; `more_names` tells that some are left out. Where there
    were more chats than are looked at, `left_out_before_unix_s` says from when on none is missing.
    """

    source: Literal["ledger"] = "ledger"
    percentiles_from: Literal["values"] = "values"
    since_unix_s: Whole
    until_unix_s: Whole
    step_s: Count
    columns: Count
    bounds_s: tuple[Number, ...] = BOUNDS_S
    outcomes: Outcomes
    simulated: Count = 0
    first_token: LatencySeries
    total: LatencySeries
    devices: tuple[NamedLatency, ...] = ()
    models: tuple[NamedLatency, ...] = ()
    more_names: bool = False
    left_out_before_unix_s: Number | None = None
