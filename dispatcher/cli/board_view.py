"""How the fleet looks on a terminal: a table of devices, and the rest of `drover up`'s screen; it knows no bus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dispatcher.cli.board import DeviceLine

_STYLES = {"ready": "green", "starting": "yellow", "draining": "yellow", "suspect": "yellow", "throttled": "yellow"}
GIB = 1 << 30


def device_table(lines: Sequence[DeviceLine]) -> Table:
    """Draw one row per device."""
    table = Table(expand=False)
    for column in ("device", "state"):
        table.add_column(column, no_wrap=True)
    for column in ("busy", "tok/s", "°C", "memory", "done", "failed"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("models in memory")
    table.add_column("")
    for line in lines:
        table.add_row(
            line.name,
            Text(line.state, style=_STYLES.get(line.state, "red")),
            f"{line.in_flight}/{line.slots}",
            _number(line.decode_tps, 1),
            _number(line.temperature_c, 0),
            _memory(line),
            str(line.done),
            str(line.failed),
            ", ".join(line.loaded),
            "simulated" if line.simulated else "real",
        )
    return table


def screen(
    lines: Sequence[DeviceLine], jobs: Mapping[str, int], troubles: Sequence[str], hints: Sequence[str]
) -> RenderableType:
    """Draw what `drover up` shows: devices, jobs, processes in trouble, what to try."""
    done = "  ".join(f"{state} {count}" for state, count in sorted(jobs.items())) or "none yet"
    return Group(
        device_table(lines) if lines else Text("waiting for the first heartbeat", style="dim"),
        Text(f"jobs: {done}"),
        *(Text(trouble, style="red") for trouble in troubles),
        *(Text(hint, style="dim") for hint in hints),
    )


def _memory(line: DeviceLine) -> str:
    if line.memory_used_bytes is None or not line.memory_total_bytes:
        return ""
    return f"{line.memory_used_bytes / GIB:.1f}/{line.memory_total_bytes / GIB:.1f} GiB"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
