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

_HEAD = ("fault", "jobs", "answered", "lost", "dup", "errors", "sent again", "figures", "target", "met")


def show(outcomes: Sequence[Outcome], *, took_s: float) -> None:
    """Print the table, and below it what no fault excuses."""
    table = Table(*_HEAD, title=f"fault suite, {took_s:.0f} s", show_lines=True)
    for row in outcomes:
        table.add_row(
            f"{row.fault} {row.title}",
            *(str(number) for number in _sums(row)),
            _codes(row.account.errors),
            _codes(row.account.again),
            *_columns(row.figures),
        )
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


def _columns(figures: Sequence[Figure]) -> tuple[str, str, str]:
    marks = {True: "yes", False: "NO", None: ""}
    return (
        "\n".join(figure.text for figure in figures),
        "\n".join(figure.target for figure in figures),
        "\n".join(marks[figure.met] for figure in figures),
    )


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
