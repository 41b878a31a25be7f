"""What a device was like, as it is asked for over the bus and told: its power by steps of time, and what it went through.

The ledger answers `history` under `llm.v1.ledger.`. Watts, heat, memory and jobs at once are what its agent has summed up minute by
minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le, MaxLen
from pydantic import ConfigDict

from common.latency import LEAST_SPAN_S, MOST_SPAN_S, SPAN_S, Moment
from common.messages import Count, Number, Texts, Token, Whole

MOST_POINTS = 1000
USUAL_POINTS = 240
LEAST_STEP_S = 60
"""Where nobody says how long a step is: devices tell their power by the minute."""

MOST_EVENTS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """Asks for what one device was like in the `since_s` before a moment."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    device: Token
    since_s: Annotated[int, Ge(LEAST_SPAN_S), Le(MOST_SPAN_S)] = SPAN_S
    until_unix_s: Moment
    step_s: Annotated[int, Ge(1), Le(MOST_SPAN_S)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPoint:
    """A step of time: what was told of intervals that began in it, `seconds` of them together.

    `watts` is their mean, `measured_share` the part of the time for which a sensor told them. `temperature_c` is the highest at the
    end of any interval, `memory_used_bytes` the most, `in_flight` how many jobs there were at once on average, `jobs` how many
    ended. What an agent of before does not tell is absent.
    """

    from_unix_s: Whole
    seconds: Number
    watts: Number | None = None
    least_w: Number
    most_w: Number
    energy_j: Number
    measured_share: Number | None = None
    jobs: Count
    in_flight: Number | None = None
    temperature_c: Number | None = None
    memory_used_bytes: Count | None = None
    memory_total_bytes: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEvent:
    """What a device went through, as dispatchers saw it; see `common.records.DeviceEntry`."""

    at_unix_s: Number
    event: Token
    state: Token
    why: Annotated[str, MaxLen(500)] | None = None
    temperature_c: Number | None = None
    throttled: bool | None = None
    throttling: Texts = ()
    watts: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceHistory:
    """What a device was like. Steps of which nothing was told are left out; `events` are newest first, and `before` is the last one
    ahead of the span, which tells how it stood when that began. `more_events` tells that the oldest are left out."""

    device: Token
    since_unix_s: Whole
    until_unix_s: Whole
    step_s: Count
    points: tuple[HistoryPoint, ...] = ()
    events: tuple[HistoryEvent, ...] = ()
    before: HistoryEvent | None = None
    more_events: bool = False
