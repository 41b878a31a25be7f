"""Plots of an evaluation; it needs matplotlib, of the extra `lab`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dispatcher.lab.figures import Figure, saved
from dispatcher.lab.router.evaluate import Report
from dispatcher.lab.router.metrics import apgr, pgr_curve

_PALE = {"random", "oracle", "prompt length", "domain mean"}
_POINTS = 400


def draw(report: Report, folder: Path) -> list[Path]:
    """Draw PGR over the share of strong calls, and APGR with intervals; each as PNG and SVG. Gives the files."""
    return [*saved(_curves(report), folder / "pgr"), *saved(_bars(report), folder / "apgr")]


def _curves(report: Report) -> Figure:
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color="0.7", linewidth=1, label="random calls, on average (0.500)")
    for method, score, gain in report.curves:
        if method == "random":
            continue
        curve = pgr_curve(score, gain)
        at = np.unique(np.linspace(0, len(curve) - 1, _POINTS).astype(int))
        pale = method in _PALE
        axes.plot(
            100 * at / (len(curve) - 1),
            100 * curve[at],
            linewidth=1.2 if pale else 2,
            linestyle="--" if pale else "-",
            label=f"{method} ({apgr(score, gain):.3f})",
        )
    axes.set(xlabel="strong calls, %", ylabel="performance gap recovered, %", xlim=(0, 100), ylim=(-5, 125))
    axes.grid(alpha=0.3)
    axes.legend(title="method (APGR)", fontsize=8)
    return figure


def _bars(report: Report) -> Figure:
    rows = [row for row in report.rows if row.method not in {"random", "oracle"}][::-1]
    figure = Figure(figsize=(8, 1 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for at, row in enumerate(rows):
        found = row.order.apgr
        if np.isfinite([found.value, found.low, found.high]).all():
            axes.plot([found.low, found.high], [at, at], color="0.4")
            axes.plot(found.value, at, "o", color="C0" if row.method in {"router", "cascade"} else "0.4")
    axes.axvline(0.5, color="0.7", linewidth=1)
    axes.set_yticks(range(len(rows)), [f"{row.method} · {row.test}" for row in rows], fontsize=8)
    axes.set_xlabel("APGR with its 95 % interval; random calls give 0.5")
    axes.grid(alpha=0.3, axis="x")
    return figure
