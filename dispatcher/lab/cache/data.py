"""Labelled questions and labelled pairs, read from files and checked; it knows no embedder and no verifier.

A question has an intent: questions of one intent can be answered alike, those of another intent can't. A pair says so itself. Files
are CSV, JSON or JSON lines, plain or gzipped, and are known by their columns: `text` with `intent`, `category` or `label`; `a`
and `b` (`asked` and `kept`, `question1` and `question2`) with `same` (`is_duplicate`). A JSON object of lists of `[text,
intent]`, a list for each part, is read too, and so is a list of `original_question` with `similar_questions`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import codec
from common.errors import BadRequest, LabelsError

OUTSIDE = frozenset(["oos", "out_of_scope", "none", "other"])
"""Intents that are none: what has one is answered by nothing that is kept."""

TEST = "test"
TRAIN = "train"

MOST_CHARS = 20_000
"""A longer text is no question that is compared; the dispatcher reads as much at most."""

_SUFFIXES = (".csv", ".csv.gz", ".json", ".json.gz", ".jsonl", ".jsonl.gz")
_TEXTS, _INTENTS = ("text", "question", "prompt", "query", "utterance"), ("intent", "category", "label")
_ASKED, _KEPT = ("a", "asked", "question1", "text1"), ("b", "kept", "question2", "text2")
_SAMES = ("same", "is_duplicate", "duplicate")
_PARTS = ("part", "split")
_YES, _NO = frozenset(["1", "true", "yes", "same"]), frozenset(["0", "false", "no", "different"])
_SHOWN = 10
_UNREADABLE = (OSError, UnicodeDecodeError, csv.Error, EOFError, zlib.error, json.JSONDecodeError, BadRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A labelled question. `source` is the file's name without its part; `part` is `train`, `test`, or empty."""

    text: str
    intent: str
    source: str
    part: str = ""

    @property
    def outside(self) -> bool:
        """True of a question whose like nobody keeps."""
        return self.intent.lower() in OUTSIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two questions, and whether the answer to one answers the other. `kind` says what was changed."""

    asked: str
    kept: str
    same: bool
    kind: str = ""
    part: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What some files hold. `unlabelled` counts pairs that say nothing, as those of the mode shadow until somebody has judged."""

    questions: tuple[Question, ...] = ()
    pairs: tuple[Pair, ...] = ()
    unlabelled: int = 0

    @property
    def sources(self) -> tuple[str, ...]:
        """Name the sets of questions, in order."""
        return tuple(dict.fromkeys(question.source for question in self.questions))


def read_all(paths: Iterable[Path]) -> Labelled:
    """Read files, and all files of folders. Raises `LabelsError` for what can't be read, holds neither questions nor pairs, or has
    bad rows: those by line."""
    files = [file for path in paths for file in _files(path)]
    found = [_read(file) for file in files]
    whole = Labelled(
        questions=tuple(question for one in found for question in one.questions),
        pairs=tuple(pair for one in found for pair in one.pairs),
        unlabelled=sum(one.unlabelled for one in found),
    )
    if not (whole.questions or whole.pairs or whole.unlabelled):
        raise LabelsError(f"there is no labelled question in {', '.join(map(str, paths)) or 'no file'}")
    return whole


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.name.endswith(_SUFFIXES))
    if not files:
        raise LabelsError(f"{path} holds no file that ends with {', '.join(_SUFFIXES)}")
    return files


def _read(path: Path) -> Labelled:
    if not path.name.endswith(_SUFFIXES):
        raise LabelsError(f"{path} is of no known kind: its name must end with {', '.join(_SUFFIXES)}")
    source, part = _named(path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        rows = list(_rows(path.name.removesuffix(".gz"), data))
    except _UNREADABLE as error:
        raise LabelsError(f"{path} can't be read as labelled questions: {error!s:.300}") from error
    return _checked(path, rows, source, part)


def _named(path: Path) -> tuple[str, str]:
    """Give the set that a file belongs to, and which part of it: `banking77_test.csv.gz` is the test part of banking77."""
    stem = path.name.partition(".")[0]
    for part in (TRAIN, TEST):
        if stem.endswith(f"_{part}"):
            return stem.removesuffix(f"_{part}"), part
    return stem, ""


def _rows(name: str, data: bytes) -> Iterator[tuple[str, Any]]:
    """Give each row with where it stands."""
    text = data.decode("utf-8-sig")
    if name.endswith(".csv"):
        reader = csv.DictReader(io.StringIO(text, newline=""))
        for row in reader:
            yield f"line {reader.line_num}", row
    elif name.endswith(".jsonl"):
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield f"line {number}", codec.decode(line.encode())
    else:
        yield from _of_json(codec.decode(b'{"file":' + text.encode() + b"}")["file"])


def _of_json(value: Any) -> Iterator[tuple[str, Any]]:
    match value:
        case list():
            for number, row in enumerate(value, start=1):
                yield from _case(number, row)
        case dict():
            for part, rows in value.items():
                if not isinstance(rows, list):
                    raise BadRequest(f"{part!s:.40} is no list of [text, intent]")
                for number, row in enumerate(rows, start=1):
                    if not (isinstance(row, list) and len(row) == 2):
                        raise BadRequest(f"{part!s:.40}, row {number} is not [text, intent]")
                    yield f"{part}, row {number}", {"text": row[0], "intent": row[1], "part": _part(part)}
        case _:
            raise BadRequest("it holds neither a list nor an object")


def _part(name: str) -> str:
    """Name a part by what it is for: what measures is `test`, all other is there to learn from."""
    return TEST if name == TEST or name.endswith(f"_{TEST}") else TRAIN


def _case(number: int, row: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(row, dict) and isinstance(row.get("similar_questions"), list):
        for similar in row["similar_questions"]:
            yield f"row {number}", {"a": similar, "b": row.get("original_question"), "same": True, "kind": "paraphrase"}
    else:
        yield f"row {number}", row


def _checked(path: Path, rows: list[tuple[str, Any]], source: str, part: str) -> Labelled:
    questions: list[Question] = []
    pairs: list[Pair] = []
    faults: list[str] = []
    unlabelled = 0
    for where, row in rows:
        try:
            made = _made(row, source, part)
        except ValueError as error:
            faults.append(f"{where}: {error}")
            continue
        match made:
            case Question():
                questions.append(made)
            case Pair():
                pairs.append(made)
            case None:
                unlabelled += 1
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise LabelsError(f"{path} has bad rows: {'; '.join(faults[:_SHOWN])}{more}")
    return Labelled(questions=tuple(questions), pairs=tuple(pairs), unlabelled=unlabelled)


def _made(row: Any, source: str, part: str) -> Question | Pair | None:
    """Give what a row says; `None` for a pair that nobody has judged. Raises `ValueError` that says what is wrong."""
    if not isinstance(row, Mapping):
        raise ValueError(f"it is {codec.kind(row)}, no object")  # noqa: TRY004  # a fault of the row, like the others
    named = _value(row, _PARTS)
    part = str(named) if named else part
    if _column(row, _ASKED) is not None:
        same = _value(row, _SAMES)
        asked, kept = _text(row, _ASKED), _text(row, _KEPT)
        kind = str(row.get("kind") or "")
        if same is None or same == "":
            return None
        return Pair(asked=asked, kept=kept, same=_truth(same), kind=kind, part=part, source=source)
    return Question(text=_text(row, _TEXTS), intent=_text(row, _INTENTS), source=source, part=part)


def _column(row: Mapping[str, Any], names: Iterable[str]) -> str | None:
    return next((name for name in names if name in row), None)


def _value(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    name = _column(row, names)
    return None if name is None else row[name]


def _text(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    value = _value(row, names)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"there is no text under {' or '.join(names)}")
    if len(value) > MOST_CHARS:
        raise ValueError(f"a text of {len(value)} characters is too long: at most {MOST_CHARS} are compared")
    return value.strip()


def _truth(value: Any) -> bool:
    said = str(value).strip().lower()
    if said not in _YES | _NO:
        raise ValueError(f"same is {value!r:.40}: give true or false")
    return said in _YES
