"""What the ledger answers, as values, and what to say when none runs; it draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common import codec, ledger
from common.bus import Bus
from common.errors import BadRequest, GarbledReply, NoResponders
from common.ledger import EnergyQuery, EnergyRow, JobsQuery, Span
from common.subjects import Subjects

Told = Mapping[str, Any]

NO_LEDGER = "no ledger answers: `drover up` starts one with its fleet, and `drover ledger serve` starts one alone"


async def ask_ledger(bus: Bus, subjects: Subjects, verb: str, query: Span) -> Told:
    """Ask the ledger. Raises `NoResponders` with the way out when none runs, and what it answers with."""
    try:
        return await ledger.ask(bus, subjects, verb, query)
    except NoResponders as error:
        raise NoResponders(NO_LEDGER) from error


async def energy_rows(bus: Bus, subjects: Subjects, query: EnergyQuery) -> tuple[list[EnergyRow], bool]:
    """Ask for sums, and whether there are more groups than these. Raises as `ask_ledger`, and `GarbledReply`."""
    answer = await ask_ledger(bus, subjects, "energy", query)
    return [_row(row) for row in _listed(answer, "rows")], answer.get("more") is True


async def job_rows(bus: Bus, subjects: Subjects, query: JobsQuery) -> tuple[list[Told], str | None]:
    """Ask for jobs, the newest first, and for where the next page begins. Raises as `ask_ledger`, and `GarbledReply`."""
    answer = await ask_ledger(bus, subjects, "jobs", query)
    before = answer.get("next")
    return _listed(answer, "jobs"), before if isinstance(before, str) else None


def measured_share(rows: Sequence[EnergyRow]) -> float | None:
    """Give which part of all joules comes from sensors; None where there are none, or nobody says."""
    known = [row for row in rows if row.measured_share is not None and row.joules]
    joules = sum(row.joules for row in known)
    return sum(row.joules * (row.measured_share or 0.0) for row in known) / joules if joules else None


def _listed(answer: Told, name: str) -> list[Told]:
    rows = answer.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise GarbledReply(f"the ledger's answer has no list of {name}: it may be of another version")
    return rows


def _row(row: Told) -> EnergyRow:
    try:
        return codec.build(EnergyRow, row)
    except BadRequest as error:
        raise GarbledReply(f"a sum of the ledger can't be read: {error.message}") from error
