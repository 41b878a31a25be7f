"""What one run of the lab says of itself, so that nobody else need know its files: the schema, with its bounds.

It is written to `NAME.manifest.json` beside the rows. Anybody may have changed it since: what is out of bounds is no manifest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from annotated_types import MaxLen, MinLen
from pydantic import ConfigDict, FailFast, Field

from common.messages import Count, Number

ENDING = ".manifest.json"
MOST_BYTES = 4 << 20
MOST_ARMS, MOST_METRICS, MOST_PLOTS, MOST_LINES, MOST_POINTS = 128, 64, 16, 128, 500
MOST_CAVEATS, MOST_FACTS = 64, 40

Name = Annotated[str, MinLen(1), MaxLen(200)]
Words = Annotated[str, MaxLen(2000)]
Facts = Annotated[dict[Name, Words], MaxLen(MOST_FACTS)]
FILE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}$"
"""A name in the manifest's own folder: it leads nowhere else."""

FileName = Annotated[str, Field(pattern=FILE_NAME)]

Point = tuple[Number, Number]


class Kind(StrEnum):
    """Which verb measured."""

    BENCH = "bench"
    ROUTER = "router"
    REPLAY = "replay"
    CACHE = "cache"
    SPEED = "speed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Closed:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(_Closed):
    """What is compared: `what` says it to people, `better` which way is, if either is."""

    name: Name
    what: Words
    unit: Annotated[str, MaxLen(40)] = ""
    better: Literal["low", "high"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure(_Closed):
    """A figure, absent where there is none: with its 95 % interval where one was reckoned, and its `spread`: the standard deviation
    of what it is of, or of speeds half of what lies between the least and the most."""

    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    spread: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm(_Closed):
    """One of what stands side by side: a strategy, a method, a fleet. `n` is how many it was asked; `test` says on what, where
    there are several. Figures are by the names of metrics."""

    name: Name
    n: Count
    test: Words | None = None
    figures: Annotated[dict[Name, Figure], MaxLen(MOST_METRICS)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(_Closed):
    """A series of a plot, in the order of x."""

    name: Name
    points: Annotated[tuple[Point, ...], FailFast(), MaxLen(MOST_POINTS)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot(_Closed):
    """What was drawn, as points: `x` and `y` name the axes. Of `shares` x is the place of a bar in `bars`; lines are stacked."""

    title: Name
    x: Words
    y: Words
    shape: Literal["line", "step", "points", "shares"] = "line"
    log_x: bool = False
    log_y: bool = False
    bars: Annotated[tuple[Name, ...], FailFast(), MaxLen(MOST_ARMS)] = ()
    lines: Annotated[tuple[Line, ...], FailFast(), MaxLen(MOST_LINES)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows(_Closed):
    """The raw rows: a CSV beside the manifest, with a line of names."""

    file: FileName
    count: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(_Closed):
    """One run. `simulated` is absent where no fleet was asked; `n` is all that was asked, `repeats` how often the same was."""

    version: Literal[1] = 1
    kind: Kind
    title: Name
    made_unix_s: Number
    drover: Name
    simulated: bool | None = None
    n: Count = 0
    repeats: Count = 1
    seed: int | None = None
    data: Facts = field(default_factory=dict)
    environment: Facts = field(default_factory=dict)
    caveats: Annotated[tuple[Words, ...], FailFast(), MaxLen(MOST_CAVEATS)] = ()
    metrics: Annotated[tuple[Metric, ...], FailFast(), MaxLen(MOST_METRICS)] = ()
    arms: Annotated[tuple[Arm, ...], FailFast(), MaxLen(MOST_ARMS)] = ()
    plots: Annotated[tuple[Plot, ...], FailFast(), MaxLen(MOST_PLOTS)] = ()
    rows: Rows | None = None


def known(value: float | None) -> float | None:
    """Give a number that can be written; nothing for one that is infinite, or is none."""
    return value if value is not None and math.isfinite(value) else None


def line(name: str, points: Iterable[tuple[float, float]]) -> Line:
    """Give a series of points that can be written, thinned evenly to as many as are kept, its ends among them."""
    found = [one for one in points if math.isfinite(one[0]) and math.isfinite(one[1])]
    return Line(name=name, points=tuple(thinned(found)))


def thinned(points: Sequence[Point]) -> list[Point]:
    """Leave out points, evenly."""
    if len(points) <= MOST_POINTS:
        return list(points)
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return [points[round(at * step)] for at in range(MOST_POINTS)]
