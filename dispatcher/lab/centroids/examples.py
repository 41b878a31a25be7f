"""Examples of topics: the rows of a CSV file with the columns `text` and perhaps `topic`, checked and named by line."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from pathlib import Path

from common.errors import LabelsError

FEWEST = 4
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class TopicExamples:
    """Texts, and the topic of each; None where the file names none."""

    texts: tuple[str, ...]
    topics: tuple[str, ...] | None


def read_examples(path: Path) -> TopicExamples:
    """Read them. Raises `LabelsError` for a file that can't be read, lacks texts, or names topics for some rows only."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        reader = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
        rows = [(reader.line_num, (row.get("text") or "").strip(), (row.get("topic") or "").strip()) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error, EOFError) as error:
        raise LabelsError(f"{path} can't be read as a table of examples: {error}") from error
    if "text" not in (reader.fieldnames or ()):
        raise LabelsError(f"{path} lacks the column text: it has {', '.join(reader.fieldnames or ['none'])}")
    labelled = any(topic for _, _, topic in rows)
    faults = [
        f"line {line}: {'topic' if text else 'text'} is empty"
        for line, text, topic in rows
        if not text or (labelled and not topic)
    ]
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise LabelsError(f"{path} has bad rows: {'; '.join(faults[:_SHOWN])}{more}")
    if len(rows) < FEWEST:
        raise LabelsError(f"{path} has {len(rows)} examples: at least {FEWEST} are needed, and 20 a topic do well")
    return TopicExamples(tuple(text for _, text, _ in rows), tuple(topic for _, _, topic in rows) if labelled else None)
