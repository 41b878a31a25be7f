"""Figures as people read them: joules, watts, tokens, shares; pure, and it knows no table."""

from __future__ import annotations

import math

from common.energy import JOULES_PER_WH

ESTIMATED = "~"
"""Before what is estimated, so that nobody takes it for a measurement."""


def joules(value: float | None, *, measured: bool = True) -> str:
    """Write joules with three digits, and their unit."""
    if value is None:
        return ""
    mark = "" if measured else ESTIMATED
    for factor, unit in ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ")):
        if value >= 0.9995 * factor:
            return f"{mark}{three(value / factor)} {unit}"
    return f"{mark}{three(value)} J"


def watt_hours(joules: float) -> str:
    """Write joules as watt-hours."""
    value = joules / JOULES_PER_WH
    return f"{three(value)} Wh" if value < 999.5 else f"{three(value / 1000)} kWh"


def watts(value: float | None, *, measured: bool) -> str:
    """Write watts without their unit."""
    return "" if value is None else f"{'' if measured else ESTIMATED}{value:.1f}"


def three(value: float) -> str:
    """Write a figure with about three digits, and never as a power of ten."""
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 99.95:
        return f"{value:,.0f}"
    digits = 1 if size >= 9.995 else 2 if size >= 0.0995 else 3
    return f"{value:.{digits}f}" if size >= 0.0005 else "<0.001"


def share(value: float | None) -> str:
    """Write a share in per cent; what is not all is never written as all, nor what is not nothing as nothing."""
    if value is None:
        return ""
    if value in {0.0, 1.0}:
        return f"{100 * value:.0f} %"
    return f"{min(99.0, max(1.0, 100 * value)):.0f} %"


def money(value: float | None, currency: str | None) -> str:
    """Write an amount with two digits that say something: what a job's energy costs is far below a cent."""
    if value is None:
        return ""
    digits = 2 if value >= 0.995 or not value else min(9, 1 - math.floor(math.log10(value)))
    return f"{value:,.{digits}f} {currency or ''}".rstrip()
