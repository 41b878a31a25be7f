"""This machine's own sensors: psutil, and the kernel's files; it never fails, it only leaves out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from agents.telemetry import Readings
from agents.telemetry.board import compatible, gpu, is_pi, power_mode
from agents.telemetry.command import Command
from agents.telemetry.files import text_of, whole_of, within
from agents.telemetry.supply import Battery, battery
from agents.telemetry.throttling import Finding, Throttling
from common.throttling import fitting

ROOT = Path("/")

_COMPUTE = re.compile(r"(?i)cpu|gpu|soc|tj|x86_pkg|core")
"""Zones that tell how hot the computing parts are; a battery's or a radio's would mislead."""

_PLAUSIBLE_C = (-40.0, 150.0)
"""Jetsons report -256 for a sensor that is switched off."""

_MODELS = ("usr/share/ollama/.ollama/models", "var/lib/ollama/models", "root/.ollama/models")
"""Where Ollama keeps models when nobody said: the service of its installer, that of distributions, a container."""

Value = TypeVar("Value")


class HostSensors:
    """Reads on Linux; elsewhere most of it is absent. `root` is where this machine's files begin."""

    def __init__(self, root: Path = ROOT, *, models: Path | None = None) -> None:
        self._root = root
        self._models = models
        self._names: tuple[str, ...] = ()
        self._nvpmodel = Command(["nvpmodel", "-q"], every_s=60.0)
        self._throttling = Throttling(root, Command(["vcgencmd", "get_throttled"], every_s=0.0).ask)

    def read(self) -> Readings:
        """Read all that there is."""
        self._names = self._names or compatible(self._root)
        memory = _safe(psutil.virtual_memory)
        throttling = _safe(lambda: self._throttling.look(pi=is_pi(self._names))) or Finding(known=False)
        disk = _safe(lambda: shutil.disk_usage(models_folder(self._root, self._models)))
        supply = _safe(lambda: battery(self._root / "sys/class/power_supply")) or Battery()
        return Readings(
            memory_total_bytes=memory.total if memory else None,
            memory_available_bytes=memory.available if memory else None,
            temperature_c=hottest(self._root / "sys/class/thermal"),
            throttled=bool(throttling.now) if throttling.known else None,
            throttling=fitting(throttling.now),
            warnings=fitting(throttling.past),
            power_mode=_safe(lambda: power_mode(self._root, self._nvpmodel.ask)),
            gpu=_safe(lambda: gpu(self._root, self._names)),
            disk_total_bytes=disk.total if disk else None,
            disk_free_bytes=disk.free if disk else None,
            battery_percent=supply.percent,
            on_battery=supply.discharging,
        )


def _safe(look: Callable[[], Value]) -> Value | None:
    """Look; what one sensor fails with must not cost the others."""
    try:
        return look()
    except (OSError, ValueError, ArithmeticError, LookupError, AttributeError, psutil.Error):
        return None


def models_folder(root: Path, told: Path | None) -> Path:
    """Give the folder whose disk the models are on: as told, or where Ollama puts them, or the disk of the system. Of a folder that
    is not there yet, the nearest one above it."""
    usual = [root / path for path in _MODELS]
    home = Path.home() / ".ollama/models"
    folder = told or next((path for path in (home, *usual) if _is_folder(path)), root)
    return next((path for path in (folder, *folder.parents) if _is_folder(path)), root)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # another user's


def hottest(thermal: Path) -> float | None:
    """Give the highest temperature of the computing parts in °C, of any zone if none is named so, or nothing."""
    zones = [(text_of(zone / "type"), _celsius(zone)) for zone in within(thermal, "thermal_zone*")]
    known = [(name, value) for name, value in zones if value is not None]
    computing = [value for name, value in known if _COMPUTE.search(name)]
    return max(computing or [value for _, value in known], default=None)


def _celsius(zone: Path) -> float | None:
    thousandths = whole_of(zone / "temp")  # the kernel counts so
    if thousandths is None:
        return None
    low, high = _PLAUSIBLE_C
    return thousandths / 1000 if low < thousandths / 1000 < high else None
