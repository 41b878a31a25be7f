"""The per-query CSV as it grows: what was measured stays, what is there already is not measured again; it knows no fleet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from common.errors import BadRequest
from dispatcher.lab.bench.rows import BenchRow, Key, from_csv, to_csv


class BenchStore:
    """Rows in a file, and beside it the settings that they were measured with. Use it as a context."""

    def __init__(self, path: Path, settings: Mapping[str, object], *, fresh: bool) -> None:
        """Read what is there. Raises `BadRequest` for a file that was measured with other settings, or that can't be written."""
        self.path = path
        self.rows: list[BenchRow] = []
        self._settings = path.with_suffix(".settings.json")
        self._file: IO[str] | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size and not fresh:
                self._require_same(settings)
                found = from_csv(_whole_lines(path), str(path))
                self.rows = list({row.key: row for row in found}.values())
            else:
                path.write_text(to_csv((), head=True), encoding="utf-8")
            self._settings.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise BadRequest(
                f"{path} can't be written ({error.strerror}): choose another --output-per-query-csv"
            ) from error

    @property
    def known(self) -> set[Key]:
        return {row.key for row in self.rows}

    def __enter__(self) -> Self:
        self._file = self.path.open("a", encoding="utf-8", newline="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, rows: Sequence[BenchRow]) -> None:
        """Append the rows of one conversation at once, and hand them to the system: a kill right behind this loses nothing."""
        assert self._file is not None, "use the store as a context"  # noqa: S101  # a programmer's mistake
        self._file.write(to_csv(rows, head=False))
        self._file.flush()
        self.rows += rows

    def _require_same(self, settings: Mapping[str, object]) -> None:
        try:
            before = json.loads(self._settings.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise BadRequest(
                f"{self.path} is there already, and {self._settings.name}, which says how it was measured, is not readable: "
                "choose another --output-per-query-csv, or --fresh to measure anew"
            ) from None
        other = [
            f"{key} was {before.get(key)!r} and is {settings.get(key)!r}"
            for key in sorted({*before, *settings})
            if before.get(key) != settings.get(key)
        ]
        if other:
            raise BadRequest(
                f"{self.path} was measured with other settings ({'; '.join(other)}): choose another --output-per-query-csv, "
                "the same settings to go on, or --fresh to measure anew"
            )


def _whole_lines(path: Path) -> str:
    """Give the file up to its last whole record, and cut off what a kill in the middle of a write left behind it."""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return whole
