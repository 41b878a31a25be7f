"""How a ledger is: what it holds, and whether all of it can be read; it knows no bus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, and_, exists, func, or_, select, text

from common.errors import BadRequest
from dispatcher.ledger import key_rows, rows, schema
from dispatcher.ledger.database import Database
from dispatcher.ledger.moving import count, database_source
from dispatcher.ledger.tables import (
    KEPT,
    budgets,
    conversations,
    devices,
    jobs,
    keys,
    power,
    reservations,
    turns,
)
from dispatcher.ledger.talk.rows import conversation_of, turn_of

MOST_FAULTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What a ledger holds."""

    database: str
    tables: str
    size_bytes: int
    rows: Mapping[str, int]
    first_unix_s: float | None
    last_unix_s: float | None


async def stats(database: Database) -> Stats:
    """Count it. Raises `ConfigError` and `LedgerUnavailable`."""
    await schema.require_newest(database)
    async with database.reading() as connection:
        found = {str(table.name): await count(connection, table) for table in KEPT}
        received = jobs.c.received_unix_s
        first, last = (await connection.execute(select(func.min(received), func.max(received)))).one()
        asked = "SELECT pg_database_size(current_database())"
        if database.sqlite:
            asked = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        size = int((await connection.execute(text(asked))).scalar_one())
    return Stats(
        database=database.place.shown,
        tables=schema.newest(),
        size_bytes=size,
        rows=found,
        first_unix_s=first,
        last_unix_s=last,
    )


async def faults(database: Database) -> list[str]:
    """Read all of it, and give what is wrong: at most some. Raises `ConfigError` and `LedgerUnavailable`."""
    await schema.require_newest(database)
    found: list[str] = []
    if database.sqlite:
        async with database.reading() as connection:
            told = (await connection.execute(text(f"PRAGMA integrity_check({MOST_FAULTS})"))).scalars().all()
            found += [f"the file: {line}" for line in told if line != "ok"]
    readers: tuple[tuple[Table, Callable[[Mapping[str, Any]], object]], ...] = (
        (jobs, rows.job_entry),
        (devices, rows.device_entry),
        (power, rows.power_entry),
        (keys, key_rows.grant_of),
        (budgets, key_rows.account_of),
        (reservations, key_rows.reservation_of),
        (conversations, conversation_of),
        (turns, turn_of),
    )
    found += await _strays(database)
    async with database_source(database) as source:
        for table, read in readers:
            async for some in source.rows(table):
                for row in some:
                    try:
                        read(row)
                    except BadRequest as error:
                        key = "/".join(str(row[column.name]) for column in table.primary_key.columns)
                        found.append(f"{table.name} {key}: {error.message[:200]}")
                if len(found) >= MOST_FAULTS:
                    return found[:MOST_FAULTS]
    return found


async def _strays(database: Database) -> list[str]:
    """Give the turns that stand in no conversation, or behind none: restoring a part by hand leaves such."""
    before = turns.alias()
    of_one = and_(*(before.c[name] == turns.c[name] for name in ("tenant", "user_id", "conversation")))
    home = and_(
        conversations.c.tenant == turns.c.tenant,
        conversations.c.user_id == turns.c.user_id,
        conversations.c.id == turns.c.conversation,
    )
    behind_none = and_(turns.c.parent.is_not(None), ~exists().where(of_one, before.c.id == turns.c.parent))
    ask = select(turns.c.conversation, turns.c.id).where(or_(~exists().where(home), behind_none)).limit(MOST_FAULTS)
    async with database.reading() as connection:
        found = (await connection.execute(ask)).all()
    return [
        f"turns {conversation}/{turn}: its conversation, or the turn before it, is gone" for conversation, turn in found
    ]
