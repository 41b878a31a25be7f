"""The table of all faults, for people and as JSON; it measures nothing."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.outcome import Figure, Outcome

_HEAD = ("fault", "jobs", "answered", "lost", "dup", "errors", "sent again", "figures", "target", "")


def show(outcomes: Sequence[Outcome], *, took_s: float, full: int) -> None:
    """Print the table, and below it what no fault excuses. A fault that met fewer than `full` jobs says so."""
    table = Table(*_HEAD, title=f"fault suite, {took_s:.0f} s")
    for row in outcomes:
        _add(table, row, full=full)
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    for row in outcomes:
        for trouble in row.troubles:
            console.print(f"{row.fault}: {trouble}", markup=False)


def as_json(outcomes: Sequence[Outcome], *, took_s: float) -> str:
    """Give the same as JSON."""
    rows = [
        asdict(row) | {"figures": [asdict(figure) | {"met": figure.met} for figure in row.figures]} for row in outcomes
    ]
    return json.dumps(_plain({"took_s": round(took_s, 1), "faults": rows}), indent=2)


def _sums(row: Outcome) -> tuple[int, int, int, int]:
    account = row.account
    return account.jobs, account.answered, account.lost, account.duplicated + account.spliced


def _codes(counted: Mapping[str, int]) -> str:
    return "\n".join(f"{code} {count}" for code, count in sorted(counted.items())) or "-"


def _add(table: Table, row: Outcome, *, full: int) -> None:
    """Add a row for each figure, so that a target stands beside its figure however long that is."""
    jobs, *sums = _sums(row)
    begun = [
        f"{row.fault} {row.title}",
        f"{jobs}" if jobs >= full else f"{jobs} (below {full})",
        *(str(number) for number in sums),
        _codes(row.account.errors),
        _codes(row.account.again),
    ]
    figures = row.figures or (None,)
    for figure in figures:
        table.add_row(*begun, *_cells(figure), end_section=figure is figures[-1])
        begun = [""] * len(begun)


def _cells(figure: Figure | None) -> tuple[str, str, str]:
    if figure is None:
        return "", "", ""
    marks = {True: "met", False: "MISSED", None: ""}
    mark = "NO SAMPLE" if figure.unmeasured else marks[figure.met]
    return figure.text, figure.target, mark


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
