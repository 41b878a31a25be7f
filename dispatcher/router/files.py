"""Whether a file has changed since it was read."""

from __future__ import annotations

from pathlib import Path

Stamp = tuple[int, int]
"""When it was written, in ns, and how large it is."""


def stamp_of(path: Path) -> Stamp | None:
    """Give the stamp of a file; None when it is not there, or can't be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
