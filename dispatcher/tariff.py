"""What energy costs, and what it puts into the air: plain arithmetic over what the owner says; the moment is told by others."""

from __future__ import annotations

from dataclasses import dataclass, replace

from common.energy import JOULES_PER_KWH, Energy, unpriced
from dispatcher.hours import Moment, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a kilowatt-hour costs, and how many grams of CO2 equivalent its making emits; None where nobody said."""

    per_kwh: float | None = None
    currency: str = "EUR"
    g_co2e_per_kwh: float | None = None

    def __str__(self) -> str:
        price = "" if self.per_kwh is None else f"{self.per_kwh:g} {self.currency}/kWh"
        grid = "" if self.g_co2e_per_kwh is None else f"{self.g_co2e_per_kwh:g} g CO2e/kWh"
        return ", ".join(part for part in (price, grid) if part)


NO_RATE = Rate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """What holds in a window; None for what is as at other times."""

    window: Window
    per_kwh: float | None = None
    g_co2e_per_kwh: float | None = None


def rate_at(rate: Rate, hours: tuple[Hours, ...], moment: Moment) -> Rate:
    """Give the rate of a moment: `rate`, but for what the hours say in which it lies."""
    for one in hours:
        if one.window.holds(moment):
            return replace(
                rate,
                per_kwh=rate.per_kwh if one.per_kwh is None else one.per_kwh,
                g_co2e_per_kwh=rate.g_co2e_per_kwh if one.g_co2e_per_kwh is None else one.g_co2e_per_kwh,
            )
    return rate


def priced(energy: Energy, rate: Rate) -> Energy:
    """Give it with cost and emissions at a rate; of its joules alone, since the idle part is drawn without the job too."""
    if rate.per_kwh is None and rate.g_co2e_per_kwh is None:
        return unpriced(energy)
    kwh = energy.joules / JOULES_PER_KWH
    return replace(
        energy,
        cost=None if rate.per_kwh is None else kwh * rate.per_kwh,
        currency=None if rate.per_kwh is None else rate.currency,
        co2e_g=None if rate.g_co2e_per_kwh is None else kwh * rate.g_co2e_per_kwh,
    )
