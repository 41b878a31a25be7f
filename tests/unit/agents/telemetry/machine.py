"""Machines made of files, for tests of sensors: a sysfs of what a test names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("recorded.json").read_text(encoding="utf-8"))


def written(root: Path, **files: str) -> Path:
    """Write files under their paths; `__` stands for `/`."""
    for name, text in files.items():
        put(root, name.replace("__", "/"), text)
    return root


def put(root: Path, path: str, text: str) -> None:
    """Write one file, and the folders above it."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def board(root: Path, name: str) -> Path:
    """Make it the named board, by its device tree."""
    put(root, "proc/device-tree/compatible", "\0".join(RECORDED["compatible"]["names"][name]) + "\0")
    return root


def zones(thermal: Path, **temperatures: str) -> Path:
    """Give it thermal zones; `_` stands for `-`."""
    for number, (name, text) in enumerate(temperatures.items()):
        put(thermal, f"thermal_zone{number}/type", f"{name.replace('_', '-')}\n")
        put(thermal, f"thermal_zone{number}/temp", text)
    return thermal


def coolers(root: Path, devices: Sequence[Sequence[Any]]) -> Path:
    """Give it cooling devices: name, state, highest state."""
    for number, (name, state, most) in enumerate(devices):
        folder = f"sys/class/thermal/cooling_device{number}"
        put(root, f"{folder}/type", f"{name}\n")
        put(root, f"{folder}/cur_state", f"{state}\n")
        put(root, f"{folder}/max_state", f"{most}\n")
    return root


def supply(root: Path, name: str, **facts: str) -> Path:
    """Give it a power supply."""
    for fact, text in facts.items():
        put(root, f"sys/class/power_supply/{name}/{fact}", f"{text}\n")
    return root
