"""Rows to the per-query CSV and back; what a cell means, the rows know."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, fields
from typing import Any, get_type_hints

from common.errors import BadRequest
from dispatcher.lab.bench.rows import BenchRow, one_line

COLUMNS = tuple(field.name for field in fields(BenchRow))
_TYPES = get_type_hints(BenchRow)
_AS_TEXT = "'"
_FORMULA = ("=", "+", "-", "@", _AS_TEXT)
"""What a spreadsheet takes for the beginning of a formula, or of a text; the names of questions are their author's own."""


def safe(text: str) -> str:
    """Give a cell that no spreadsheet runs: an apostrophe before it marks it as text."""
    return _AS_TEXT + text if text.startswith(_FORMULA) else text


def to_csv(rows: Iterable[BenchRow], *, head: bool) -> str:
    """Write rows; absent values are empty, numbers keep six digits."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    if head:
        writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(cell) for cell in astuple(row)])
    return out.getvalue()


def from_csv(text: str, name: str) -> list[BenchRow]:
    """Read what `to_csv` wrote. Raises `BadRequest` that names the file, the line and the column."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise BadRequest(
            f"{name} has other columns than a per-query CSV: choose another --output-per-query-csv, or --fresh"
        )
    return [
        BenchRow(**{column: _value(column, record[column], f"{name} line {reader.line_num}") for column in COLUMNS})
        for record in reader
    ]


def _cell(value: object) -> object:
    match value:
        case bool():
            return int(value)
        case str():
            return safe(one_line(value))
        case float():
            return f"{value:.17g}" if abs(value) >= 1e6 else f"{value:.6g}"
        case _:
            return value


def _value(column: str, text: str | None, where: str) -> Any:
    kind = _TYPES[column]
    if text is None:
        raise BadRequest(f"{where}: {column} is missing: the file was changed; measure anew with --fresh")
    if kind is str:
        return text.removeprefix(_AS_TEXT)
    if text == "" and kind not in {int, bool, float}:
        return None
    try:
        return bool(int(text)) if kind is bool else int(text) if kind in {int, int | None} else float(text)
    except ValueError:
        raise BadRequest(
            f"{where}: {column} is {text[:40]!r}: the file was changed; measure anew with --fresh"
        ) from None
