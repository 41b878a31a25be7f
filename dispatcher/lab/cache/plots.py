"""Plots of an evaluation: wrong answers over hits for each policy, and what each does by scope size. It needs matplotlib, of the
extra `lab`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dispatcher.lab.cache.curves import at
from dispatcher.lab.cache.evaluate import Report, Row, SizeRow
from dispatcher.lab.figures import Axes, panels, saved

_LOOKS = {
    "plain cosine": ("0.35", "--"),
    "cosine + rules": ("C1", "-"),
    "verifier, exchanges let through": ("C2", ":"),
    "verifier": ("C0", "-"),
    "verifier + refusals": ("C3", "-."),
}
"""Colour and line of each policy that is drawn; those with few hits crowd in a corner."""

_SIZED = {
    "cosine 0.80": ("0.35", "--"),
    "cosine 0.90": ("0.6", "--"),
    "verifier": ("C0", "-"),
    "verifier + refusals": ("C3", "-."),
}
_WIDEST = 5.0
"""Percent of wrong answers up to which curves are drawn: no cache may err more often."""


def draw(report: Report, path: Path) -> list[Path]:
    """Draw all tests, and the scopes of all sizes; as PNG and SVG beside each other. Gives the files."""
    tests = [test for test in dict.fromkeys(row.test for row in report.rows) if "out of scope" not in test]
    figure, axes = panels(len(tests) + (2 if report.sizes else 0), columns=2, width=12.0, height=3.9)
    for test, one in zip(tests, axes, strict=False):
        _curves(one, [row for row in report.rows if row.test == test], report)
        one.set_title(test, fontsize=10)
    if report.sizes:
        _sizes(axes[len(tests)], report.sizes, "hits")
        _sizes(axes[len(tests) + 1], report.sizes, "errors")
    return saved(figure, path.with_suffix(""))


def _curves(axes: Axes, rows: list[Row], report: Report) -> None:
    for row in rows:
        if row.policy not in _LOOKS:
            continue
        colour, line = _LOOKS[row.policy]
        keep = 100 * row.curve.error_rate <= _WIDEST
        places = np.flatnonzero(keep)
        errors, hits = 100 * row.curve.error_rate[keep], 100 * row.curve.hit_rate[keep]
        axes.plot(errors, hits, color=colour, linestyle=line, linewidth=1.8, label=row.policy)
        found = [at(row.curve, int(place), seed=report.wish.seed, draws=200).hits for place in places]
        axes.fill_between(
            errors,
            [100 * one.low for one in found],
            [100 * one.high for one in found],
            color=colour,
            alpha=0.12,
            linewidth=0,
        )
        if row.as_set is not None and row.policy in {"verifier", "verifier + refusals"}:
            axes.plot(100 * row.as_set.errors.value, 100 * row.as_set.hits.value, "o", color=colour, markersize=6)
    axes.axvline(100 * report.wish.error_rate, color="0.7", linewidth=1, zorder=1)
    axes.set(
        xlabel="wrong answers, % of all requests", ylabel="hits, % of all requests", xlim=(0, _WIDEST), ylim=(0, None)
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="lower right", title="band: 95 %; dot: as set", title_fontsize=7)


def _sizes(axes: Axes, rows: tuple[SizeRow, ...], what: str) -> None:
    for policy, (colour, line) in _SIZED.items():
        some = [one for one in rows if one.policy == policy and one.test == "all questions"]
        if not some:
            continue
        found = [one.point.hits if what == "hits" else one.point.errors for one in some]
        sizes = [one.entries for one in some]
        axes.plot(
            sizes,
            [100 * one.value for one in found],
            color=colour,
            linestyle=line,
            marker="o",
            markersize=4,
            label=policy,
        )
        axes.fill_between(
            sizes,
            [100 * one.low for one in found],
            [100 * one.high for one in found],
            color=colour,
            alpha=0.12,
            linewidth=0,
        )
    axes.set_xscale("log")
    axes.set(
        xlabel="entries in the scope",
        ylabel=f"{'hits' if what == 'hits' else 'wrong answers'}, % of all requests",
        ylim=(0, None),
    )
    axes.set_title(f"by scope size: {'hits' if what == 'hits' else 'wrong answers'}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
