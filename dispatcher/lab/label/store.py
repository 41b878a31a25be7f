"""The file of labels while it grows: each row whole or not at all, what is there is known, other settings are refused.

Beside `labels.csv` lies `labels.csv.run.json`: with which settings it was made, what it has cost, and what is held
for the calls that run. No key and no address with a
password stands in either.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from common import codec
from common.errors import BadRequest, LabelsError

FIELDS = ("prompt", "weak", "strong", "weak_response", "domain", "strong_response", "standing", "cost_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One row."""

    prompt: str
    weak: float
    strong: float
    weak_response: str
    domain: str
    strong_response: str
    standing: str
    cost_usd: float

    def row(self) -> list[str]:
        """Give it as the file has it, in the order of `FIELDS`."""
        return [
            self.prompt,
            f"{self.weak:g}",
            f"{self.strong:g}",
            self.weak_response,
            self.domain,
            self.strong_response,
            self.standing,
            f"{self.cost_usd:.8f}",
        ]


class Store:
    """An open file of labels. `known` are the prompts that it has, `spent_usd` what all runs on it have cost."""

    def __init__(
        self, stream: IO[str], path: Path, settings: Mapping[str, Any], known: set[str], spent_usd: float
    ) -> None:
        self.known = known
        self.spent_usd = spent_usd
        self._stream = stream
        self._path = path
        self._settings = settings

    def add(self, label: Label) -> None:
        """Append a row, in one piece."""
        line = io.StringIO()
        csv.writer(line, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(label.row())
        self._stream.write(line.getvalue())
        self._stream.flush()
        self.known.add(label.prompt)

    def note(self, spent_usd: float, held_usd: float = 0.0) -> None:
        """Keep what it has cost so far, and what the calls that run may cost: after a kill that counts as spent."""
        self.spent_usd = spent_usd
        money = {"spent_usd": round(spent_usd, 8), "held_usd": round(held_usd, 8)}
        text = codec.encode_pretty({"settings": dict(self._settings), **money})
        beside = _beside(self._path)
        draft = beside.with_name(f".{beside.name}.tmp")
        draft.write_text(text, encoding="utf-8")
        draft.replace(beside)


@contextmanager
def open_store(path: Path, settings: Mapping[str, Any]) -> Iterator[Store]:
    """Open or make a file of labels, for one process at a time. A last row that was cut by a crash is taken off.

    Raises `LabelsError` when it can't be written, is no file of labels, was made with other settings, or is in use.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8", newline="") as stream:
            _lock(stream, path)
            spent_usd = _known_settings(path, settings)
            known = _mend(stream, path, new=spent_usd is None)
            store = Store(stream, path, settings, known, spent_usd or 0.0)
            store.note(store.spent_usd)
            yield store
    except OSError as error:
        raise LabelsError(f"{path} can't be written ({error.strerror or error}): choose another --out") from error


def _lock(stream: IO[str], path: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LabelsError(f"another process is writing {path}: wait for it, or choose another --out") from None


def _known_settings(path: Path, settings: Mapping[str, Any]) -> float | None:
    """Compare with the run before; gives what it has cost, with what it held when it was killed, None where there was none."""
    beside = _beside(path)
    try:
        found = codec.decode(beside.read_bytes())
        before, spent_usd = dict(found["settings"]), float(found["spent_usd"]) + float(found.get("held_usd", 0.0))
    except FileNotFoundError:
        return None
    except (BadRequest, LookupError, TypeError, ValueError) as error:
        raise LabelsError(f"{beside} is damaged: move {path} and it away, or choose another --out") from error
    wanted = dict(settings)
    differing = [name for name in {**before, **wanted} if before.get(name) != wanted.get(name)]
    if differing:
        told = "; ".join(f"{name} was {before.get(name)!r} and is {wanted.get(name)!r}" for name in differing)
        raise LabelsError(
            f"{path} was made with other settings ({told}): labels of both kinds don't belong together, choose another --out"
        )
    return spent_usd


def _mend(stream: IO[str], path: Path, *, new: bool) -> set[str]:
    """Read the prompts that are there, cut off a half row behind the last whole one, write the head of an empty file."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    text = path.read_bytes().decode("utf-8", "surrogateescape")  # a crash may have cut a character
    if text and new:
        raise LabelsError(
            f"{path} is there, and {_beside(path).name} is not: it was not made by this verb; choose another --out"
        )
    whole, rows = _whole(text)
    if rows and tuple(rows[0]) != FIELDS:
        raise LabelsError(f"{path} has other columns than {', '.join(FIELDS)}: choose another --out")
    if whole < len(text):
        os.ftruncate(stream.fileno(), len(text[:whole].encode("utf-8", "surrogateescape")))
    stream.seek(0, io.SEEK_END)
    if not rows:
        stream.write(",".join(FIELDS) + "\n")
        stream.flush()
    return {row[0] for row in rows[1:]}


def _whole(text: str) -> tuple[int, list[list[str]]]:
    """Give the characters that whole rows take, and the rows. A quote that is open at the end of a line goes on in the next."""
    end, rows, pending = 0, list[list[str]](), ""
    for line in io.StringIO(text, newline="\n"):
        pending += line
        if not line.endswith("\n") or pending.count('"') % 2:
            continue
        [row] = csv.reader([pending])
        if len(row) != len(FIELDS):
            break
        rows.append(row)
        end, pending = end + len(pending), ""
    return end, rows


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.run.json")
