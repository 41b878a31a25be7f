"""Trees of small files, as the kernel shows sensors below /sys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def tree(root: Path, where: str, files: Mapping[str, str]) -> Path:
    """Make a directory of small files below `root`."""
    directory = root / where
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(f"{text}\n")
    return directory


def ina3221(root: Path, number: int, rails: Mapping[str, tuple[float, float]]) -> Path:
    """Make an INA3221 of hwmon: millivolts and milliamperes by label."""
    files = {"name": "ina3221"}
    for channel, (label, (volts, amperes)) in enumerate(rails.items(), start=1):
        files |= {
            f"in{channel}_label": label,
            f"in{channel}_input": f"{volts:g}",
            f"curr{channel}_input": f"{amperes:g}",
        }
    return tree(root, f"class/hwmon/hwmon{number}", files)


def rapl(root: Path, zone: str, name: str, used_uj: int, range_uj: int = 262_143_328_850) -> Path:
    """Make a zone of powercap. The range is that of a desktop processor."""
    files = {"name": name, "energy_uj": str(used_uj), "max_energy_range_uj": str(range_uj)}
    return tree(root, f"class/powercap/{zone}", files)
