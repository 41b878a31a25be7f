"""Plots of an evaluation: what each method recovers at each share of strong calls, and APGR beside each other. It needs matplotlib,
of the extra `lab`."""

from __future__ import annotations

import textwrap
from itertools import groupby
from pathlib import Path

import numpy as np

from dispatcher.lab.figures import Axes, Figure, canvas, saved
from dispatcher.lab.router.evaluate import ALL, Report
from dispatcher.lab.router.judging import Row
from dispatcher.lab.router.metrics import pgr_curve

_LOOKS = {
    "router": ("C0", 2.4, "-"),
    "cascade": ("C3", 2.4, "-"),
    "prompt length": ("C2", 1.4, "--"),
    "domain mean": ("C1", 1.4, "--"),
    "oracle": ("0.2", 1.2, ":"),
    "text signals only": ("C4", 1.2, "-"),
    "embedding only": ("C5", 1.2, "-"),
    "ridge only": ("C6", 1.2, "-"),
    "neighbours only": ("C9", 1.2, "-"),
}
"""Colour, width and line of each method: what is to be judged stands out, and has the same colour in each plot."""

_POINTS = 400
_HEADING_CHARS = 90


def draw(report: Report, folder: Path) -> list[Path]:
    """Draw PGR over the share of strong calls, and APGR with intervals; each as PNG and SVG. Gives the files."""
    return [*saved(_curves(report), folder / "pgr"), *saved(_bars(report), folder / "apgr")]


def _curves(report: Report) -> Figure:
    figure, axes = canvas(8, 6)
    axes.plot([0, 100], [0, 100], color="0.6", linewidth=1, label="random calls, on average (0.500)")
    means = {row.method: row.order.apgr.value for row in report.rows if row.test == ALL}
    for method, score, gain in report.curves:
        if method == "random":
            continue
        curve = pgr_curve(score, gain)
        at = np.unique(np.linspace(0, len(curve) - 1, _POINTS).astype(int))
        colour, width, line = _LOOKS[method]
        axes.plot(
            100 * at / (len(curve) - 1),
            100 * curve[at],
            color=colour,
            linewidth=width,
            linestyle=line,
            zorder=3 if width > 2 else 2,
            label=f"{method} ({means[method]:.3f})",
        )
    axes.set(xlabel="strong calls, %", ylabel="performance gap recovered, %", xlim=(0, 100), ylim=(-5, 125))
    axes.grid(alpha=0.3)
    several = report.plan.repeats > 1 and report.given is None
    title = f"APGR: mean of {report.plan.repeats} divisions\ncurve: the first one" if several else "method (APGR)"
    axes.legend(title=title, fontsize=8, title_fontsize=8)
    return figure


def _bars(report: Report) -> Figure:
    """Draw a point and its interval for each method, a block for each test under its name."""
    rows = [row for row in report.rows if row.method not in {"random", "oracle"}]
    blocks = [(textwrap.wrap(test, _HEADING_CHARS), list(of)) for test, of in _by_test(rows)]
    lines = sum(len(heading) + len(of) + 1 for heading, of in blocks)
    figure, axes = canvas(8, 1 + 0.24 * lines)
    at, ticks = 0.0, {}
    for heading, of in blocks:
        at += len(heading)
        axes.text(
            0.01,
            at - 0.6,
            "\n".join(heading),
            transform=axes.get_yaxis_transform(),
            fontsize=8,
            weight="bold",
            va="bottom",
        )
        for row in of:
            ticks[at] = row.method
            _bar(axes, row, at)
            at += 1
        at += 1
    axes.axvline(0.5, color="0.6", linewidth=1, zorder=1)
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=8)
    axes.set_ylim(at - 1, -0.2)
    axes.set_xlabel("APGR with its 95 % interval; random calls give 0.5")
    axes.grid(alpha=0.3, axis="x")
    return figure


def _by_test(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    order = list(dict.fromkeys(row.test for row in rows))
    ordered = sorted(rows, key=lambda row: order.index(row.test))
    return [(test, list(of)) for test, of in groupby(ordered, key=lambda row: row.test)]


def _bar(axes: Axes, row: Row, at: float) -> None:
    found = row.order.apgr
    if np.isfinite([found.value, found.low, found.high]).all():
        colour = _LOOKS[row.method][0] if row.method in {"router", "cascade"} else "0.4"
        axes.plot([found.low, found.high], [at, at], color=colour)
        axes.plot(found.value, at, "o", color=colour, markersize=5)
