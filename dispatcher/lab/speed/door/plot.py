"""What `drover lab speed --plot` draws: CPU of a short request by process, and the time to the first text; it measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dispatcher.lab.figures import Axes, palette, panels, png
from dispatcher.lab.speed.door.delay import AT_ONCE
from dispatcher.lab.speed.door.measure import EXPECTED
from dispatcher.lab.speed.door.price import CASES, PROCESSES, WAYS

_DIRECT, _THROUGH = "#c9d3dc", "#2a6fb0"


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw the medians of a run. Raises `OSError`."""
    medians = {name: one["median"] for name, one in result["figures"].items()}
    figure, (costs, waits) = panels(2, columns=2, width=13.0, height=4.6)
    _costs(costs, medians)
    _waits(waits, medians)
    plan, machine = result["plan"], result["machine"]
    title = f"The bridge's part · {machine['cpus']} CPUs · {machine['arch']} · medians of {plan['rounds']} rounds"
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    png(figure, path)


def _costs(axes: Axes, medians: Mapping[str, float]) -> None:
    """Stack the processes of each way that a request can go."""
    ways = [(case.name, way) for case in CASES for way in WAYS]
    done = [0.0] * len(ways)
    for process, color in zip(PROCESSES, palette("Set2"), strict=False):
        costs = [medians[f"door_{case}_{way}_{process}_cpu_ms"] for case, way in ways]
        axes.barh([f"{case}, {way}" for case, way in ways], costs, left=done, label=process, color=color)
        done = [before + cost for before, cost in zip(done, costs, strict=True)]
    limit = next(one.limit for one in EXPECTED if one.figure == "door_open_whole_all_cpu_ms")
    axes.axvline(limit, color="black", linewidth=1, linestyle="--")
    axes.invert_yaxis()
    axes.set(xlabel="CPU-ms of a short request (dashed: expected at most)", title="by process")
    axes.legend(frameon=False)


def _waits(axes: Axes, medians: Mapping[str, float]) -> None:
    """Set both ways beside each other."""
    names = [(at_once, percent) for at_once in AT_ONCE for percent in (50, 99)]
    for shift, kind, color, label in ((-0.2, "_direct_ms", _DIRECT, "device alone"), (0.2, "_ms", _THROUGH, "bridge")):
        found = [medians[f"door_ttft_{at_once}_p{percent}{kind}"] for at_once, percent in names]
        axes.bar([place + shift for place in range(len(names))], found, width=0.38, color=color, label=label)
    axes.set_xticks(range(len(names)), [f"{at_once} at once, p{percent}" for at_once, percent in names])
    axes.set_yscale("log")
    axes.set(ylabel="ms to the first text", title="a simulated device, asked directly and through Drover")
    axes.legend(frameon=False)
