"""Texts from a file, whatever its shape; it knows nothing of what they are for."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import codec
from common.errors import BadRequest, ConfigError

COLUMNS = ("prompt", "text", "query", "question", "content")
"""Names under which a text is looked for, the first that is there."""

MOST_CHARS = 4000
"""More of a text than any tier reads."""

csv.field_size_limit(1 << 24)  # the module's own limit, 128 KiB, is less than some prompts


def read_texts(path: Path) -> list[str]:
    """Read the texts of a .txt (one a line), .csv or .jsonl file, also gzipped: each once, in their order.

    Raises `ConfigError` that names the file, and the line where one is at fault.
    """
    try:
        raw = path.read_bytes()
        content = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} can't be read as text ({error}): give a .txt, .csv or .jsonl file in UTF-8"
        ) from error
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    readers = {"txt": _lines, "csv": _csv, "jsonl": _jsonl}
    if kind not in readers:
        raise ConfigError(f"{path} is a .{kind} file: give a .txt, .csv or .jsonl file, as it is or gzipped")
    texts = (text.strip()[:MOST_CHARS] for text in readers[kind](content, path))
    found = list(dict.fromkeys(text for text in texts if text))
    if not found:
        raise ConfigError(f"{path} has no texts")
    return found


def _lines(content: str, path: Path) -> Iterator[str]:  # noqa: ARG001  # the readers are called alike
    yield from content.splitlines()


def _csv(content: str, path: Path) -> Iterator[str]:
    rows = csv.DictReader(io.StringIO(content))
    name = _column(rows.fieldnames or (), path)
    try:
        yield from (row[name] or "" for row in rows)
    except csv.Error as error:
        raise ConfigError(f"{path}, line {rows.line_num}: {error}") from error


def _jsonl(content: str, path: Path) -> Iterator[str]:
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                row = codec.decode(line.encode())
            except BadRequest as error:
                raise ConfigError(f"{path}, line {number}: {error.message}") from error
            yield from _row(row, f"{path}, line {number}")


def _row(row: dict[str, Any], place: str) -> Iterator[str]:
    """The text of a row, or its turns."""
    turns = row.get("turns")
    if isinstance(turns, list):
        yield from (turn for turn in turns if isinstance(turn, str))
        return
    text = row.get(_column(row, Path(place)))
    if not isinstance(text, str):
        raise ConfigError(f"{place}: its text is no text")
    yield text


def _column(names: Any, path: Path) -> str:
    for name in COLUMNS:
        if name in names:
            return name
    raise ConfigError(f"{path} has no column {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}")
