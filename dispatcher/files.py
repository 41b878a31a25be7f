"""Files that others look at or change: whether one has changed and stands still, and writing one as a whole."""

from __future__ import annotations

import stat
from pathlib import Path

Stamp = tuple[int, int]
"""When it was written, in ns, and how large it is."""


def stamp_of(path: Path) -> Stamp | None:
    """Give the stamp of a file; None when it is not there, can't be looked at, or is a pipe: reading that could take for ever."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that no reader ever sees half of it. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.half")
    half.write_bytes(data)
    half.replace(path)


class Stillness:
    """Follows the stamps of a file that is edited in place: half of it may be sound, and say something else than the whole.

    An editor that pauses for longer than two looks are apart deceives it; one that writes a new file and renames it never does.
    """

    def __init__(self, known: Stamp | None) -> None:
        self._known = self._seen = known

    def settled(self, stamp: Stamp | None) -> bool:
        """Tell whether this is a stamp that was not known, and was there at the last look as well. It is known then."""
        still, self._seen = stamp == self._seen, stamp
        if not still or stamp == self._known:
            return False
        self._known = stamp
        return True

    def moved(self) -> None:
        """Take back that a stamp is known: the file changed while it was read."""
        self._known = self._seen = None
