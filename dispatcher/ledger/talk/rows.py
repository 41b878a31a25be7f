"""Conversations and turns to rows and back, and what a search compares. Pure; it knows no connection."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, func, select

from common import codec
from common.conversations import (
    MOST_TURN_BYTES,
    MOST_TURN_CHARS,
    SNIPPET_CHARS,
    Conversation,
    Ended,
    Given,
    Owner,
    Turn,
)
from common.errors import PayloadTooLarge
from common.messages import Role
from common.ratings import TIED
from common.votes import mark_of
from dispatcher.ledger.rows import Row
from dispatcher.ledger.tables import conversations, feedback, jobs, turns
from dispatcher.ledger.talk.accounts import COLUMNS, account_of
from dispatcher.ledger.votes.keeping import ALONE

_CONVERSATION = ("id", "title", "created_unix_s", "updated_unix_s", "head", "turns", "branched_from")
_TURN = ("id", "parent", "created_unix_s", "job", "device", "model", "completion_tokens", "broken_off")

_WINDOW = 4096
_OVERLAP = 1024
"""Characters that are folded at once, and how many of them again with the next ones: more than any word that is looked for has,
also before its signs were composed."""

_BEFORE = 40
"""Characters of a snippet before what was found."""


def owned(table: Table, owner: Owner) -> list[ColumnElement[bool]]:
    """Give the condition that a row is the owner's."""
    return [table.c.tenant == owner.tenant, table.c.user_id == owner.user]


def one(owner: Owner, conversation: str) -> list[ColumnElement[bool]]:
    """Give the condition that a row of `conversations` is that one."""
    return [*owned(conversations, owner), conversations.c.id == conversation]


def its(owner: Owner, conversation: str) -> list[ColumnElement[bool]]:
    """Give the condition that a row of `turns` is one of its."""
    return [*owned(turns, owner), turns.c.conversation == conversation]


def turns_of(owner: Owner, conversation: str, *, accounts: bool = True) -> Select[Any]:
    """Ask for its turns, each with what its owner has said of the answer of its job, and what that took, if it has `accounts`."""
    thumb = and_(
        feedback.c.tenant == owner.tenant,
        feedback.c.voter == mark_of(owner.tenant, owner.user),
        feedback.c.compared == ALONE,
        feedback.c.job == turns.c.job,
    )
    told = select(turns, feedback.c.score)
    found = turns.outerjoin(feedback, thumb)
    if accounts:
        # A job's id may come again: the newest record is of what the answer says.
        newest = (
            select(func.max(jobs.c.record))
            .where(jobs.c.tenant == owner.tenant, jobs.c.job == turns.c.job)
            .correlate(turns)
            .scalar_subquery()
        )
        told, found = told.add_columns(*COLUMNS), found.outerjoin(jobs, jobs.c.record == newest)
    return told.select_from(found).where(*its(owner, conversation))


def conversation_row(owner: Owner, new: Conversation, size_bytes: int) -> Row:
    """Give the row of a conversation, whose turns have so many bytes together."""
    row = {name: getattr(new, name) for name in _CONVERSATION}
    return row | {"tenant": owner.tenant, "user_id": owner.user, "bytes": size_bytes, **titled(new.title)}


def titled(title: str) -> Row:
    """Give the columns of a title."""
    title = cleaned(title)
    return {"title": title, "folded": folded(title)}


def conversation_of(row: Mapping[str, Any]) -> Conversation:
    """Read the row of a conversation. Raises `BadRequest` where it holds what none can."""
    return codec.build(Conversation, {name: row[name] for name in _CONVERSATION})


def turn_row(owner: Owner, conversation: str, number: int, turn: Turn) -> Row:
    """Give the row of a turn."""
    texts = {**said(turn), "folded": folded(turn.message.content)}
    given, error = _text(turn.given), _text(turn.error)
    return {
        **{name: getattr(turn, name) for name in _TURN},
        "tenant": owner.tenant,
        "user_id": owner.user,
        "conversation": conversation,
        "number": number,
        **texts,
        "summary": None,
        "given": given or None,
        "error": error or None,
        "bytes": sum(len(text.encode()) for text in (*texts.values(), given, error)),
    }


def _text(part: Given | Ended | None) -> str:
    return "" if part is None else cleaned(codec.encode(codec.plain(part)).decode())


def said(turn: Turn) -> Row:
    """Give the columns that hold what a turn says: two of the same id must have the same."""
    message = codec.plain(turn.message)
    content = message.pop("content", "")
    return {"content": cleaned(content), "message": codec.encode(message).decode()}


def turn_of(row: Mapping[str, Any]) -> Turn:
    """Read the row of a turn. Raises `BadRequest` where it holds what none can."""
    wire = {name: row[name] for name in _TURN}
    message = wire["message"] = codec.decode(row["message"].encode()) | {"content": row["content"]}
    if message.get("role") == Role.ASSISTANT:  # the question is of the same job
        wire["rating"] = _thumb(row.get("score"))
        wire["account"] = account_of(row)
    for name in ("given", "error"):
        if row[name] is not None:
            wire[name] = codec.decode(row[name].encode())
    return codec.build(Turn, wire)


def _thumb(score: float | None) -> str | None:
    if score is None or score == TIED:
        return None
    return "up" if score > TIED else "down"


def require_bounded(turn: Turn, most_bytes: int) -> None:
    """Raise `PayloadTooLarge` for a turn that is more than is kept, or that no answer could tell again."""
    if len(turn.message.content) > MOST_TURN_CHARS:
        size, most = f"{len(turn.message.content)} characters", f"{MOST_TURN_CHARS}"
    elif (size_bytes := len(codec.encode(codec.plain(turn)))) > (bound := min(MOST_TURN_BYTES, most_bytes)):
        size, most = f"{size_bytes} bytes", f"{bound}"
    else:
        return
    raise PayloadTooLarge(f"turn {turn.id} has {size}: at most {most} are kept")


def cleaned(text: str) -> str:
    """Put a replacement for NUL, which PostgreSQL can't keep."""
    return text.replace("\0", "\ufffd")


def folded(text: str) -> str:
    """Give a text as a search compares it: without regard to case and to how its letters are composed.

    It is the same for both databases, whose own ideas of case differ. What is longer than a turn may be, since some letters become
    many, is not looked at.
    """
    some = unicodedata.normalize("NFKD", text[:MOST_TURN_CHARS]).casefold()
    return cleaned(unicodedata.normalize("NFKC", some))[:MOST_TURN_CHARS]


def words(text: str) -> list[str]:
    """Give what is searched for, each once."""
    return list(dict.fromkeys(folded(text).split()))


def snippet(text: str, looked_for: Sequence[str] = ()) -> str:
    """Give a line of the text: its beginning, or where the first of some words stands. A long text takes milliseconds."""
    at = _place(text, looked_for) if looked_for else 0
    start = at - _BEFORE if at > _BEFORE else 0
    # White space becomes one blank: four times as much text has enough, and a megabyte need not be split.
    line = " ".join(text[start : start + 4 * SNIPPET_CHARS].split())
    head = "…" if start else ""
    return head + (f"{line[: SNIPPET_CHARS - 2]}…" if len(line) > SNIPPET_CHARS - 2 else line)


def _place(text: str, looked_for: Sequence[str]) -> int:
    """Say where the first of some words stands, 0 where none is found. Each window is folded once, and what holds a word some times
    more: folding makes some letters two, and only so is the place in the text itself known."""
    for begin in range(0, max(1, len(text)), _WINDOW - _OVERLAP):
        window = text[begin : begin + _WINDOW]
        whole = folded(window)
        at = min((found for word in looked_for if (found := whole.find(word)) >= 0), default=-1)
        if at >= 0:
            return begin + bisect_right(range(len(window)), at, key=lambda end: len(folded(window[:end]))) - 1
    return 0
