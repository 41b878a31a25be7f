"""What kind of board this is: its graphics processor, its power mode; nothing here needs rights, and nothing changes anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from agents.telemetry.files import text_of, within

_MODE = re.compile(r"pmode:(\d{1,9})", re.ASCII)
_NAMED = re.compile(r"<\s*POWER_MODEL\s+ID=(\d{1,9})\s+NAME=([!-~]{1,64})\s*>", re.ASCII)
_SAID = re.compile(r"NV Power Mode:[ \t]*([!-~]{1,64})", re.ASCII)

_ORIGINAL_NANO = "nvidia,tegra210"


def compatible(root: Path) -> tuple[str, ...]:
    """Give the names of the board's device tree, the most specific first; none on a PC."""
    return tuple(name for name in text_of(root / "proc/device-tree/compatible").split("\0") if name)


def is_pi(names: tuple[str, ...]) -> bool:
    """Tell a Raspberry Pi."""
    return any(name.startswith(("raspberrypi,", "brcm,bcm2")) for name in names)


def gpu(root: Path, names: tuple[str, ...]) -> bool | None:
    """Tell whether there is a graphics processor that models should run on: 1. not on the original Nano, 2. Jetsons 3. NVIDIA's
    driver 4. not on Raspberry Pis 5. nobody knows: cards of other makers are served by some builds of Ollama.

    The original Nano has one, but no build of Ollama uses it: they need a newer CUDA than JetPack 4 has (ollama issues 4140, 9317).
    There `/api/ps` claims the GPU all the same, while it idles (kreier/llama.cpp-jetson). Nor would the speed tell: a hand-built
    engine on its GPU is 20 % faster than its CPU, which heat and the prompt's length outweigh.
    """
    if any(name.startswith(_ORIGINAL_NANO) for name in names):  # 1
        return False
    if any(name.startswith("nvidia,tegra") for name in names):  # 2
        return _has_nvgpu(root) or None
    if text_of(root / "proc/driver/nvidia/version"):  # 3
        return True
    return False if is_pi(names) else None  # 4, 5


def _has_nvgpu(root: Path) -> bool:
    known = ("dev/nvhost-gpu", "dev/nvgpu", "sys/devices/gpu.0", "sys/devices/platform/gpu.0")
    return any((root / path).exists() for path in known) or any(
        "gpu" in one.name for one in within(root / "sys/class/devfreq", "*")
    )


def power_mode(root: Path, nvpmodel: Callable[[], str]) -> str | None:
    """Name the mode that `nvpmodel` set; None on boards without it. Its files tell it to everybody; the tool itself is asked where
    they don't."""
    named = dict(_NAMED.findall(text_of(root / "etc/nvpmodel.conf")))
    if not named:
        return None
    return mode_of(text_of(root / "var/lib/nvpmodel/status"), named) or said_mode(nvpmodel())


def mode_of(status: str, named: dict[str, str]) -> str | None:
    """Read `pmode:0002 fmode:…` by the names in nvpmodel.conf."""
    found = _MODE.search(status)
    return named.get(str(int(found[1]))) if found else None


def said_mode(text: str) -> str | None:
    """Read what `nvpmodel -q` prints."""
    found = _SAID.search(text)
    return found[1] if found else None
