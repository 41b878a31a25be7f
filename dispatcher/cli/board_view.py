"""How the fleet looks on a terminal: a table of devices, and the rest of `drover up`'s screen; it knows no bus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dispatcher.cli.board import DeviceLine
from dispatcher.cli.cache_words import age, plain
from dispatcher.cli.columns import Column, fitted
from dispatcher.cli.figures import share, watts

STYLES = {"ready": "green", "starting": "yellow", "draining": "yellow", "suspect": "yellow", "throttled": "yellow"}
GIB = 1 << 30


def memory(line: DeviceLine) -> str:
    """Say how much memory is used of how much."""
    if line.memory_used_bytes is None or not line.memory_total_bytes:
        return ""
    return f"{line.memory_used_bytes / GIB:.1f}/{line.memory_total_bytes / GIB:.1f} GiB"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


_COLUMNS: tuple[Column[DeviceLine], ...] = (
    Column("device", 0, lambda line: line.name, right=False),
    Column("state", 0, lambda line: line.state, right=False, style=lambda line: STYLES.get(line.state, "red")),
    Column("busy", 0, lambda line: f"{line.in_flight}/{line.slots}"),
    Column("tok/s", 3, lambda line: _number(line.decode_tps, 1)),
    Column("watts", 2, lambda line: watts(line.watts, measured=line.watts_measured)),
    Column("°C", 8, lambda line: _number(line.temperature_c, 0)),
    Column("on GPU", 6, lambda line: share(line.on_gpu), style=lambda line: "" if line.offloaded else "red"),
    Column("mode", 10, lambda line: line.power_mode, right=False),
    Column("site", 9, lambda line: line.site, right=False),
    Column("memory", 7, memory),
    Column("done", 11, lambda line: str(line.done)),
    Column("failed", 5, lambda line: str(line.failed)),
    Column("models in memory", 1, lambda line: ", ".join(line.loaded), right=False, names=True),
    Column("", 0, lambda line: "simulated" if line.simulated else "real", right=False),
)
_OPTIONAL = {"watts", "on GPU", "mode", "site"}
"""Columns for what not every fleet tells: there only where a device does."""


def device_table(lines: Sequence[DeviceLine], width: int) -> Table:
    """Draw one row per device in `width` characters: what does not fit is left out as whole columns, never cut to nothing."""
    columns = [one for one in _COLUMNS if one.title not in _OPTIONAL or any(one.cell(line) for line in lines)]
    return fitted(columns, lines, width)


def device_view(lines: Sequence[DeviceLine], width: int) -> RenderableType:
    """Draw the table, and below it what an owner should look at."""
    notes = [Text(f"{plain(line.name)}: {note}", style="yellow") for line in lines for note in device_notes(line)]
    marks = [Text("~ estimated, not measured", style="dim")] if any(_estimated(line) for line in lines) else []
    return Group(device_table(lines, width), *marks, *notes)


def _estimated(line: DeviceLine) -> bool:
    return line.watts is not None and not line.watts_measured


def device_notes(line: DeviceLine) -> Iterator[str]:
    """Give what is not as it should be, the weightiest first."""
    if not line.fresh:
        yield f"heard {age(line.silent_s)} ago"
    if line.throttling:
        yield f"slow: {plain(', '.join(line.throttling))}"
    elif line.state == "throttled":
        yield "slow: it throttles"
    if not line.offloaded:
        yield f"{share(1.0 - (line.on_gpu or 0.0))} on the CPU, not the GPU"
    yield from (plain(warning) for warning in line.warnings)


def screen(
    lines: Sequence[DeviceLine], jobs: Mapping[str, int], troubles: Sequence[str], hints: Sequence[str], *, width: int
) -> RenderableType:
    """Draw what `drover up` shows: devices, jobs, processes in trouble, what to try."""
    done = "  ".join(f"{state} {count}" for state, count in sorted(jobs.items())) or "none yet"
    return Group(
        device_table(lines, width) if lines else Text("waiting for the first heartbeat", style="dim"),
        Text(f"jobs: {plain(done)}"),
        *(Text(plain(trouble, keep="\n\t"), style="red") for trouble in troubles),
        *(Text(hint, style="dim") for hint in hints),
    )
