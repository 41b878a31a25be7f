"""Figures as files; the only module that knows matplotlib, of the extra `lab`. What is drawn stands with what was measured."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

__all__ = ["Figure", "saved"]


def saved(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and SVG, the same bytes for the same figure. Gives the files."""
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".svg")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths
