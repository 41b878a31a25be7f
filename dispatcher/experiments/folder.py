"""Finds manifests below a folder, and opens what they name; what does not lie there it does not follow, and nothing but manifests
and their rows is read.

Names that callers give lead to no file: an id is looked up among those that were found.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from pathlib import Path
from typing import IO

from common import codec
from common.codec import digest
from common.errors import BadRequest
from dispatcher.experiments.manifest import ENDING, MOST_BYTES, Arm, Manifest
from dispatcher.files import Stamp

MOST_DEPTH = 4
MOST_LOOKED_AT = 5000
"""Files and folders; what is behind them is told to be left out."""

MOST_FOUND = 200
MOST_ROWS_BYTES = 256 << 20
ID_CHARS = 16


class Unreadable(Exception):
    """A file is not what it should be; the text says why, and names no path outside of the folder."""


@dataclass(frozen=True, slots=True)
class Found:
    """One manifest: what it says, in a list without its figures, or why it can't be read."""

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
        found = [self._listed(path, stamp) for path, stamp in newest[:MOST_FOUND]]
        self._known = {one.id: one for one in found}
        return found, more or len(newest) > MOST_FOUND

    def find(self, name: str) -> Found | None:
        """Give the one of an id, with all that it says; None where there is none."""
        found = next((one for one in self.look()[0] if one.id == name), None)
        return None if found is None else self._read(found.path, found.stamp)

    def _listed(self, path: Path, stamp: Stamp) -> Found:
        before = self._known.get(self._id(path))
        return before if before is not None and before.stamp == stamp else _in_short(self._read(path, stamp))

    def _id(self, path: Path) -> str:
        return digest({"path": path.relative_to(self.root).as_posix()}, ID_CHARS)

    def _read(self, path: Path, stamp: Stamp) -> Found:
        name, shown = self._id(path), path.relative_to(self.root).as_posix()
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


def _in_short(found: Found) -> Found:
    """Leave out what lists do not tell: as objects the figures and points of some hundred runs would be gigabytes."""
    if found.manifest is None:
        return found
    arms = tuple(Arm(name=arm.name, n=arm.n) for arm in found.manifest.arms)
    return replace(
        found,
        manifest=replace(found.manifest, arms=arms, plots=(), metrics=(), caveats=(), data={}, environment={}),
    )


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
        if entry.name.endswith(ENDING) and not entry.name.startswith(".") and not entry.is_dir(follow_symlinks=False):
            try:
                seen = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # it went away just now
            found.append((Path(entry.path), (seen.st_mtime_ns, seen.st_size)))
    return found, False


def _entries(folder: Path, depth: int) -> Iterator[os.DirEntry[str]]:
    """Give all that is there, files before folders, without following any link; a folder that can't be read has nothing in it."""
    try:
        with os.scandir(folder) as entries:
            there = nsmallest(
                MOST_LOOKED_AT + 1, entries, key=lambda one: (one.is_dir(follow_symlinks=False), one.name)
            )
    except OSError:
        return
    for entry in there:
        yield entry
        if depth > 1 and entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path), depth - 1)
