"""The plot of a study: regret of both arms over the jobs, and what was learned meanwhile; it computes no figure of the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dispatcher.lab.feedback.study import Floats, Study
from dispatcher.lab.figures import Figure, saved
from dispatcher.routing.feedback import TERMS

WINDOW = 100
"""Jobs that a point of a curve is the mean of."""


def draw(study: Study, stem: Path) -> list[Path]:
    """Draw it as PNG and SVG; gives the files."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for name, arm, colour in (("fixed weights", study.fixed, "0.4"), ("learned weights", study.learned, "C0")):
        smooth = _smooth(arm.regret_s)
        mean, error = smooth.mean(axis=0), 1.96 * smooth.std(axis=0, ddof=1) / np.sqrt(max(2, len(smooth)))
        at = np.arange(len(mean)) + WINDOW
        above.plot(at, mean, color=colour, label=name)
        above.fill_between(at, mean - error, mean + error, color=colour, alpha=0.2, linewidth=0)
    above.set(ylabel=f"regret, s (mean of {WINDOW} jobs)", ylim=(0, None))
    above.legend(title=f"{study.seeds} fleets, mean and 95 %")
    factors = study.learned.factors.mean(axis=0)
    for number, name in enumerate(TERMS):
        below.plot(np.arange(len(factors)), factors[:, number], color=f"C{number + 1}", label=name)
    below.axhline(1.0, color="0.7", linewidth=1)
    below.set(xlabel="job", ylabel="factor on the\nowner's weight", yscale="log", ylim=(0.5, 2.0))
    below.set_yticks([0.5, 0.7, 1.0, 1.4, 2.0], ["0.5", "0.7", "1", "1.4", "2"])
    below.minorticks_off()
    below.legend(ncols=3)
    for axes in (above, below):
        axes.axvline(study.plan.shift_at, color="C3", linestyle=":")
        axes.grid(alpha=0.3)
    above.annotate(
        "speeds shift",
        (study.plan.shift_at, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -4),
        textcoords="offset points",
        va="top",
        color="C3",
    )
    return saved(figure, stem)


def _smooth(rows: Floats) -> Floats:
    sums = np.cumsum(np.pad(rows, ((0, 0), (1, 0))), axis=1)
    return (sums[:, WINDOW:] - sums[:, :-WINDOW]) / WINDOW
