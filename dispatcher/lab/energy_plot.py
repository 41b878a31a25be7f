"""What `drover energy --plot` draws: joules by group, and joules per token beside them; it asks nobody.

Estimated joules are hatched: nobody should take them for a measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.energy import JOULES_PER_WH
from common.ledger import By, EnergyRow
from dispatcher.cli.energy_view import cost, grams, measured, named, simulated, total
from dispatcher.cli.figures import joules, share, three
from dispatcher.lab.figures import Axes, panels, png

MOST_BARS = 31
_ABOVE, _IDLE, _TOKEN = "#2a6fb0", "#c9d3dc", "#d9822b"
_HATCH = "////"
_NAME_CHARS = 28
_BAR_IN, _LEGEND_IN = 0.38, 0.55
"""What a bar takes, and how far below the bars the legend stands, in inches."""


def draw_energy(rows: Sequence[EnergyRow], by: By, title: str, path: Path) -> None:
    """Draw what each group took, and what a token took of it. Raises `OSError`."""
    shown = _shown(rows, by)
    figure, (energy, token) = panels(2, columns=2, width=12.0, height=2.1 + _BAR_IN * max(4, len(shown)))
    scale, unit = _unit(max((row.joules + row.idle_joules for row in shown), default=0.0))
    at = np.arange(len(shown))
    _bars(energy, shown, at, scale, unit)
    _tokens(token, shown, at)
    for axes in (energy, token):
        axes.set_yticks(at, [_name(row) for row in shown])
        axes.set_ylim(max(4, len(shown)) - 0.4, -0.6)  # one bar alone is a bar, not a wall
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
    token.set_yticklabels([])
    energy.set(xlabel=f"energy of jobs, {unit}", title="taken above idle, and the share of idle")
    token.set(xlabel="joules per token of the answer", title="for one token")
    figure.suptitle(_title(rows, by, title), x=0.01, ha="left", fontsize=12, fontweight="bold")
    png(figure, path)


def _shown(rows: Sequence[EnergyRow], by: By) -> list[EnergyRow]:
    """Days in their order, the last ones; the rest by what they took."""
    if by is By.DAY:
        return sorted(rows, key=lambda row: row.key)[-MOST_BARS:]
    return sorted(rows, key=lambda row: -row.joules)[:MOST_BARS]


def _bars(axes: Axes, rows: Sequence[EnergyRow], at: np.ndarray, scale: float, unit: str) -> None:
    """Draw measured, estimated and idle parts on top of each other, and the sum beside them."""
    sure = np.array([row.joules * (row.measured_share or 0.0) for row in rows]) / scale
    above = np.array([row.joules for row in rows]) / scale
    idle = np.array([row.idle_joules for row in rows]) / scale
    axes.barh(at, sure, height=0.72, color=_ABOVE, label="measured")
    axes.barh(
        at, above - sure, left=sure, height=0.72, color="white", edgecolor=_ABOVE, hatch=_HATCH, label="estimated"
    )
    axes.barh(at, idle, left=above, height=0.72, color=_IDLE, label="of idle, not in the figure")
    most = float((above + idle).max(initial=0.0)) or 1.0
    for place, row in enumerate(rows):
        axes.text(above[place] + idle[place] + most * 0.015, place, _said(row, scale, unit), va="center", fontsize=9)
    axes.set_xlim(0, most * 1.32)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -_LEGEND_IN / (_BAR_IN * max(4, len(rows)) + 0.4)),
        ncols=3,
        frameon=False,
        fontsize=9,
    )


def _said(row: EnergyRow, scale: float, unit: str) -> str:
    jobs = f"{row.jobs:,} job{'' if row.jobs == 1 else 's'}"
    mark = "" if measured(row) or not row.joules else "~"
    return f"{mark}{three(row.joules / scale)} {unit}, {jobs}"


def _tokens(axes: Axes, rows: Sequence[EnergyRow], at: np.ndarray) -> None:
    values = np.array([row.joules_per_token or 0.0 for row in rows])
    most = float(values.max(initial=0.0)) or 1.0
    for place, row in enumerate(rows):
        if row.joules_per_token is None:
            axes.text(most * 0.015, place, "no tokens", va="center", fontsize=9, color="0.5")
            continue
        sure = measured(row)
        axes.barh(
            at[place],
            row.joules_per_token,
            height=0.72,
            color=_TOKEN if sure else "white",
            edgecolor=_TOKEN,
            hatch=None if sure else _HATCH,
        )
        mark = "" if sure else "~"
        axes.text(
            row.joules_per_token + most * 0.015, place, f"{mark}{three(row.joules_per_token)}", va="center", fontsize=9
        )
    axes.set_xlim(0, most * 1.15)


def _unit(most: float) -> tuple[float, str]:
    """Give the unit that the longest bar is read in."""
    for scale, unit in ((1000 * JOULES_PER_WH, "kWh"), (JOULES_PER_WH, "Wh"), (1e3, "kJ")):
        if most >= 2 * scale:
            return scale, unit
    return 1.0, "J"


def _name(row: EnergyRow) -> str:
    name = named(row)
    return name if len(name) <= _NAME_CHARS else f"{name[: _NAME_CHARS - 1]}…"


def _title(rows: Sequence[EnergyRow], by: By, title: str) -> str:
    every = total(rows)
    parts = [f"{joules(every.joules, measured=measured(every))} by {by}, {title}"]
    parts += [f"{share(every.measured_share)} measured"] if every.measured_share is not None else []
    parts += [
        part
        for part in (simulated(rows), cost(every), f"{grams(every.co2e_g)} CO2e" if every.co2e_g is not None else "")
        if part
    ]
    if len(rows) > MOST_BARS:
        left = len(rows) - MOST_BARS
        parts.append(
            f"{left} earlier days are not drawn" if by is By.DAY else f"the {left} that took least are not drawn"
        )
    return "   ".join(parts)
