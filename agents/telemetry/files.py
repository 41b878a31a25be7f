"""Small reads of the kernel's files that leave out what can't be read; it does not know what they mean."""

from __future__ import annotations

import re
from pathlib import Path

_MOST_BYTES = 65_536
_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)


def text_of(path: Path) -> str:
    """Give a file's text without what surrounds it; empty for one that is not there, not ours to read, or switched off."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace").strip("\0 \t\r\n")
    except (OSError, ValueError):
        return ""  # a zone that is switched off answers EINVAL or EAGAIN


def whole_of(path: Path) -> int | None:
    """Give the whole number in a file, or nothing."""
    text = text_of(path)
    return int(text) if _WHOLE.fullmatch(text) else None


def within(folder: Path, pattern: str) -> list[Path]:
    """Give the paths that match, in order; none where the folder can't be read."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []
