"""What is known of boards without a sensor: their watts idle and busy, with sources, from the table beside; it measures nothing."""

from __future__ import annotations

import platform
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from agents.power import Unreadable
from agents.power.figures import text_of

MODEL = Path("firmware/devicetree/base/model")
"""Below /sys; /proc/device-tree is a link to its directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What a board draws, and how far that may be off. `sources` are the keys under which the table names its origins."""

    name: str
    idle_w: float
    busy_w: float
    uncertainty: float
    sources: tuple[str, ...] = ()

    def watts(self, utilisation: float) -> float:
        """Estimate the watts for a share of its power that is in use."""
        return self.idle_w + (self.busy_w - self.idle_w) * min(max(utilisation, 0.0), 1.0)


def board_of(model: str, machine: str) -> Board:
    """Give the board that the device tree calls `model`; without such a name, or with one that nobody knows, what is known of
    computers of the architecture `machine`."""
    table = tomllib.loads(resources.files("agents.power").joinpath("profiles.toml").read_text(encoding="utf-8"))
    rows = table["boards"]
    named = (row for row in rows if any(match and match in model for match in row["match"]))
    alike = (row for row in rows if machine in row["match"])
    row = next(named, None) or next(alike, None) or rows[-1]
    return Board(
        name=row["name"],
        idle_w=row["idle_w"],
        busy_w=row["busy_w"],
        uncertainty=row["uncertainty"],
        sources=tuple(row["sources"]),
    )


def this_board(sysfs: Path) -> Board:
    """Give what is known of the board that this runs on."""
    try:
        model = text_of(sysfs / MODEL)
    except Unreadable:
        model = None  # a container may hide it
    return board_of(model or "", platform.machine())
