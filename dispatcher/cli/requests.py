"""Files of durable jobs: a row is a whole request, or a question as `drover ask --file` takes it; nobody is asked here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from common import codec
from common.errors import BadRequest
from common.messages import ChatRequest, Message, Priority, conversation
from dispatcher.cli.ask import Wish
from dispatcher.cli.questions import CONTENTS, Conversation, read_rows

_ASKED = frozenset({"stream", "hold", "resends", "resume", "keep_s"})
"""What belongs to a producer that waits: nobody listens to a durable job."""

FIELDS = frozenset(field.name for field in fields(ChatRequest)) - _ASKED
LABELS = frozenset({"id", "question_id", "category", "turns", "system", "reference"})
"""What question sets have beside the question."""


def requests(path: Path, wish: Wish, priority: Priority) -> list[ChatRequest]:
    """Read the file; what a row says wins over what the command line says. Raises `BadRequest` that names the line."""
    return list(_requests(path, wish, priority))


def _requests(path: Path, wish: Wish, priority: Priority) -> Iterator[ChatRequest]:
    jobs: dict[str, str] = {}
    for where, row, found in read_rows(path):
        try:
            request = _request(row, found, wish, priority)
        except BadRequest as error:
            raise BadRequest(f"{path} {where}: {error.message}", param=error.details.get("param")) from error
        if request.job is not None and request.job in jobs:
            raise BadRequest(
                f"{path} {where}: the job {request.job!r} stands in {jobs[request.job]} already: ids must differ"
            )
        if request.job is not None:
            jobs[request.job] = where
        yield request


def _request(row: Mapping[str, Any], found: Conversation, wish: Wish, priority: Priority) -> ChatRequest:
    if unknown := sorted(set(row) - FIELDS - LABELS):
        raise BadRequest(f"unknown field {unknown[0]!r}: use {', '.join(sorted(FIELDS | set(CONTENTS)))}")
    messages: tuple[Message, ...] = tuple(message for question in found.questions for message in question.messages)
    if len(found.questions) > 1:
        raise BadRequest(
            "several questions, each of which needs the answer before it: durable jobs stand alone; use drover ask --file"
        )
    own = {name: value for name, value in row.items() if name in FIELDS - {"prompt", "messages"} and value is not None}
    given = wish.fields()
    if isinstance(own.get("options"), Mapping):
        own["options"] = {**given.get("options", {}), **own["options"]}
    wire = {"priority": priority, **given, **own}
    request = codec.build(ChatRequest, {**wire, "messages": [codec.plain(one) for one in (*wish.before(), *messages)]})
    conversation(request)
    return request
