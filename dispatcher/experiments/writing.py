"""Leaves a manifest, and rows where a verb has no file of its own; it measures nothing."""

from __future__ import annotations

import csv
import io
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import Any

from common import codec
from dispatcher.cells import harmless
from dispatcher.experiments.manifest import ENDING, FILE_NAME, MOST_CAVEATS, Manifest, Rows
from dispatcher.files import write_whole

MOST_WORDS = 2000


def beside(file: Path) -> Path:
    """Name the manifest of a file of rows or figures."""
    return file.with_name(f"{file.stem}{ENDING}")


def write_manifest(path: Path, manifest: Manifest) -> Path:
    """Write one as a whole. Raises `OSError`, and `BadRequest` for one that nobody could read again."""
    wire = codec.plain(manifest)
    codec.build(Manifest, wire)
    write_whole(path, (codec.encode_pretty(wire) + "\n").encode())
    return path


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Rows:
    """Write rows as CSV, with all names that any of them has. Raises `OSError`."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([harmless(row.get(name)) for name in names] for row in rows)
    write_whole(path, out.getvalue().encode())
    return Rows(file=path.name, count=len(rows))


def rows_of(file: Path, count: int) -> Rows | None:
    """Name rows that a verb has written; nothing for a file whose name leads elsewhere, or has characters that a name may not have:
    then the manifest has none."""
    return Rows(file=file.name, count=count) if re.fullmatch(FILE_NAME, file.name) else None


def facts(told: Mapping[str, str]) -> dict[str, str]:
    """Give facts that a manifest holds: nothing of what is empty, and the beginning of what is long."""
    return {name: words[:MOST_WORDS] for name, words in told.items() if words}


def environment(**more: str) -> dict[str, str]:
    """Say where it was measured: the machine, and what the verb adds; nothing of it names a person or a path."""
    machine = {
        "Drover": version("drover"),
        "Python": platform.python_version(),
        "machine": f"{platform.machine()}, {cpu_count()} CPUs, {platform.system()}",
    }
    return machine | facts(more)


def caveats(notes: Sequence[str]) -> tuple[str, ...]:
    """Give the sentences that a manifest holds, the first ones where there are too many."""
    return tuple(one[:MOST_WORDS] for one in notes[:MOST_CAVEATS])
