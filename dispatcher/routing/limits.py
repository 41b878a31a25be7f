"""What the owner limits, and when: watts of the fleet, of a site, of devices; hours, prices and batteries; values that look at no
device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from dispatcher.hours import Moment, Window
from dispatcher.tariff import Hours, Rate, rate_at


class Scope(StrEnum):
    """What a limit is on: the sum of all devices, that of a site's, or each device by itself."""

    FLEET = "fleet"
    SITE = "site"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Hours, and a price of energy above which something holds; both, where both are given."""

    window: Window | None = None
    tariff_above: float | None = None

    def holds(self, moment: Moment, rate: Rate) -> bool:
        """Tell whether it does at a moment, with what energy costs then."""
        if self.window is not None and not self.window.holds(moment):
            return False
        return self.tariff_above is None or (rate.per_kwh is not None and rate.per_kwh > self.tariff_above)

    def __str__(self) -> str:
        dear = "" if self.tariff_above is None else f"while energy costs more than {self.tariff_above:g}"
        return ", ".join(part for part in ("" if self.window is None else str(self.window), dear) if part)


ALWAYS = When()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most so many watts, 0 for no job at all. `of` names the site, or the devices as in `pi*`.

    `on_battery` and `battery_below_percent` ask what devices report: each for itself where the limit is on devices, else any of
    the site or of the fleet. All conditions must hold.
    """

    name: str
    watts: float
    scope: Scope = Scope.FLEET
    of: str = ""
    when: When = ALWAYS
    on_battery: bool = False
    battery_below_percent: float | None = None

    @property
    def asks_battery(self) -> bool:
        """True when it depends on what devices report."""
        return self.on_battery or self.battery_below_percent is not None

    @property
    def passing(self) -> bool:
        """True when it may end by itself while a job waits."""
        return self.asks_battery or self.when != ALWAYS

    @property
    def place(self) -> str:
        """What it is on, in words."""
        return "the fleet" if self.scope is Scope.FLEET else f"{self.scope} {self.of}"

    @property
    def conditions(self) -> str:
        """When it holds, in words; empty for one that always does."""
        return ", ".join(self._conditions())

    def _conditions(self) -> Iterator[str]:
        if self.when != ALWAYS:
            yield str(self.when)
        if self.on_battery:
            yield "on battery"
        if self.battery_below_percent is not None:
            yield f"battery below {self.battery_below_percent:g} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A strategy for a time, of tenants without one of their own."""

    name: str
    strategy: str
    when: When


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """What depends on the moment: limits, the strategy (the first schedule that holds), and what energy costs. `timezone` is what
    its hours are in; empty for that of the machine."""

    limits: tuple[Limit, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    hours: tuple[Hours, ...] = ()
    timezone: str = ""

    @property
    def empty(self) -> bool:
        """True when every moment is alike."""
        return not (self.limits or self.schedules or self.hours)

    def rate(self, rate: Rate, moment: Moment) -> Rate:
        """Give what energy costs at a moment; `rate` where no hours say."""
        return rate_at(rate, self.hours, moment)

    def strategy(self, strategy: str, moment: Moment, rate: Rate) -> str:
        """Give the strategy of a moment; `strategy` where no schedule says."""
        return next((one.strategy for one in self.schedules if one.when.holds(moment, rate)), strategy)


NO_CALENDAR = Calendar()
