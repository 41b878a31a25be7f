"""What `drover energy --plot` draws: estimates hatched, days in their order, and no more bars than can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="of the extra lab")

import numpy as np

from common.ledger import By, EnergyRow
from dispatcher.lab import energy_plot
from dispatcher.lab.figures import canvas

DAYS = [
    EnergyRow(key=f"2026-10-{day:02}", jobs=1, completion_tokens=10, joules=float(day), measured_share=1.0)
    for day in range(1, 32)
]


def test_only_estimates_are_hatched() -> None:
    """Of 100 J, of which a sensor saw 40: 40 solid, 60 hatched, and what was drawn idle in another colour."""
    _, axes = canvas(4.0, 3.0)
    row = EnergyRow(key="pi4", jobs=1, joules=100.0, idle_joules=30.0, measured_share=0.4)
    energy_plot._bars(axes, [row], np.arange(1), 1.0, "J")
    bars = [(patch.get_width(), patch.get_hatch() is not None) for patch in axes.patches]

    assert [(40.0, False), (60.0, True), (30.0, False)] == bars
    assert "~100 J, 1 job" == axes.texts[0].get_text()


def test_the_last_days_are_drawn_in_their_order() -> None:
    """The ledger gives the newest first; of more than a month the last month is drawn, and the title says so."""
    rows = [*reversed(DAYS), EnergyRow(key="2026-09-30", jobs=1, joules=1.0)]
    shown = energy_plot._shown(rows, By.DAY)

    assert [row.key for row in DAYS] == [row.key for row in shown]
    assert "1 earlier days are not drawn" in energy_plot._title(rows, By.DAY, "since 40d")


def test_a_picture_of_anything_is_written(tmp_path: Path) -> None:
    """Groups without a joule, a token or a name are no reason to draw nothing."""
    rows = [EnergyRow(key="", jobs=0), EnergyRow(key="-", jobs=3, joules=5.0)]
    energy_plot.draw_energy(rows, By.SITE, "since today", tmp_path / "new" / "e.png")

    assert b"\x89PNG" == (tmp_path / "new" / "e.png").read_bytes()[:4]
