"""What energy costs, and what it puts into the air: plain arithmetic over what the owner says; which hours it is for is told by
others."""

from __future__ import annotations

from dataclasses import dataclass, replace

from common.energy import JOULES_PER_KWH, Energy


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a kilowatt-hour costs, and how many grams of CO2 equivalent its making emits; None where nobody said."""

    per_kwh: float | None = None
    currency: str = "EUR"
    g_co2e_per_kwh: float | None = None


NO_RATE = Rate()


def priced(energy: Energy, rate: Rate) -> Energy:
    """Give it with cost and emissions at a rate; of its joules alone, since the idle part is drawn without the job too."""
    kwh = energy.joules / JOULES_PER_KWH
    return replace(
        energy,
        cost=None if rate.per_kwh is None else kwh * rate.per_kwh,
        currency=None if rate.per_kwh is None else rate.currency,
        co2e_g=None if rate.g_co2e_per_kwh is None else kwh * rate.g_co2e_per_kwh,
    )
