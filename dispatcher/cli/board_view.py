"""How the fleet looks on a terminal: a table of devices, and the rest of `drover up`'s screen; it knows no bus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dispatcher.cli.board import DeviceLine
from dispatcher.cli.columns import Column, fitted

_STYLES = {"ready": "green", "starting": "yellow", "draining": "yellow", "suspect": "yellow", "throttled": "yellow"}
GIB = 1 << 30


def _memory(line: DeviceLine) -> str:
    if line.memory_used_bytes is None or not line.memory_total_bytes:
        return ""
    return f"{line.memory_used_bytes / GIB:.1f}/{line.memory_total_bytes / GIB:.1f} GiB"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


_COLUMNS: tuple[Column[DeviceLine], ...] = (
    Column("device", 0, lambda line: line.name, right=False),
    Column("state", 0, lambda line: line.state, right=False, style=lambda line: _STYLES.get(line.state, "red")),
    Column("busy", 0, lambda line: f"{line.in_flight}/{line.slots}"),
    Column("tok/s", 2, lambda line: _number(line.decode_tps, 1)),
    Column("°C", 5, lambda line: _number(line.temperature_c, 0)),
    Column("memory", 4, _memory),
    Column("done", 6, lambda line: str(line.done)),
    Column("failed", 3, lambda line: str(line.failed)),
    Column("models in memory", 1, lambda line: ", ".join(line.loaded), right=False, names=True),
    Column("", 0, lambda line: "simulated" if line.simulated else "real", right=False),
)


def device_table(lines: Sequence[DeviceLine], width: int) -> Table:
    """Draw one row per device in `width` characters: what does not fit is left out as whole columns, never cut to nothing."""
    return fitted(_COLUMNS, lines, width)


def screen(
    lines: Sequence[DeviceLine], jobs: Mapping[str, int], troubles: Sequence[str], hints: Sequence[str], *, width: int
) -> RenderableType:
    """Draw what `drover up` shows: devices, jobs, processes in trouble, what to try."""
    done = "  ".join(f"{state} {count}" for state, count in sorted(jobs.items())) or "none yet"
    return Group(
        device_table(lines, width) if lines else Text("waiting for the first heartbeat", style="dim"),
        Text(f"jobs: {done}"),
        *(Text(trouble, style="red") for trouble in troubles),
        *(Text(hint, style="dim") for hint in hints),
    )
