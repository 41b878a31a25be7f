"""The per-query CSV as it grows: what was measured stays, what is there already is not measured again; it knows no fleet."""

from __future__ import annotations

import fcntl
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from common.errors import BadRequest
from dispatcher.lab.bench.rows import BenchRow, Key
from dispatcher.lab.bench.table import from_csv, to_csv


class BenchStore:
    """An open file of rows, and beside it the settings that they were measured with. `rows` are those of whole conversations."""

    def __init__(
        self, stream: IO[str], path: Path, settings: Mapping[str, object], rows: Sequence[BenchRow] | None
    ) -> None:
        """Use an open file. Without `rows` it begins anew with the first that are added, and is left as it is until then."""
        self.path = path
        self.rows = list(rows or ())
        self._stream = stream
        self._settings = settings
        self._begins = rows is None

    @property
    def known(self) -> set[Key]:
        return {row.key for row in self.rows}

    def add(self, rows: Sequence[BenchRow]) -> None:
        """Append the rows of one conversation at once, and hand them to the system: a kill right behind this loses nothing.

        Raises `BadRequest` when the disk takes no more."""
        try:
            if self._begins:
                self._stream.truncate(0)
            self._stream.write(to_csv(rows, head=self._begins))
            self._stream.flush()
            if (
                self._begins
            ):  # after the rows: old settings beside new rows are refused, new ones beside old rows would not be
                _write(_beside(self.path), json.dumps(self._settings, indent=2) + "\n")
                self._begins = False
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self.rows += rows


@contextmanager
def open_store(path: Path, settings: Mapping[str, object], *, fresh: bool) -> Iterator[BenchStore]:
    """Open or make a file of rows, for one process at a time; what a crash left of a record is taken off.

    Nothing is written, and with `fresh` nothing is thrown away, before there is a row to be kept.
    Raises `BadRequest` for a file that was measured with other settings, is no file of rows, is in use, or can't be written.
    """
    was_there = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8", newline="")
    except OSError as error:
        raise _unwritable(path, error) from error
    with stream:
        _lock(stream, path)
        try:
            yield BenchStore(stream, path, settings, None if fresh else _read(stream, path, settings))
        finally:
            if not was_there and not os.fstat(stream.fileno()).st_size:
                path.unlink(missing_ok=True)


def _lock(stream: IO[str], path: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BadRequest(
            f"another bench is writing {path}: wait for it, or choose another --output-per-query-csv"
        ) from None


def _read(stream: IO[str], path: Path, settings: Mapping[str, object]) -> list[BenchRow] | None:
    """Give the rows that count; None where there are none, whatever they were to be measured with."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]  # a crash may have cut a record, and a character
    text = whole.decode("utf-8", "replace")
    if text in {"", to_csv((), head=True)}:
        return None
    _require_same(path, settings)
    found = from_csv(text, str(path))
    if whole != content:
        os.ftruncate(stream.fileno(), len(whole))
        stream.seek(0, io.SEEK_END)
    return whole_conversations(found)


def whole_conversations(rows: Iterable[BenchRow]) -> list[BenchRow]:
    """Give the rows whose conversation is there to its last turn, each once, the last of its kind: one that a crash cut in two is
    put again from its first turn, since what it was about is lost."""
    last = {row.key: row for row in rows}
    turns: dict[object, set[int]] = {}
    for row in last.values():
        turns.setdefault(_conversation(row), set()).add(row.turn)
    return [row for row in last.values() if turns[_conversation(row)] >= set(range(1, row.turns + 1))]


def _conversation(row: BenchRow) -> object:
    return row.arm, row.repeat, row.talk


def _require_same(path: Path, settings: Mapping[str, object]) -> None:
    try:
        before = json.loads(_beside(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise BadRequest(
            f"{path} is there already, and {_beside(path).name}, which says how it was measured, is not readable: "
            "choose another --output-per-query-csv, or --fresh to measure anew"
        ) from None
    other = [
        f"{key} was {before.get(key)!r} and is {settings.get(key)!r}"
        for key in sorted({*before, *settings})
        if before.get(key) != settings.get(key)
    ]
    if other:
        raise BadRequest(
            f"{path} was measured with other settings ({'; '.join(other)}): choose another --output-per-query-csv, "
            "the same settings to go on, or --fresh to measure anew"
        )


def _beside(path: Path) -> Path:
    return path.with_suffix(".settings.json")


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _unwritable(path: Path, error: OSError) -> BadRequest:
    return BadRequest(f"{path} can't be written ({error.strerror or error}): choose another --output-per-query-csv")
