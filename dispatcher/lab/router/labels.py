"""Labels for a router: the rows of a CSV file, checked and named by line; it knows no model.

Columns: `prompt`, `weak`, `strong`, and perhaps `weak_response` and `domain`. Other columns are left alone. `weak` and `strong` are
how good the two models' answers were, from 0 to 1: right or wrong is enough.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from common.errors import LabelsError
from dispatcher.lab.router.splits import WHOLE, groups

FEWEST = 40
"""Below this nothing can be learned and nothing can be told: 250 labels are thin, 1,500 are enough (see the model card)."""

MOST_CELL_CHARS = 4_000_000
"""A longer cell is no prompt that anybody sends: it is refused before it takes the memory."""

_SHOWN = 10
_NEEDED = ("prompt", "weak", "strong")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the columns are called in the file. A domain that no column gives is the empty string."""

    prompt: str = "prompt"
    weak: str = "weak"
    strong: str = "strong"
    weak_response: str = "weak_response"
    domain: str = "domain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Labelled prompts, one row each. `answers` are the weak model's, None where the file has no such column."""

    prompts: tuple[str, ...]
    weak: NDArray[np.float64]
    strong: NDArray[np.float64]
    domains: tuple[str, ...]
    answers: tuple[str, ...] | None = None

    @property
    def gain(self) -> NDArray[np.float64]:
        """Strong minus weak."""
        return self.strong - self.weak

    def take(self, rows: NDArray[np.intp]) -> Labels:
        """Give the labels of some rows, in their order."""
        return Labels(
            prompts=tuple(self.prompts[row] for row in rows),
            weak=self.weak[rows],
            strong=self.strong[rows],
            domains=tuple(self.domains[row] for row in rows),
            answers=None if self.answers is None else tuple(self.answers[row] for row in rows),
        )


def read_labels(path: Path, columns: Columns | None = None) -> Labels:
    """Read a CSV file, plain or gzipped.

    Raises `LabelsError` for a file that can't be read, lacks columns (a needed one, or one that is called otherwise), is too
    small, has too few different prompts, or has bad rows: all of them by line.
    """
    named = columns or Columns()
    try:
        with _opened(path) as stream:
            rows = list(_rows(stream, named, path))
    except (OSError, UnicodeDecodeError, csv.Error, EOFError) as error:
        raise LabelsError(f"{path} can't be read as a table of labels: {error}") from error
    faults = [fault for _, fault in rows if isinstance(fault, str)]
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise LabelsError(f"{path} has bad rows: {'; '.join(faults[:_SHOWN])}{more}")
    good = [row for row, _ in rows]
    if len(good) < FEWEST:
        raise LabelsError(f"{path} has {len(good)} labels: at least {FEWEST} are needed, and some 1,500 do well")
    different = len(set(groups([row[named.prompt] for row in good], WHOLE).tolist()))
    if different < FEWEST:
        raise LabelsError(
            f"{path} has {len(good)} labels of {different} prompts, the rest are copies: {FEWEST} different ones are needed"
        )
    answers = tuple(row.get(named.weak_response) or "" for row in good)
    return Labels(
        prompts=tuple(row[named.prompt] for row in good),
        weak=np.array([float(row[named.weak]) for row in good]),
        strong=np.array([float(row[named.strong]) for row in good]),
        domains=tuple(row.get(named.domain) or "" for row in good),
        answers=answers if any(answers) else None,
    )


def need_gap(labels: Labels, path: Path) -> None:
    """Raise `LabelsError` where the strong model is no better on the whole: there is nothing to learn, and no figure is defined."""
    weak, strong = float(labels.weak.mean()), float(labels.strong.mean())
    if strong <= weak:
        raise LabelsError(
            f"{path} has no gap to learn: the strong model is {100 * strong:.1f} % right and the weak one {100 * weak:.1f} %. Send "
            "all to the weak one, name a stronger model, or turn columns that are the wrong way round (--column weak=strong "
            "--column strong=weak)"
        )


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _rows(stream: IO[str], columns: Columns, path: Path) -> Iterator[tuple[Mapping[str, str], str | None]]:
    """Give each row with what is wrong with it, by the line on which it ends."""
    csv.field_size_limit(MOST_CELL_CHARS)
    reader = csv.DictReader(stream)
    there, usual = reader.fieldnames or (), Columns()
    lacking = [
        name
        for field in fields(Columns)
        if (name := getattr(columns, field.name)) not in there
        and (field.name in _NEEDED or name != getattr(usual, field.name))
    ]
    if lacking:
        raise LabelsError(
            f"{path} lacks the columns {', '.join(lacking)}: it has {', '.join(reader.fieldnames or ['none'])}"
        )
    for row in reader:
        wrong = _fault(row, columns)
        yield row, None if wrong is None else f"line {reader.line_num}: {wrong}"


def _fault(row: Mapping[str, str | None], columns: Columns) -> str | None:
    if not (row[columns.prompt] or "").strip():
        return f"{columns.prompt} is empty"
    for name in (columns.weak, columns.strong):
        text = row[name]
        try:
            value = float(text or "")
        except ValueError:
            return f"{name} is {text!r}, no number"
        if not (math.isfinite(value) and 0 <= value <= 1):
            return f"{name} is {text}, not between 0 and 1"
    return None
