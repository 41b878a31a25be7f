"""Figures as files and as text; the only module that knows matplotlib, of the extra `lab`.

What is drawn stands with what was measured.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

__all__ = ["Axes", "Figure", "canvas", "log_ticks", "palette", "panels", "png", "saved", "svg"]

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and the page's own font is used
    "svg.hashsalt": "drover",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Give an empty plot for a page, so many inches wide and high."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def panels(count: int, *, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Give so many plots side by side, `columns` in a row: the whole so many inches wide, and each row so many high."""
    rows = -(-count // columns)
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height * rows), layout="constrained")
        axes = [figure.add_subplot(rows, columns, place + 1) for place in range(count)]
    return figure, axes


def svg(figure: Figure) -> str:
    """Write a figure as SVG text, the same for the same figure."""
    out = io.StringIO()
    with rc_context(_STYLE):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def palette(name: str) -> list[Any]:
    """Give the colours of a map that has a few."""
    found = colormaps[name]
    return [found(place) for place in range(found.N)]


def log_ticks(*axes: Axis) -> None:
    """Label a logarithmic axis with plain numbers, the more of them the less it spans: one within a power of ten has marks, too.
    Call it when all is drawn."""
    for axis in axes:
        low, high = axis.get_view_interval()
        decades = math.log10(high / low) if 0.0 < low < high else 1.0
        steps = (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9) if decades < 0.8 else (1, 2, 3, 5, 7) if decades < 1.6 else (1, 2, 5)
        axis.set_major_locator(LogLocator(base=10.0, subs=steps, numticks=99))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())


def saved(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and SVG, the same bytes for the same figure. Gives the files."""
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".svg")]
    for path in paths:
        _written(figure, path)
    return paths


def png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG. Raises `OSError`."""
    _written(figure, path)


def _written(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(_STYLE):  # without its salt the names inside an SVG are drawn by chance
        figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)
