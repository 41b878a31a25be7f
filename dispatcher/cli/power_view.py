"""How watts look in an explained decision: what is drawn and what it costs, each limit, and what a job would add."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

MOST_DEVICES = 8

Told = Mapping[str, Any]


def power(told: Told) -> Text:
    """Draw what `routing.explain` tells of power."""
    return Text("\n" + "\n".join(_lines(told)))


def _lines(told: Told) -> Iterator[str]:
    yield f"power: the fleet draws {told['drawn_w']:.1f} W{_tariff(told['tariff'])}"
    for limit in told["limits"]:
        yield f"  limit {limit['name']}: {_limit(limit)}"
    if told["limits"]:
        ordered = sorted(told["devices"], key=lambda one: -one["with_job_w"])
        named = [f"{one['device']} {one['now_w']:.1f} > {one['with_job_w']:.1f} W" for one in ordered[:MOST_DEVICES]]
        more = f", and {len(ordered) - MOST_DEVICES} more" if len(ordered) > MOST_DEVICES else ""
        yield f"  now and with a job: {', '.join(named)}{more}"


def _tariff(rate: Told | None) -> str:
    if rate is None:
        return ""
    price = "" if rate["per_kwh"] is None else f"; energy costs {rate['per_kwh']:g} {rate['currency']}/kWh"
    return price + ("" if rate["g_co2e_per_kwh"] is None else f"; {rate['g_co2e_per_kwh']:g} g CO2e/kWh")


def _limit(limit: Told) -> str:
    drawn = "at most" if limit["drawn_w"] is None else f"{limit['drawn_w']:.1f} of"
    when = f", {limit['when']}" if limit["when"] else ""
    return f"{drawn} {limit['watts']:g} W on {limit['on']}{when}" + ("" if limit["holds"] else " (does not hold now)")
