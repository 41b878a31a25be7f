"""Files of questions to conversations: JSON, JSONL, CSV; pure functions of the text, which never ask anybody anything.

A row holds one of: `prompt`, `turns` (a list of questions, as MT-Bench has it), `messages` (roles and contents). A user
message that an assistant message follows is history; every other user message is a question, asked in turn with what
came before it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import codec
from common.errors import BadRequest
from common.messages import Message, Role

CONTENTS = ("prompt", "turns", "messages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question, and the messages that come between the answer before it and this one, the question last."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Questions that are asked one after the other. `category` is kept for the results."""

    id: str
    questions: tuple[Question, ...]
    category: str = ""
    model: str | None = None


Reader = Callable[[str], Iterator[tuple[str, Any]]]
"""From a text to its rows, each with its place in words."""


def read(path: Path) -> list[Conversation]:
    """Read the file. Raises `BadRequest` that names the file, the line and what was expected."""
    text, reader = _opened(path)
    return parse(text, reader, str(path))


def read_rows(path: Path) -> list[tuple[str, Mapping[str, Any], Conversation]]:
    """Read the file, as `read` does; gives each row with its place and as it stands there."""
    text, reader = _opened(path)
    return list(zip_rows(text, reader, str(path)))


def zip_rows(text: str, reader: Reader, name: str) -> Iterator[tuple[str, Mapping[str, Any], Conversation]]:
    """Give place, row and conversation, in order."""
    conversations = parse(text, reader, name)
    for (where, row), found in zip(reader(text), conversations, strict=True):
        yield where, row, found


def _opened(path: Path) -> tuple[str, Reader]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise BadRequest(f"{path}: the name must end in one of {' '.join(READERS)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise BadRequest(f"{path}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"{path}: byte {error.start} is not UTF-8: save the file as UTF-8") from error
    except OSError as error:
        raise BadRequest(f"{path}: {error.strerror}") from error
    return text, reader


def parse(text: str, reader: Reader, name: str) -> list[Conversation]:
    """Turn the text of a file into conversations; `name` stands in the errors."""
    found: dict[str, Conversation] = {}
    try:
        for where, row in reader(text):
            conversation = _conversation(where, row, number=len(found) + 1)
            _require_new(where, conversation.id, found)
            found[conversation.id] = conversation
    except BadRequest as error:
        raise BadRequest(f"{name} {error.message}") from error
    if not found:
        raise BadRequest(f"{name} holds no question: give rows with one of {', '.join(CONTENTS)}")
    return list(found.values())


def json_rows(text: str) -> Iterator[tuple[str, Any]]:
    """Give each item of a JSON list, or the one object."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRequest(f"line {error.lineno}: not JSON ({error.msg}, column {error.colno})") from error
    for number, row in enumerate(document if isinstance(document, list) else [document], start=1):
        yield f"item {number}", row


def jsonl_rows(text: str) -> Iterator[tuple[str, Any]]:
    """Give the object of each line; empty lines are skipped."""
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: JSON strings may hold U+2028
        if not line.strip():
            continue
        try:
            yield f"line {number}", json.loads(line)
        except json.JSONDecodeError as error:
            raise BadRequest(f"line {number}: not JSON ({error.msg}, column {error.colno})") from error


def csv_rows(text: str) -> Iterator[tuple[str, Any]]:
    """Give each record by its column names; the first line must name a column `prompt`."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = reader.fieldnames or []
        if "prompt" not in columns:
            raise BadRequest(f"line 1: no column is named prompt (the columns are: {', '.join(columns) or 'none'})")
        for record in reader:
            where = f"line {reader.line_num}"
            if None in record:
                raise BadRequest(
                    f"{where}: more cells than the {len(columns)} columns: put quotes around text with commas"
                )
            yield where, {column: cell for column, cell in record.items() if cell}
    except csv.Error as error:
        raise BadRequest(f"line {reader.reader.line_num}: not CSV ({error})") from error


READERS: Mapping[str, Reader] = {
    ".json": json_rows,
    ".jsonl": jsonl_rows,
    ".ndjson": jsonl_rows,
    ".csv": csv_rows,
}


def _require_new(where: str, name: str, found: Collection[str]) -> None:
    if name in found:
        raise BadRequest(f"{where}: the id {name!r} stands twice: ids must differ")


def _conversation(where: str, row: Any, *, number: int) -> Conversation:
    if not isinstance(row, dict):
        raise BadRequest(f"{where}: an object was expected, not {codec.kind(row)}")
    given = [key for key in CONTENTS if row.get(key) not in (None, "", [])]
    if len(given) != 1:
        what = (
            f"the row has {' and '.join(given)}"
            if given
            else f"the row has only {', '.join(map(str, row)) or 'nothing'}"
        )
        raise BadRequest(f"{where}: exactly one of {', '.join(CONTENTS)} is needed, {what}")
    questions = _questions(where, _messages(where, given[0], row))
    name = row.get("id", row.get("question_id"))
    model = row.get("model")
    return Conversation(
        id=str(number if name is None else name),
        questions=questions,
        category=str(row.get("category") or ""),
        model=str(model) if model else None,
    )


def _messages(where: str, kind: str, row: Mapping[str, Any]) -> Iterator[Message]:
    if row.get("system"):
        yield _message(where, {"role": Role.SYSTEM, "content": row["system"]})
    if kind == "prompt":
        yield _message(where, {"role": Role.USER, "content": row[kind]})
        return
    if not isinstance(row[kind], list):
        raise BadRequest(f"{where}: {kind} must be a list, not {codec.kind(row[kind])}")
    for turn in row[kind]:
        yield _message(where, {"role": Role.USER, "content": turn} if kind == "turns" else turn)


def _message(where: str, wire: Any) -> Message:
    if not isinstance(wire, dict):
        raise BadRequest(f'{where}: a message must be an object with "role" and "content", not {codec.kind(wire)}')
    try:
        message = codec.build(Message, wire)
    except BadRequest as error:
        raise BadRequest(f"{where}: {error.message}") from error
    if message.role is Role.USER and not message.content.strip() and not message.images:
        raise BadRequest(f"{where}: a question is empty")
    return message


def _questions(where: str, messages: Iterator[Message]) -> tuple[Question, ...]:
    questions: list[Question] = []
    waiting: list[Message] = []
    for message in messages:
        if waiting and waiting[-1].role is Role.USER and message.role is not Role.ASSISTANT:
            questions.append(Question(messages=tuple(waiting)))
            waiting = []
        waiting.append(message)
    if waiting and waiting[-1].role is Role.USER:
        questions.append(Question(messages=tuple(waiting)))
    else:
        raise BadRequest(f"{where}: the conversation must end with a user's message")
    return tuple(questions)
