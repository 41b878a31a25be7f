"""The plots of a bench as SVG text; the only module of it that draws. It needs matplotlib, of the extra `lab`."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dispatcher.lab.bench.rows import Row
from dispatcher.lab.bench.summary import shares

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and the page's own font is used
    "svg.hashsalt": "drover",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_LINES = ("-", "--", ":", "-.")
_COLOURS = 10
Groups = Mapping[str, Sequence[Row]]


def latency(groups: Groups) -> str:
    """Draw which share of the answers was there after so many seconds, for each arm."""
    figure, axes = _canvas(9.2, 4.8)
    for number, (name, rows) in enumerate(groups.items()):
        seconds = np.sort([row.latency_s for row in rows if row.success and row.latency_s is not None])
        if not len(seconds):
            continue
        share = np.arange(1, len(seconds) + 1) / len(seconds)
        axes.step(
            np.concatenate(([seconds[0]], seconds)),
            100 * np.concatenate(([0.0], share)),
            where="post",
            color=f"C{number % _COLOURS}",
            linestyle=_LINES[number // _COLOURS % len(_LINES)],
            linewidth=1.5,
            label=name,
        )
    axes.set(xscale="log", xlabel="seconds until the whole answer was there", ylabel="answers, %", ylim=(0, 101))
    axes.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axes.grid(alpha=0.25)
    _legend(axes)
    return _svg(figure)


def placed(groups: Groups, *, by: str) -> str:
    """Draw the share of the answers that each device (or model) gave, a bar for each arm."""
    parts = {name: shares(getattr(row, by) for row in rows if row.success) for name, rows in groups.items()}
    names = sorted({one for part in parts.values() for one in part})
    figure, axes = _canvas(9.2, 1.1 + 0.3 * len(parts))
    at = np.arange(len(parts))
    left = np.zeros(len(parts))
    for number, name in enumerate(names):
        width = np.array([100 * part.get(name, 0.0) for part in parts.values()])
        axes.barh(at, width, left=left, height=0.72, color=f"C{number % _COLOURS}", label=name)
        for place, (start, wide) in enumerate(zip(left, width, strict=True)):
            if wide >= 7:
                axes.text(start + wide / 2, place, f"{wide:.0f}", ha="center", va="center", color="white", fontsize=9)
        left += width
    axes.set_yticks(at, list(parts))
    axes.invert_yaxis()
    axes.set(xlabel="answers, %", xlim=(0, 100))
    _legend(axes)
    return _svg(figure)


def prediction(groups: Groups) -> str:
    """Draw predicted against actual seconds of each answer, a colour for each device."""
    figure, axes = _canvas(9.2, 5.2)
    rows = [
        row
        for found in groups.values()
        for row in found
        if row.success and row.predicted_total_s and row.total_s and row.predicted_total_s > 0
    ]
    for number, device in enumerate(sorted({row.device for row in rows})):
        of_it = [row for row in rows if row.device == device]
        axes.scatter(
            np.array([row.total_s for row in of_it], dtype=np.float64),
            np.array([row.predicted_total_s for row in of_it], dtype=np.float64),
            s=12,
            alpha=0.5,
            linewidths=0,
            color=f"C{number % _COLOURS}",
            label=device,
        )
    if rows:
        ends = [value for row in rows for value in (row.total_s, row.predicted_total_s) if value]
        span = [min(ends) / 1.2, max(ends) * 1.2]
        axes.plot(span, span, color="0.5", linewidth=1, label="as predicted")
        axes.set(xscale="log", yscale="log", xlim=span, ylim=span)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axes.set(xlabel="actual seconds", ylabel="predicted seconds")
    axes.grid(alpha=0.25)
    _legend(axes)
    return _svg(figure)


def trade(points: Mapping[str, tuple[float, float]]) -> str:
    """Draw joules an answer over its mean seconds, a point for each arm: down and to the left is better."""
    figure, axes = _canvas(9.2, 4.6)
    for number, (name, (seconds, joules)) in enumerate(points.items()):
        axes.scatter([seconds], [joules], s=36, color=f"C{number % _COLOURS}", zorder=3)
        axes.annotate(name, (seconds, joules), xytext=(6, 4), textcoords="offset points", fontsize=9)
    axes.set(xlabel="mean seconds an answer", ylabel="joules an answer")
    axes.margins(0.12)
    axes.grid(alpha=0.25)
    return _svg(figure)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
