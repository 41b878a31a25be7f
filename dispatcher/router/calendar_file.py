"""The tables of the routing file that depend on the moment: limits, schedules and the tariff, read into values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from common.errors import ConfigError
from common.messages import Token
from dispatcher.hours import DAY_MIN, DAYS, EVERY_DAY, Window
from dispatcher.router.page import Finite, Grams, Name, Page, Pattern, PerKwh, StrategyName, Watts
from dispatcher.router.timetable import zone_of
from dispatcher.routing import RoutingPolicy
from dispatcher.routing.limits import Calendar, Limit, Schedule, Scope, When
from dispatcher.tariff import Hours, Rate

MOST_ROWS = 100
"""Of each table: all are looked at once a minute, and the limits among them at each decision."""

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")


def _minute(text: Any) -> int:
    found = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError('a time of day is written as "06:30", up to "24:00"')
    return DAY_MIN if found[1] is None else int(found[1]) * 60 + int(found[2])


def _day(text: Any) -> int:
    if not isinstance(text, str) or text not in DAYS:
        raise ValueError(f"a day is one of {', '.join(DAYS)}")
    return DAYS.index(text)


def _zone(name: str) -> str:
    try:
        zone_of(name)
    except ConfigError as error:
        raise ValueError(error.message) from error
    return name


def _shown(name: str) -> str:
    """Every refusal, view and metric shows the name."""
    if not name.isprintable():
        raise ValueError("a name is one line of printable characters")
    return name


ShownName = Annotated[Name, AfterValidator(_shown)]
Minute = Annotated[int, BeforeValidator(_minute)]
Day = Annotated[int, BeforeValidator(_day)]
Timezone = Annotated[str, MinLen(1), MaxLen(100), AfterValidator(_zone)]


class _Timed(Page):
    """Hours, and the days on which they begin."""

    from_: Minute | None = Field(None, alias="from")
    to: Minute | None = None
    days: Annotated[list[Day], MinLen(1), MaxLen(7)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.from_ is None) != (self.to is None):
            raise ValueError("from and to belong together: give both, or none for all day")
        if self.from_ == DAY_MIN:
            raise ValueError('from is at most "23:59": of the next day, "00:00"')
        if self.from_ is not None and self.from_ == self.to:
            raise ValueError("from and to are the same: leave both out for all day")
        return self

    def window(self) -> Window | None:
        """Give the hours; None for always."""
        if self.from_ is None and self.days is None:
            return None
        days = EVERY_DAY if self.days is None else frozenset(self.days)
        return Window(from_min=self.from_ or 0, to_min=DAY_MIN if self.to is None else self.to, days=days)


class _When(_Timed):
    tariff_above: PerKwh | None = None

    def when(self) -> When:
        """Give the conditions on the moment."""
        return When(window=self.window(), tariff_above=self.tariff_above)


class LimitPage(_When):
    """`[[limit]]`."""

    name: ShownName
    watts: Watts
    site: Token | None = None
    device: Pattern | None = None
    on_battery: bool | None = None
    battery_below_percent: Annotated[Finite, Ge(0), Le(100)] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.site is not None and self.device is not None:
            raise ValueError("site and device are both given: a limit is on one of them, or without both on the fleet")
        if self.on_battery is False:
            raise ValueError("on_battery can only be true: leave it out for a limit that holds on mains too")
        return self

    def limit(self) -> Limit:
        """Give it as a value."""
        scope = Scope.SITE if self.site is not None else Scope.DEVICE if self.device is not None else Scope.FLEET
        return Limit(
            name=self.name,
            watts=self.watts,
            scope=scope,
            of=self.site or self.device or "",
            when=self.when(),
            on_battery=bool(self.on_battery),
            battery_below_percent=self.battery_below_percent,
        )


class SchedulePage(_When):
    """`[[schedule]]`."""

    name: ShownName
    strategy: StrategyName

    @model_validator(mode="after")
    def _sometimes(self) -> Self:
        if self.when() == When():
            raise ValueError(
                "it holds always: give from and to, days or tariff_above, or set strategy at the top of the file"
            )
        return self

    def schedule(self) -> Schedule:
        """Give it as a value."""
        return Schedule(name=self.name, strategy=self.strategy, when=self.when())


class _HoursPage(_Timed):
    per_kwh: PerKwh | None = None
    g_co2e_per_kwh: Grams | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.window() is None:
            raise ValueError("from and to, or days, are missing: what holds always stands in [tariff]")
        if self.per_kwh is None and self.g_co2e_per_kwh is None:
            raise ValueError("per_kwh and g_co2e_per_kwh are both missing: give one of them")
        return self

    def hours(self) -> Hours:
        """Give it as a value."""
        return Hours(window=self.window() or Window(), per_kwh=self.per_kwh, g_co2e_per_kwh=self.g_co2e_per_kwh)


class TariffPage(Page):
    """`[tariff]`."""

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    per_kwh: PerKwh | None = None
    g_co2e_per_kwh: Grams | None = None
    hours: Annotated[list[_HoursPage], MaxLen(MOST_ROWS)] = Field(default_factory=list)

    def rate(self, base: Rate) -> Rate:
        """Give what holds outside all hours; `base` where the file does not say."""
        return Rate(
            per_kwh=base.per_kwh if self.per_kwh is None else self.per_kwh,
            currency=self.currency or base.currency,
            g_co2e_per_kwh=base.g_co2e_per_kwh if self.g_co2e_per_kwh is None else self.g_co2e_per_kwh,
        )


Limits = Annotated[list[LimitPage], MaxLen(MOST_ROWS)]
Schedules = Annotated[list[SchedulePage], MaxLen(MOST_ROWS)]


def timed(
    limits: Sequence[LimitPage], schedules: Sequence[SchedulePage], tariff: TariffPage, timezone: str, base: Rate
) -> Mapping[str, Any]:
    """Give what the tables come to, as fields of a policy. Raises `ConfigError` for rows that contradict one another."""
    rows = [one.limit() for one in limits]
    hours = tuple(one.hours() for one in tariff.hours)
    faults = [
        *_twice("limit", [one.name for one in limits]),
        *_twice("schedule", [one.name for one in schedules]),
        *_overlaps(hours),
        *_priceless([*limits, *schedules], tariff.rate(base), hours),
    ]
    if faults:
        raise ConfigError("; ".join(faults[:10]))
    calendar = Calendar(
        limits=tuple(one for one in rows if one.when != When()),
        schedules=tuple(one.schedule() for one in schedules),
        hours=hours,
        timezone=timezone,
    )
    always = tuple(one for one in rows if one.when == When())
    return {"limits": always, "calendar": calendar, "rate": tariff.rate(base)}


def strategies(policy: RoutingPolicy) -> Mapping[str, str]:
    """Give the strategies that a policy's schedules name, each with its place."""
    return {f"schedule.{number}.strategy": one.strategy for number, one in enumerate(policy.calendar.schedules)}


def _twice(table: str, names: Sequence[str]) -> list[str]:
    return [
        f"{table}.{number}.name={name!r}: another {table} has this name"
        for number, name in enumerate(names)
        if name in names[:number]
    ]


def _overlaps(hours: Sequence[Hours]) -> list[str]:
    """Two prices, or two grid factors, for one minute would leave the choice to chance."""
    return [
        f"tariff.hours.{later}={one.window}: it overlaps tariff.hours.{earlier}, {hours[earlier].window}"
        for later, one in enumerate(hours)
        for earlier in range(later)
        if one.window.overlaps(hours[earlier].window)
    ]


def _priceless(rows: Sequence[LimitPage | SchedulePage], rate: Rate, hours: Sequence[Hours]) -> list[str]:
    """A condition on a price that nobody names would never hold, in silence."""
    if rate.per_kwh is not None or any(one.per_kwh is not None for one in hours):
        return []
    return [
        f"{row.name!r}: tariff_above={row.tariff_above:g} needs a price: set per_kwh in [tariff], or DROVER_TARIFF_PER_KWH"
        for row in rows
        if row.tariff_above is not None
    ]
