"""The plot of a replay: how long answers took, and what they took of the devices, beside what happened; it measures nothing.

Energy that was estimated is hatched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dispatcher.cli.figures import three
from dispatcher.lab.figures import Axes, log_ticks, palette, panels, saved
from dispatcher.lab.replay.outcome import Outcome

_HAPPENED = "0.25"
_HATCH = "////"


def draw(outcomes: Sequence[Outcome], seconds: Mapping[str, Sequence[float]], stem: Path) -> list[Path]:
    """Draw both; `seconds` are those of each outcome by its label, the answered alone. Gives the files. Raises `OSError`."""
    figure, (latency, energy) = panels(2, columns=2, width=14.0, height=max(4.6, 1.2 + 0.5 * len(outcomes)))
    colours = [_HAPPENED, *palette("tab10")[: len(outcomes) - 1]]
    colours += [palette("tab10")[place % 10] for place in range(len(outcomes) - len(colours))]
    _latency(latency, outcomes, seconds, colours)
    _energy(energy, outcomes, colours)
    return saved(figure, stem)


def _latency(
    axes: Axes, outcomes: Sequence[Outcome], seconds: Mapping[str, Sequence[float]], colours: Sequence[str]
) -> None:
    for one, colour in zip(outcomes, colours, strict=True):
        found = np.sort(np.array([value for value in seconds[one.label] if value > 0]))
        if not len(found):
            continue
        share = 100 * np.arange(1, len(found) + 1) / max(1, one.jobs)
        axes.step(
            np.concatenate(([found[0]], found)),
            np.concatenate(([0.0], share)),
            where="post",
            color=colour,
            linewidth=2.2 if one is outcomes[0] else 1.5,
            label=one.label,
        )
    axes.set(xscale="log", xlabel="seconds until the whole answer was there", ylabel="jobs answered, %", ylim=(0, 101))
    axes.set_title("how long answers took")
    log_ticks(axes.xaxis)
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", frameon=False, fontsize=9)


def _energy(axes: Axes, outcomes: Sequence[Outcome], colours: Sequence[str]) -> None:
    known = [(one, colour) for one, colour in zip(outcomes, colours, strict=True) if one.taken.per_token is not None]
    most = max((one.taken.per_token or 0.0 for one, _ in known), default=1.0) or 1.0
    for place, (one, colour) in enumerate(known):
        value = one.taken.per_token or 0.0
        fill = colour if one.measured else "white"
        axes.barh(place, value, height=0.62, color=fill, edgecolor=colour, hatch=None if one.measured else _HATCH)
        mark = "" if one.measured else "~"
        axes.text(value + most * 0.02, place, f"{mark}{three(value)}", va="center", fontsize=9)
    axes.set_yticks(range(len(known)), [one.label for one, _ in known])
    axes.set_ylim(max(4, len(known)) - 0.5, -0.6)
    axes.set(xlabel="joules above idle per token (hatched: estimated)", xlim=(0, most * 1.18))
    axes.set_title("what they took of the devices")
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
