"""Rows of a CSV as they are, or as a line of JSON each; a piece at a time, so that no file need fit into memory."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from typing import IO, Any

from common import codec
from dispatcher.cells import text_of
from dispatcher.experiments.folder import Unreadable

PIECE_BYTES = 64 * 1024
ROWS_AT_ONCE = 200
MOST_LINE = 1 << 20
MOST_WHOLE = 2**53
"""Every reader of JSON tells whole numbers up to this apart."""


def as_csv(file: IO[bytes]) -> Iterator[bytes]:
    """Give it as it is."""
    while piece := file.read(PIECE_BYTES):
        yield piece


def as_jsonl(file: IO[bytes]) -> Iterator[bytes]:
    """Give an object for each row: numbers as numbers, empty cells as null. Raises `Unreadable` for what is no table."""
    some = list[bytes]()
    try:
        for row in csv.DictReader(_lines(file)):
            some.append(codec.encode({str(name): _value(cell) for name, cell in row.items()}) + b"\n")
            if len(some) >= ROWS_AT_ONCE:
                yield b"".join(some)
                some.clear()
    except (csv.Error, UnicodeDecodeError) as error:
        raise Unreadable(f"the rows are no CSV: {error}") from error
    yield b"".join(some)


def _lines(file: IO[bytes]) -> Iterator[str]:
    """Give lines. Raises `Unreadable` for one that would hardly fit into memory, as of a file that has none."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    while line := text.readline(MOST_LINE):
        if len(line) == MOST_LINE:
            raise Unreadable(f"the rows are no CSV: a line has {MOST_LINE} characters or more")
        yield line


def _value(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    for kind in (int, float):
        try:
            value = kind(cell)
        except ValueError:
            continue
        # A job that is called 0012 is called so, and what is too large for JSON's numbers stays as it is written.
        plain = math.isfinite(value) and abs(value) <= MOST_WHOLE and (kind is float or str(value) == cell)
        return value if plain else cell
    return text_of(cell) or None
