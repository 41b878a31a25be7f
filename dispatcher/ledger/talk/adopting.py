"""Conversations that are nobody's, made while there were no keys, and to whom they are given; it knows no bus."""

from __future__ import annotations

from sqlalchemy import select, update

from common.conversations import Owner
from dispatcher.ledger.database import Database
from dispatcher.ledger.tables import conversations, turns
from dispatcher.ledger.talk.rows import owned

AT_ONCE = 100


async def adopt(database: Database, owner: Owner) -> int:
    """Give an owner the conversations of its tenant that have no user, some at a time; gives their number. Where it has one of
    the same id, which nobody can bring about but by copying, both stay where they are."""
    nobody, given = Owner(tenant=owner.tenant), 0
    if owner == nobody:
        return 0
    while True:
        async with database.writing() as connection:
            theirs = select(conversations.c.id).where(*owned(conversations, owner))
            free = [*owned(conversations, nobody), conversations.c.id.not_in(theirs)]
            found = (await connection.execute(select(conversations.c.id).where(*free).limit(AT_ONCE))).scalars().all()
            if not found:
                return given
            for table, name in ((conversations, conversations.c.id), (turns, turns.c.conversation)):
                some = [*owned(table, nobody), name.in_(found)]
                await connection.execute(update(table).where(*some).values(user_id=owner.user))
            given += len(found)
