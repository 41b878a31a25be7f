"""Numbers as sensors give them, and whether they can be true; it knows no sensor."""

from __future__ import annotations

import math
from pathlib import Path

from agents.power import Unreadable

MOST_TEXT = 65_536
"""Characters that are read of a sensor's file: those of sysfs are a page at most."""


def number(value: object) -> float:
    """Read a finite number, also from text. Raises `Unreadable`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Unreadable(f"{_shown(value)} is no number")
    try:
        found = float(value)
    except (ValueError, OverflowError) as error:
        raise Unreadable(f"{_shown(value)} is no number") from error
    if not math.isfinite(found):
        raise Unreadable(f"{_shown(value)} is no number")
    return found


def plausible(watts: float, *, most_w: float) -> float:
    """Give the watts if a device can draw them. Raises `Unreadable`."""
    if not 0 <= watts <= most_w:
        raise Unreadable(f"{watts:.6g} W can't be true: it should be 0 to {most_w:g} W")
    return watts


def text_of(path: Path) -> str | None:
    """Read a small file of the kernel's; None where there is none. Raises `Unreadable` when it may not or can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_TEXT).decode("ascii", "replace").strip("\0 \t\r\n")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unreadable(f"{path} can't be read: {error.strerror or error}") from error


def _shown(value: object) -> str:
    return ascii(value)[:60]
