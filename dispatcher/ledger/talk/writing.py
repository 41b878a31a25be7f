"""Keeps conversations: each change is one transaction, on the disk when it returns; it knows no bus.

The row of the conversation is held first, always: whoever changes the same one waits. Of a file there is one writer anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.conversations import (
    MOST_TURNS,
    Append,
    AskedOf,
    Branch,
    Conversation,
    Create,
    Owner,
    Rename,
    Select,
    Summarise,
    Turn,
    Where,
)
from common.errors import BadRequest, ConversationConflict, NotAllowed, PayloadTooLarge
from dispatcher.ledger.database import Database
from dispatcher.ledger.tables import conversations, turns
from dispatcher.ledger.talk.reading import tree_of, unknown, unknown_turn
from dispatcher.ledger.talk.rows import (
    cleaned,
    conversation_of,
    conversation_row,
    its,
    one,
    owned,
    said,
    titled,
    turn_row,
)
from dispatcher.ledger.talk.wordless import forget_tries, wordless

AT_ONCE = 100
"""Conversations that are forgotten in one transaction: what comes meanwhile waits for it."""


async def create(database: Database, asked: Create, *, now_unix_s: float, most: int) -> Conversation:
    """Make one, or give the one that was made under this id. Raises `NotAllowed` when the owner has `most` already; of several
    ledgers over one database, each may be one too late to see that."""
    async with database.writing() as connection:
        if (there := await _find(connection, asked.owner, asked.id)) is not None:
            return there
        new = Conversation(id=asked.id, title=asked.title, created_unix_s=now_unix_s, updated_unix_s=now_unix_s)
        await _insert(connection, asked.owner, new, 0, most)
        return new


async def rename(database: Database, asked: Rename) -> Conversation:
    """Give it another title. Raises `UnknownConversation`."""
    async with database.writing() as connection:
        there = await held(connection, asked.owner, asked.id)
        await _change(connection, asked, **titled(asked.title))
        return replace(there, title=asked.title)


async def choose(database: Database, asked: Select) -> Conversation:
    """Have it go on behind another turn, or at its start. Raises `UnknownConversation`, and `BadRequest` for a turn that is not
    there."""
    async with database.writing() as connection:
        there = await held(connection, asked.owner, asked.id)
        if asked.turn is not None and asked.turn not in await _known(connection, asked, [asked.turn]):
            raise unknown_turn(asked.turn)
        await _change(connection, asked, head=asked.turn)
        return replace(there, head=asked.turn)


async def summarise(database: Database, asked: Summarise) -> Conversation:
    """Keep a summary. Raises as `choose` does."""
    async with database.writing() as connection:
        there = await held(connection, asked.owner, asked.id)
        covers = [*its(asked.owner, asked.id), turns.c.id == asked.summary.covers]
        told = await connection.execute(update(turns).where(*covers).values(summary=cleaned(asked.summary.text)))
        if not told.rowcount:
            raise unknown_turn(asked.summary.covers)
        return there


async def branch(database: Database, asked: Branch, *, now_unix_s: float, most: int, most_bytes: int) -> Conversation:
    """Copy the turns up to one into a new conversation. Raises as `choose`, `create` and `append` do, and `ConversationConflict`
    when the new id is another one's."""
    async with database.writing() as connection:
        source = await held(connection, asked.owner, asked.id)
        if (there := await _find(connection, asked.owner, asked.new)) is not None:
            if there.branched_from != asked.id:
                raise ConversationConflict(f"there is a conversation {asked.new} already: take another id")
            return there
        path = (await tree_of(connection, asked.owner, asked.id)).path(asked.turn)
        if not path:
            raise unknown_turn(asked.turn)
        new = Conversation(
            id=asked.new,
            title=source.title if asked.title is None else asked.title,
            created_unix_s=now_unix_s,
            updated_unix_s=now_unix_s,
            head=asked.turn,
            turns=len(path),
            branched_from=asked.id,
        )
        copied_bytes = select(func.coalesce(func.sum(turns.c.bytes), 0)).where(
            *its(asked.owner, asked.id), turns.c.id.in_(path)
        )
        size_bytes = int((await connection.execute(copied_bytes)).scalar_one())
        await _require_room(connection, asked.owner, size_bytes, most_bytes)
        await _insert(connection, asked.owner, new, size_bytes, most)
        columns = [literal(asked.new) if column is turns.c.conversation else column for column in turns.c]
        copied = select(*columns).where(*its(asked.owner, asked.id), turns.c.id.in_(path))
        await connection.execute(insert(turns).from_select([column.name for column in turns.c], copied))
        return new


async def append(database: Database, asked: Append, *, now_unix_s: float, most_bytes: int) -> Conversation:
    """Keep turns, all or none, in place of tries of the same question that got no word. Raises `UnknownConversation`, `BadRequest`
    for a parent that is not there, `ConversationConflict`, `PayloadTooLarge` when it would have too many, and `NotAllowed` when its
    owner's would have more than `most_bytes` together."""
    async with database.writing() as connection:
        there = await held(connection, asked.owner, asked.id)
        names = [there.head, *(name for turn in asked.turns for name in (turn.id, turn.parent))]
        known = await _known(connection, asked, [name for name in names if name])
        fresh = new_turns(there, asked, known)
        if not fresh or (
            fresh[-1].pending and len(fresh) < len(asked.turns)
        ):  # its question has come, so what came of it has
            return there
        tries = await forget_tries(connection, asked, fresh)
        count = there.turns - tries.turns + len(fresh)
        if count > MOST_TURNS:
            raise PayloadTooLarge(
                f"the conversation has {there.turns} turns, and at most {MOST_TURNS} are kept: begin a new one, or a branch of it"
            )
        last = select(func.coalesce(func.max(turns.c.number), 0)).where(*its(asked.owner, asked.id))
        number = int((await connection.execute(last)).scalar_one())
        dated = [turn if turn.created_unix_s else replace(turn, created_unix_s=now_unix_s) for turn in fresh]
        rows = [turn_row(asked.owner, asked.id, number + place, turn) for place, turn in enumerate(dated, 1)]
        size_bytes = sum(row["bytes"] for row in rows)
        size_bytes -= tries.size_bytes
        await _require_room(connection, asked.owner, size_bytes, most_bytes)
        await connection.execute(insert(turns), rows)
        changed: dict[str, Any] = {
            "head": _head(there, fresh, known),
            "turns": count,
            "updated_unix_s": max(now_unix_s, there.updated_unix_s),
        }
        await _change(connection, asked, **changed, bytes=conversations.c.bytes + size_bytes)
        return replace(there, **changed)


def _head(there: Conversation, fresh: Sequence[Turn], known: Mapping[str, Mapping[str, Any]]) -> str:
    """Say where it goes on: what got no word comes too late where it has been gone on with meanwhile."""
    last, head = fresh[-1], there.head
    if not last.wordless or head in {None, fresh[0].parent} or wordless(known[head]):
        return last.id
    return head


def new_turns(there: Conversation, asked: Append, known: Mapping[str, Mapping[str, Any]]) -> list[Turn]:
    """Give the turns that are to be kept, each with its parent; pure.

    1. What is there already must say the same. 2. Behind the head, whichever it is, or 3. only if it is still the one that is
    named; the others stand behind parents that are there, or come with them.
    """
    fresh, parents = list[Turn](), set(known)
    for place, turn in enumerate(asked.turns):
        at_head = place == 0 and asked.where is not Where.PARENT
        if turn.id in known:  # 1
            if not _same(known[turn.id], turn, anywhere=at_head and asked.where is Where.HEAD):
                raise ConversationConflict(f"turn {turn.id} is there already, and says something else: take another id")
            continue
        if turn.id in parents:
            raise BadRequest(f"turn {turn.id} comes twice: give each an id of its own", param="turns")
        if at_head and asked.where is Where.HEAD:  # 2
            turn = replace(turn, parent=there.head)  # noqa: PLW2901  # the same turn, at its place
        elif at_head and turn.parent != there.head:  # 3
            raise ConversationConflict(
                f"the conversation has gone on: its newest turn is {there.head}, not {turn.parent}; read it again"
            )
        if turn.parent is not None and turn.parent not in parents and turn.parent != there.head:
            raise BadRequest(f"turn {turn.id} stands behind {turn.parent}, which is not there: keep that one first")
        parents.add(turn.id)
        fresh.append(turn)
    return fresh


def _same(there: Mapping[str, Any], turn: Turn, *, anywhere: bool) -> bool:
    if not anywhere and there["parent"] != turn.parent:
        return False
    return all(there[name] == value for name, value in said(turn).items())


async def remove(database: Database, asked: AskedOf) -> None:
    """Forget one. Raises `UnknownConversation`."""
    async with database.writing() as connection:
        gone = await connection.execute(delete(conversations).where(*one(asked.owner, asked.id)))
        if not gone.rowcount:
            raise unknown(asked.id)
        await connection.execute(delete(turns).where(*its(asked.owner, asked.id)))


async def remove_all(database: Database, owner: Owner) -> int:
    """Forget all of an owner's, some at a time; gives their number."""
    gone = 0
    while True:
        async with database.writing() as connection:
            some = select(conversations.c.id).where(*owned(conversations, owner)).limit(AT_ONCE)
            found = (await connection.execute(some)).scalars().all()
            if not found:
                return gone
            mine = [*owned(conversations, owner), conversations.c.id.in_(found)]
            gone += (await connection.execute(delete(conversations).where(*mine))).rowcount
            theirs = [*owned(turns, owner), turns.c.conversation.in_(found)]
            await connection.execute(delete(turns).where(*theirs))


async def prune(database: Database, *, before_unix_s: float) -> int:
    """Forget what nobody has gone on with since, some at a time; gives the number of conversations."""
    gone = 0
    old = conversations.c.updated_unix_s < before_unix_s
    key = (conversations.c.tenant, conversations.c.user_id, conversations.c.id)
    while True:
        async with database.writing() as connection:
            found = (await connection.execute(select(*key).where(old).limit(AT_ONCE))).all()
            if not found:
                return gone
            for tenant, user, name in found:
                owner = Owner(tenant=tenant, user=user)
                if (await connection.execute(delete(conversations).where(*one(owner, name), old))).rowcount:
                    await connection.execute(delete(turns).where(*its(owner, name)))
                    gone += 1


async def held(connection: AsyncConnection, owner: Owner, conversation: str) -> Conversation:
    """Give one that nobody else changes until the end of the transaction. Raises `UnknownConversation`."""
    if (found := await _find(connection, owner, conversation)) is None:
        raise unknown(conversation)
    return found


async def _find(connection: AsyncConnection, owner: Owner, conversation: str) -> Conversation | None:
    ask = select(conversations).where(*one(owner, conversation)).with_for_update()
    row = (await connection.execute(ask)).mappings().first()
    return None if row is None else conversation_of(dict(row))


async def _require_room(connection: AsyncConnection, owner: Owner, size_bytes: int, most_bytes: int) -> None:
    """Raise `NotAllowed` where an owner's turns would have too many bytes; of several at once, each may be one too late to see."""
    kept = select(func.coalesce(func.sum(conversations.c.bytes), 0)).where(*owned(conversations, owner))
    if int((await connection.execute(kept)).scalar_one()) + size_bytes > most_bytes:
        raise NotAllowed(
            f"conversations have {most_bytes} bytes already, as many as are kept: delete some, or raise DROVER_CONVERSATION_MB"
        )


async def _insert(connection: AsyncConnection, owner: Owner, new: Conversation, size_bytes: int, most: int) -> None:
    count = select(func.count()).select_from(conversations).where(*owned(conversations, owner))
    if int((await connection.execute(count)).scalar_one()) >= most:
        raise NotAllowed(f"{most} conversations are kept already: delete some, or raise DROVER_CONVERSATIONS")
    await connection.execute(insert(conversations), [conversation_row(owner, new, size_bytes)])


async def _change(connection: AsyncConnection, asked: AskedOf, **values: Any) -> None:
    await connection.execute(update(conversations).where(*one(asked.owner, asked.id)).values(**values))


async def _known(connection: AsyncConnection, asked: AskedOf, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Give those of some turns that are there, and what they say."""
    columns = (turns.c.id, turns.c.parent, turns.c.content, turns.c.message, turns.c.error)
    ask = select(*columns).where(*its(asked.owner, asked.id), turns.c.id.in_(set(names)))
    return {row["id"]: dict(row) for row in (await connection.execute(ask)).mappings()}
