"""How the fleet looks on a terminal: a table of devices, and the rest of `drover up`'s screen; it knows no bus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dispatcher.cli.board import DeviceLine

_STYLES = {"ready": "green", "starting": "yellow", "draining": "yellow", "suspect": "yellow", "throttled": "yellow"}
GIB = 1 << 30


def _memory(line: DeviceLine) -> str:
    if line.memory_used_bytes is None or not line.memory_total_bytes:
        return ""
    return f"{line.memory_used_bytes / GIB:.1f}/{line.memory_total_bytes / GIB:.1f} GiB"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


@dataclass(frozen=True, slots=True)
class _Column:
    """`rank` says in which order columns go when the terminal is narrow, the highest first; 0 stays."""

    title: str
    rank: int
    cell: Callable[[DeviceLine], str]
    right: bool = True


_COLUMNS = (
    _Column("device", 0, lambda line: line.name, right=False),
    _Column("state", 0, lambda line: line.state, right=False),
    _Column("busy", 0, lambda line: f"{line.in_flight}/{line.slots}"),
    _Column("tok/s", 2, lambda line: _number(line.decode_tps, 1)),
    _Column("°C", 5, lambda line: _number(line.temperature_c, 0)),
    _Column("memory", 4, _memory),
    _Column("done", 6, lambda line: str(line.done)),
    _Column("failed", 3, lambda line: str(line.failed)),
    _Column("models in memory", 1, lambda line: ", ".join(line.loaded), right=False),
    _Column("", 0, lambda line: "simulated" if line.simulated else "real", right=False),
)
_BORDER = 3
"""What a column takes beside its text: a space on each side, and a line."""


def device_table(lines: Sequence[DeviceLine], width: int) -> Table:
    """Draw one row per device in `width` characters: what does not fit is left out as whole columns, never cut to nothing."""
    table = Table(expand=False)
    shown = _fitting(lines, width)
    for column in shown:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=column.rank != 1)
    for line in lines:
        table.add_row(*(_cell(column, line) for column in shown))
    return table


def _fitting(lines: Sequence[DeviceLine], width: int) -> list[_Column]:
    shown = list(_COLUMNS)
    while sum(_width(column, lines) for column in shown) + 1 > width:
        last = max(shown, key=lambda column: column.rank)
        if not last.rank:
            break  # the rest is what a device is known by
        shown.remove(last)
    return shown


def _width(column: _Column, lines: Sequence[DeviceLine]) -> int:
    """Give what a column needs; names of models may be broken over several lines, each by itself."""
    cells = [column.cell(line) for line in lines]
    words = [word for cell in cells for word in (cell.split() if column.rank == 1 else [cell])]
    return max(map(cell_len, [column.title, *words])) + _BORDER


def _cell(column: _Column, line: DeviceLine) -> Text:
    return Text(column.cell(line), style=_STYLES.get(line.state, "red") if column.title == "state" else "")


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
