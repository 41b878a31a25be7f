"""How sums of energy look on a terminal; it asks nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from common.ledger import By, EnergyRow
from dispatcher.cli.cache_words import plain
from dispatcher.cli.columns import Column, fitted
from dispatcher.cli.figures import joules, money, share, three, watt_hours
from dispatcher.cli.ledger_answers import measured_share

ALL = "all"
NOBODY = "(none)"
_NOBODY = ("", "-")
"""What has no device, no model or no site, as the ledger says it: a job that was refused, or answered from the cache."""


def energy_table(rows: Sequence[EnergyRow], by: By, width: int) -> RenderableType:
    """Draw one row per group and their sum, in `width` characters; what follows from the figures is said below."""
    shown = [*rows, total(rows)] if len(rows) > 1 else list(rows)
    first: Column[EnergyRow] = Column(str(by), 0, named, right=False)
    told = [column for column in _COLUMNS if column.rank < _OPTIONAL or any(column.cell(row) for row in rows)]
    return Group(fitted([first, *told], shown, width), *(Text(note, style="dim") for note in _notes(rows)))


def named(row: EnergyRow) -> str:
    """Name a group, to people."""
    return NOBODY if row.key in _NOBODY else plain(row.key)


def total(rows: Sequence[EnergyRow]) -> EnergyRow:
    """Add up. Costs in several currencies have no sum."""
    joules_, tokens = sum(row.joules for row in rows), sum(row.energy_tokens for row in rows)
    currencies = {row.currency for row in rows if row.cost is not None}
    emitted = [row.co2e_g for row in rows if row.co2e_g is not None]
    paid = [row.cost for row in rows if row.cost is not None]
    return EnergyRow(
        key=ALL,
        jobs=sum(row.jobs for row in rows),
        answered=sum(row.answered for row in rows),
        cache_hits=sum(row.cache_hits for row in rows),
        simulated_jobs=sum(row.simulated_jobs for row in rows),
        prompt_tokens=sum(row.prompt_tokens for row in rows),
        completion_tokens=sum(row.completion_tokens for row in rows),
        joules=joules_,
        idle_joules=sum(row.idle_joules for row in rows),
        lost_joules=sum(row.lost_joules for row in rows),
        cancelled_joules=sum(row.cancelled_joules for row in rows),
        energy_tokens=tokens,
        joules_per_token=joules_ / tokens if tokens and joules_ else None,
        measured_share=measured_share(rows),
        cost=sum(paid) if paid and len(currencies) == 1 else None,
        currency=next(iter(currencies)) if len(currencies) == 1 else None,
        co2e_g=sum(emitted) if emitted else None,
    )


def measured(row: EnergyRow) -> bool:
    """Tell whether all of it comes from sensors."""
    return row.measured_share is not None and row.measured_share >= 1.0


def simulated(rows: Sequence[EnergyRow]) -> str:
    """Say how much of it no real device has drawn; nothing where all did."""
    every = total(rows)
    if not every.simulated_jobs:
        return ""
    return (
        "simulated"
        if every.simulated_jobs >= every.jobs
        else f"{every.simulated_jobs:,} of {every.jobs:,} jobs simulated"
    )


def cost(row: EnergyRow) -> str:
    """Write the cost of the energy."""
    return money(row.cost, plain(row.currency or ""))


def grams(value: float | None) -> str:
    """Write grams of CO2 equivalent."""
    if value is None:
        return ""
    return f"{three(value)} g" if value < 999.5 else f"{three(value / 1000)} kg"


def _lost(row: EnergyRow, value: float) -> str:
    return joules(value, measured=measured(row)) if value else ""


_OPTIONAL = 10
"""From this rank on a column is there only where it says something."""

_COLUMNS: tuple[Column[EnergyRow], ...] = (
    Column("jobs", 0, lambda row: f"{row.jobs:,}"),
    Column("tokens", 4, lambda row: f"{row.completion_tokens:,}"),
    Column("energy", 0, lambda row: joules(row.joules, measured=measured(row) or not row.joules)),
    Column("J/token", 1, lambda row: "" if row.joules_per_token is None else three(row.joules_per_token)),
    Column("Wh", 5, lambda row: watt_hours(row.joules)),
    Column("measured", 2, lambda row: share(row.measured_share)),
    Column("idle", 8, lambda row: joules(row.idle_joules, measured=measured(row))),
    Column("lost", 12, lambda row: _lost(row, row.lost_joules)),
    Column("cancelled", 14, lambda row: _lost(row, row.cancelled_joules)),
    Column("cost", 10, cost),
    Column("CO2e", 11, lambda row: grams(row.co2e_g)),
    Column("mean s", 7, lambda row: "" if row.mean_total_s is None else three(row.mean_total_s)),
    Column("cached", 13, lambda row: f"{row.cache_hits:,}" if row.cache_hits else ""),
)


def _notes(rows: Sequence[EnergyRow]) -> Iterator[str]:
    if what := simulated(rows):
        yield f"{what}: what simulated devices measure is their simulator's, and no real watt"
    if any(row.joules and not measured(row) for row in rows):
        yield "~ in part or wholly estimated: `measured` is the share of the joules that comes from sensors"
    if any(row.idle_joules for row in rows):
        yield "energy is above idle; idle is the jobs' share of what their devices drew idle meanwhile, and not in it"
    if any(row.lost_joules for row in rows):
        yield "lost is in energy: attempts whose text nobody was given"
    if any(row.cancelled_joules for row in rows):
        yield "cancelled is in lost: jobs that somebody stopped; the rest failed, or another device was faster"
