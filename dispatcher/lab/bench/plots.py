"""The plots of a bench as SVG text; the only module of it that draws, and it measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.summary import shares
from dispatcher.lab.figures import Axes, Figure, canvas, log_ticks, palette, svg

_LINES = ("-", "--", ":", "-.")
_COLOURS = palette("tab20")[::2] + palette("tab20")[1::2]
"""The strong colours first, then the pale ones."""

_CHAR_PX, _LINE_PX = 5.6, 11.0
"""About the size of a character of a label, in points."""

Groups = Mapping[str, Sequence[BenchRow]]


def latency(groups: Groups) -> str:
    """Draw which share of the questions had its answer after so many seconds, for each arm: it ends below 100 where some failed."""
    figure, axes = canvas(11.0, 5.4)
    strokes = _strokes(groups)
    for name, rows in groups.items():
        seconds = np.sort([row.latency_s for row in rows if row.success and row.latency_s is not None])
        if not len(seconds):
            continue
        share = np.arange(1, len(seconds) + 1) / len(rows)
        axes.step(
            np.concatenate(([seconds[0]], seconds)),
            100 * np.concatenate(([0.0], share)),
            where="post",
            color=strokes[name][0],
            linestyle=strokes[name][1],
            linewidth=1.5,
            label=name,
        )
    axes.set(
        xscale="log", xlabel="seconds until the whole answer was there", ylabel="questions answered, %", ylim=(0, 101)
    )
    log_ticks(axes.xaxis)
    axes.grid(alpha=0.25)
    _legend(axes)
    return svg(figure)


def placed(groups: Groups, *, by: str) -> str:
    """Draw the share of the answers that each device (or model) gave, a bar for each arm."""
    parts = {name: shares(getattr(row, by) for row in rows if row.success) for name, rows in groups.items()}
    names = sorted({one for part in parts.values() for one in part})
    figure, axes = canvas(11.0, 0.9 + 0.29 * len(parts))
    at = np.arange(len(parts))
    left = np.zeros(len(parts))
    for number, name in enumerate(names):
        width = np.array([100 * part.get(name, 0.0) for part in parts.values()])
        axes.barh(at, width, left=left, height=0.74, color=_colour(number), label=name)
        for place, (start, wide) in enumerate(zip(left, width, strict=True)):
            if wide >= 4:
                axes.text(start + wide / 2, place, f"{wide:.0f}", ha="center", va="center", color="white", fontsize=9)
        left += width
    axes.set_yticks(at, list(parts))
    axes.set_ylim(len(parts) - 0.5, -0.5)
    axes.set(xlabel="answers, %", xlim=(0, 100))
    _legend(axes)
    return svg(figure)


def prediction(groups: Groups) -> str:
    """Draw predicted against actual seconds of each answer, a colour for each device."""
    figure, axes = canvas(11.0, 5.6)
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
            color=_colour(number),
            label=device,
        )
    if rows:
        ends = [value for row in rows for value in (row.total_s, row.predicted_total_s) if value]
        span = [min(ends) / 1.2, max(ends) * 1.2]
        axes.plot(span, span, color="0.5", linewidth=1, label="as predicted")
        axes.set(xscale="log", yscale="log", xlim=span, ylim=span)
        log_ticks(axes.xaxis, axes.yaxis)
    axes.set(xlabel="actual seconds", ylabel="predicted seconds")
    axes.grid(alpha=0.25)
    _legend(axes)
    return svg(figure)


def trade(points: Mapping[str, tuple[float, float]]) -> str:
    """Draw joules an answer over its mean seconds, a point for each arm: down and to the left is better."""
    figure, axes = canvas(11.0, 5.6)
    strokes = _strokes(points)
    if points:
        seconds, joules = zip(*points.values(), strict=True)
        axes.scatter(seconds, joules, s=36, color=[strokes[name][0] for name in points], zorder=3)
        axes.set(xscale="log", yscale="log")
        axes.margins(0.1)
        log_ticks(axes.xaxis, axes.yaxis)
        _name_points(figure, axes, points)
    axes.set(xlabel="mean seconds an answer", ylabel="joules an answer")
    axes.grid(alpha=0.25, which="both")
    return svg(figure)


def _name_points(figure: Figure, axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write each name beside its point, where it covers no other: right or left of it, then further up and down."""
    figure.draw_without_rendering()
    scale = 72.0 / figure.dpi
    at = {name: axes.transData.transform(point) * scale for name, point in points.items()}
    edge = axes.bbox.x0 * scale
    taken: list[tuple[float, ...]] = [
        (-1e6, -1e6, edge, 1e6),
        *((x - 3.0, y - 3.0, x + 3.0, y + 3.0) for x, y in at.values()),
    ]
    for name, (x, y) in sorted(at.items(), key=lambda one: (one[1][0], one[0])):
        wide = _CHAR_PX * len(name)
        choices = [
            (dx, dy, (x + dx, y + dy - _LINE_PX / 2, x + dx + wide, y + dy + _LINE_PX / 2))
            for dy in (0.0, 11.0, -11.0, 22.0, -22.0, 33.0, -33.0, 44.0, -44.0)
            for dx in (7.0, -7.0 - wide)
        ]
        dx, dy, box = next((one for one in choices if not any(_meet(one[2], other) for other in taken)), choices[0])
        taken.append(box)
        line = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.6} if dy else None
        axes.annotate(
            name, points[name], xytext=(dx, dy), textcoords="offset points", va="center", fontsize=9, arrowprops=line
        )


def _meet(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _strokes(names: Iterable[str]) -> dict[str, tuple[Any, str]]:
    """Give each arm colour and line: the variants of a strategy share the colour."""
    colours: dict[str, Any] = {}
    lines: dict[str, int] = {}
    found = {}
    for name in names:
        family = name.partition(":")[0]
        colour = colours.setdefault(family, _colour(len(colours)))
        found[name] = colour, _LINES[lines.get(family, 0) % len(_LINES)]
        lines[family] = lines.get(family, 0) + 1
    return found


def _colour(number: int) -> Any:
    return _COLOURS[number % len(_COLOURS)]


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)
