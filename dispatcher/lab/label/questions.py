"""Prompts to be labelled: the rows of a CSV file, checked and named by line; it knows no model."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from dataclasses import dataclass
from pathlib import Path

from common.errors import LabelsError

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, the line on which it ends, its domain or "", and the right answer where one is known."""

    line: int
    prompt: str
    domain: str
    gold: str | None


def read_questions(path: Path, *, prompt: str, domain: str, gold: str | None) -> tuple[Question, ...]:
    """Read a CSV file, plain or gzipped; a prompt that stands twice is asked once. Names are those of columns.

    Raises `LabelsError` for a file that can't be read, lacks columns, or has rows without what is needed.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        reader = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise LabelsError(f"{path} can't be read as a table of prompts: {error}") from error
    lacking = [name for name in (prompt, gold) if name is not None and name not in (reader.fieldnames or ())]
    if lacking:
        raise LabelsError(
            f"{path} lacks the columns {', '.join(lacking)}: it has {', '.join(reader.fieldnames or ['none'])}"
        )
    needed = (prompt,) if gold is None else (prompt, gold)
    faults = [f"line {line}: {name} is empty" for line, row in rows for name in needed if not (row[name] or "").strip()]
    if faults or not rows:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise LabelsError(
            f"{path} has bad rows: {'; '.join(faults[:_SHOWN])}{more}" if faults else f"{path} has no rows"
        )
    found: dict[str, Question] = {}
    for line, row in rows:
        known = Question(line, row[prompt], row.get(domain) or "", None if gold is None else row[gold])
        found.setdefault(known.prompt, known)
    return tuple(found.values())
