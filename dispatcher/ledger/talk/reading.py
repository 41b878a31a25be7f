"""Reads conversations, a page at a time, as SQL for both databases; it knows no bus."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from common import codec
from common.conversations import (
    MOST_WORDS,
    Conversation,
    Export,
    Exported,
    Get,
    Listed,
    Listing,
    Owner,
    Page,
    Search,
    Summary,
    Turn,
    Turns,
)
from common.errors import BadRequest, PayloadTooLarge, UnknownConversation
from dispatcher.ledger.database import Database
from dispatcher.ledger.fitting import fitting
from dispatcher.ledger.tables import conversations, turns
from dispatcher.ledger.talk.rows import conversation_of, its, one, owned, snippet, turn_of, turns_of, words
from dispatcher.ledger.talk.tree import Node, Tree

SEARCH_S = 2.0
"""After it a search gives what it has, and where to go on."""

TURNS_AT_ONCE = 500
"""Of how many turns the texts are looked through between looks at the clock; of one conversation all are."""

ROWS_AT_ONCE = 10
"""Turns may have a third of a megabyte each, and an answer's room."""

_BEGINNING = 640
"""Characters that are read for a snippet, white space among them."""


async def listed(database: Database, asked: Listing, room_bytes: int) -> Page:
    """Give a page, newest first."""
    async with database.reading() as connection:
        found = await _newest(connection, asked.owner, _behind(asked.before), asked.limit + 1)
    rows = [Listed(conversation=conversation, snippet=snippet(text or "")) for conversation, text in found]
    return _page(rows[: asked.limit], room_bytes, more=len(rows) > asked.limit)


async def search(database: Database, asked: Search, room_bytes: int, *, search_s: float = SEARCH_S) -> Page:
    """Give a page of those that have all words. When the time is over, it ends early, and the next one goes on behind it.

    Raises `BadRequest` where there is no word, or too many.
    """
    if not (looked_for := words(asked.text)) or len(looked_for) > MOST_WORDS:
        raise BadRequest(f"{len(looked_for)} words are looked for: give 1 to {MOST_WORDS}", param="text")
    clock = asyncio.get_running_loop()
    end_s = clock.time() + search_s
    found, behind = list[Listed](), _behind(asked.before)
    async with database.reading() as connection:
        while True:
            some = _bounded([one for one, _ in await _newest(connection, asked.owner, behind, TURNS_AT_ONCE)])
            if not some:
                return _page(found, room_bytes, more=False)
            hits = await _having(connection, asked.owner, [one.id for one in some], looked_for)
            for hit in (one for one in some if one.id in hits):
                found.append(await _where(connection, asked.owner, hit, looked_for))
                if len(found) == asked.limit or clock.time() >= end_s:
                    return _page(found, room_bytes, more=True)
            behind = (some[-1].updated_unix_s, some[-1].id)
            if clock.time() >= end_s:
                return _page(found, room_bytes, more=True, last=some[-1])


def _bounded(found: Sequence[Conversation]) -> Sequence[Conversation]:
    """Give the first ones, whose turns are few enough together; one at least."""
    turns_so_far = 0
    for number, one_of_them in enumerate(found):
        turns_so_far += one_of_them.turns
        if turns_so_far > TURNS_AT_ONCE:
            return found[: number or 1]
    return found


async def _newest(
    connection: AsyncConnection, owner: Owner, behind: tuple[float, str] | None, limit: int
) -> list[tuple[Conversation, str | None]]:
    """Give an owner's conversations, each with the beginning of its newest turn."""
    updated, name = conversations.c.updated_unix_s, conversations.c.id
    wanted = owned(conversations, owner)
    if behind is not None:
        wanted.append(or_(updated < behind[0], and_(updated == behind[0], name < behind[1])))
    head = and_(*owned(turns, owner), turns.c.conversation == name, turns.c.id == conversations.c.head)
    ask = (
        select(*conversations.c, func.substr(turns.c.content, 1, _BEGINNING).label("text"))
        .select_from(conversations.outerjoin(turns, head))
        .where(*wanted)
        .order_by(updated.desc(), name.desc())
        .limit(limit)
    )
    return [(conversation_of(dict(row)), row["text"]) for row in (await connection.execute(ask)).mappings()]


async def _having(
    connection: AsyncConnection, owner: Owner, names: Sequence[str], looked_for: Sequence[str]
) -> frozenset[str]:
    """Say which of some conversations have all words."""
    inside = and_(*owned(turns, owner), turns.c.conversation == conversations.c.id)
    each = [
        or_(_has(conversations.c.folded, word), exists().where(inside, _has(turns.c.folded, word)))
        for word in looked_for
    ]
    ask = select(conversations.c.id).where(*owned(conversations, owner), conversations.c.id.in_(names), *each)
    return frozenset((await connection.execute(ask)).scalars())


async def _where(
    connection: AsyncConnection, owner: Owner, conversation: Conversation, looked_for: Sequence[str]
) -> Listed:
    """Give the first turn that has one of the words; for the title alone, the beginning of the newest."""
    some = or_(*(_has(turns.c.folded, word) for word in looked_for))
    ask = select(turns.c.id, turns.c.content).where(*its(owner, conversation.id), some)
    row = (await connection.execute(ask.order_by(turns.c.number).limit(1))).first()
    if row is not None:
        line = await asyncio.to_thread(snippet, row[1], looked_for)  # keys are asked for on this loop meanwhile
        return Listed(conversation=conversation, snippet=line, turn=row[0])
    ask = select(turns.c.id, func.substr(turns.c.content, 1, _BEGINNING))
    head = await connection.execute(ask.where(*its(owner, conversation.id), turns.c.id == conversation.head))
    return Listed(conversation=conversation, snippet=snippet(row[1] if (row := head.first()) else ""))


def _has(column: ColumnElement[str], word: str) -> ColumnElement[bool]:
    """Tell whether a folded text has a word: byte by byte, whatever signs it is made of."""
    return column.contains(word, autoescape=True)


async def branch_turns(database: Database, asked: Get, room_bytes: int) -> Turns:
    """Give the last turns of a branch. Raises `UnknownConversation`, and `BadRequest` for a turn that is not there."""
    async with database.reading() as connection:
        conversation = await there(connection, asked.owner, asked.id)
        tree = await tree_of(connection, asked.owner, asked.id)
        last = asked.turn or conversation.head
        path = tree.path(last)
        if last is not None and not path:
            raise unknown_turn(last)
        summary = await _summary(connection, asked, tree, path)
        answer = Turns(
            conversation=conversation, summary=summary, beginnings=() if last is not None else tree.beginnings()
        )
        room_bytes -= len(codec.encode(codec.plain(answer)))
        shown, branches = list[Turn](), dict[str, tuple[str, ...]]()
        async for turn in _backwards(connection, asked, path[-asked.limit :]):
            beside = tree.beside(turn.id)
            room_bytes -= len(codec.encode({"": codec.plain(turn), turn.id: beside}))
            if room_bytes < 0:
                break
            shown.append(turn)
            if beside:
                branches[turn.id] = beside
        if path and not shown:
            raise _too_large(path[-1])
    hidden = path[: len(path) - len(shown)]
    return replace(answer, turns=tuple(reversed(shown)), branches=branches, next=hidden[-1] if hidden else None)


async def _backwards(connection: AsyncConnection, asked: Get, path: Sequence[str]) -> AsyncIterator[Turn]:
    """Give turns of a path, the last one first."""
    for end in range(len(path), 0, -ROWS_AT_ONCE):
        some = path[max(0, end - ROWS_AT_ONCE) : end]
        ask = turns_of(asked.owner, asked.id, accounts=asked.accounts).where(turns.c.id.in_(some))
        found = {row["id"]: turn_of(dict(row)) for row in (await connection.execute(ask)).mappings()}
        for name in reversed(some):
            yield found[name]


async def _summary(connection: AsyncConnection, asked: Get, tree: Tree, path: Sequence[str]) -> Summary | None:
    covers = next((name for name in reversed(path) if tree.nodes[name].summarised), None)
    if covers is None:
        return None
    ask = select(turns.c.summary).where(*its(asked.owner, asked.id), turns.c.id == covers)
    return Summary(covers=covers, text=(await connection.execute(ask)).scalar_one())


async def export(database: Database, asked: Export, room_bytes: int) -> Exported:
    """Give turns in the order in which they came. Raises `UnknownConversation`."""
    async with database.reading() as connection:
        conversation = await there(connection, asked.owner, asked.id)
        wanted = turns_of(asked.owner, asked.id)
        if not asked.whole:
            path = (await tree_of(connection, asked.owner, asked.id)).path(conversation.head)
            wanted = wanted.where(turns.c.id.in_(path))
        room_bytes -= len(codec.encode(codec.plain(conversation)))
        shown, after, more = list[Turn](), asked.after, True
        while more and len(shown) < asked.limit:
            ask = wanted.where(turns.c.number > after).order_by(turns.c.number)
            found = (await connection.execute(ask.limit(ROWS_AT_ONCE + 1))).mappings().all()
            some = found[: min(ROWS_AT_ONCE, asked.limit - len(shown))]
            read = [turn_of(dict(row)) for row in some]
            plain = [codec.plain(turn) for turn in read]
            if not (number := fitting(plain, room_bytes)):
                break
            room_bytes -= sum(len(codec.encode(one)) + 1 for one in plain[:number])
            shown += read[:number]
            after = some[number - 1]["number"]
            more = number < len(found)
        if found and not shown:
            raise _too_large(found[0]["id"])
    return Exported(conversation=conversation, turns=tuple(shown), next=after if more and found else None)


async def there(connection: AsyncConnection, owner: Owner, conversation: str) -> Conversation:
    """Give one. Raises `UnknownConversation`."""
    row = (await connection.execute(select(conversations).where(*one(owner, conversation)))).mappings().first()
    if row is None:
        raise unknown(conversation)
    return conversation_of(dict(row))


async def tree_of(connection: AsyncConnection, owner: Owner, conversation: str) -> Tree:
    """Give the tree of a conversation's turns."""
    columns = (turns.c.id, turns.c.parent, turns.c.summary.is_not(None))
    ask = select(*columns).where(*its(owner, conversation)).order_by(turns.c.number)
    return Tree(Node(*row) for row in await connection.execute(ask))


def unknown(conversation: str) -> UnknownConversation:
    """Say that there is none: for one that is somebody else's in the same words."""
    return UnknownConversation(f"there is no conversation {conversation}", param="conversation")


def unknown_turn(turn: str) -> BadRequest:
    """Say that the conversation has no such turn."""
    return BadRequest(f"the conversation has no turn {turn}", param="turn")


def _too_large(turn: str) -> PayloadTooLarge:
    return PayloadTooLarge(f"turn {turn} is larger than the bus carries: raise max_payload of the NATS server")


def _page(rows: Sequence[Listed], room_bytes: int, *, more: bool, last: Conversation | None = None) -> Page:
    """Give the rows that fit, and where the next page goes on: behind the last of them, or behind the last that was looked at."""
    shown = rows[: fitting([codec.plain(row) for row in rows], room_bytes)]
    if len(shown) < len(rows) or (more and last is None):
        last = shown[-1].conversation if shown else None
    return Page(conversations=tuple(shown), next=None if last is None else f"{last.updated_unix_s!r}~{last.id}")


def _behind(cursor: str | None) -> tuple[float, str] | None:
    """Read where a page goes on. Raises `BadRequest`."""
    if cursor is None:
        return None
    at, _, name = cursor.partition("~")
    try:
        updated_unix_s = float(at)
    except ValueError:
        updated_unix_s = math.nan
    if not math.isfinite(updated_unix_s):
        raise BadRequest("before is no `next` of a page: take it from there", param="before")
    return updated_unix_s, name
