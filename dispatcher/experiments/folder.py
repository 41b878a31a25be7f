"""Finds manifests below a folder, and opens what they name; what does not lie there it does not follow, and nothing but manifests
and their rows is read.

Names that callers give lead to no file: an id is looked up among those that were found.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from common import codec
from common.codec import digest
from common.errors import BadRequest
from dispatcher.experiments.manifest import ENDING, MOST_BYTES, Manifest
from dispatcher.files import Stamp

MOST_DEPTH = 4
MOST_LOOKED_AT = 5000
"""Entries of folders; what is behind them is told to be left out."""

MOST_FOUND = 200
MOST_ROWS_BYTES = 256 << 20
ID_CHARS = 16


class Unreadable(Exception):
    """A file is not what it should be; the text says why, and names no path outside of the folder."""


@dataclass(frozen=True, slots=True)
class Found:
    """One manifest: what it says, or why it can't be read."""

    id: str
    path: Path
    name: str
    stamp: Stamp
    manifest: Manifest | None = None
    broken: str = ""


@dataclass(slots=True)
class Folder:
    """The folder of results; what was read is remembered while its file stays as it is."""

    root: Path
    _known: dict[str, Found] = field(default_factory=dict)

    def look(self) -> tuple[list[Found], bool]:
        """Give what is there, the newest first, and whether some is left out. It reads files: not for an event loop."""
        paths, more = _manifests(self.root)
        newest = sorted(paths, key=lambda one: (-one[1][0], one[0]))
        found = [self._read(path, stamp) for path, stamp in newest[:MOST_FOUND]]
        self._known = {one.id: one for one in found}
        return found, more or len(newest) > MOST_FOUND

    def find(self, name: str) -> Found | None:
        """Give the one of an id; None where there is none."""
        return next((one for one in self.look()[0] if one.id == name), None)

    def _read(self, path: Path, stamp: Stamp) -> Found:
        shown = path.relative_to(self.root).as_posix()
        name = digest({"path": shown}, ID_CHARS)
        before = self._known.get(name)
        if before is not None and before.stamp == stamp:
            return before
        try:
            with opened(path, self.root, MOST_BYTES) as file:
                manifest = codec.build(Manifest, codec.decode(file.read(MOST_BYTES)))
        except (Unreadable, BadRequest) as error:
            why = error.message if isinstance(error, BadRequest) else str(error)
            return Found(name, path, shown, stamp, broken=why[:500])
        return Found(name, path, shown, stamp, manifest)

    def rows(self, found: Found) -> IO[bytes]:
        """Open the rows that a manifest names. Raises `Unreadable`."""
        if found.manifest is None or found.manifest.rows is None:
            raise Unreadable("it has no rows")
        return opened(found.path.with_name(found.manifest.rows.file), self.root, MOST_ROWS_BYTES)


def opened(path: Path, root: Path, most_bytes: int) -> IO[bytes]:
    """Open a plain file below a folder, and never a link, a pipe or a device. Raises `Unreadable`."""
    try:
        if not path.parent.resolve(strict=True).is_relative_to(root.resolve(strict=True)):
            raise Unreadable(f"{path.name} lies elsewhere")
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(f"{path.name} can't be opened: {error.strerror}") from error
    file = os.fdopen(number, "rb")
    seen = os.fstat(number)
    if not stat.S_ISREG(seen.st_mode) or seen.st_size > most_bytes:
        file.close()
        why = (
            f"it has {seen.st_size} bytes, more than {most_bytes}"
            if stat.S_ISREG(seen.st_mode)
            else "it is no plain file"
        )
        raise Unreadable(f"{path.name} is not read: {why}")
    return file


def _manifests(root: Path) -> tuple[list[tuple[Path, Stamp]], bool]:
    """Find the files that are called so, and say whether some were not looked at."""
    found = list[tuple[Path, Stamp]]()
    for number, entry in enumerate(_entries(root, MOST_DEPTH)):
        if number >= MOST_LOOKED_AT:
            return found, True
        if entry.name.endswith(ENDING) and not entry.name.startswith("."):
            try:
                seen = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # it went away just now
            found.append((Path(entry.path), (seen.st_mtime_ns, seen.st_size)))
    return found, False


def _entries(folder: Path, depth: int) -> Iterator[os.DirEntry[str]]:
    """Give all that is no folder, without following any link; a folder that can't be read has nothing in it."""
    try:
        with os.scandir(folder) as entries:
            there = sorted(entries, key=lambda one: one.name)
    except OSError:
        return
    for entry in there:
        if not entry.is_dir(follow_symlinks=False):
            yield entry
        elif depth > 1:
            yield from _entries(Path(entry.path), depth - 1)
