"""Keys in the database: whether one is good, and sessions that live by it; it knows no bus."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.errors import Unauthorized
from common.key_requests import CheckKey, LoginKey
from common.keys import Grant, Login, digest, new_id, new_secret
from dispatcher.ledger import purse
from dispatcher.ledger.database import Database
from dispatcher.ledger.key_rows import filled, grant_of, session_row
from dispatcher.ledger.rows import Row
from dispatcher.ledger.store import insert
from dispatcher.ledger.tables import keys

MOST_SESSIONS = 100
"""Of one key; the oldest end when there are more."""

NOTED_S = 60.0
"""When a key was used last is written once in so long."""

_NOBODY = "0" * 64
"""What a secret is compared with where there is none, so that both take as long."""


async def check(database: Database, asked: CheckKey, now_unix_s: float) -> Grant:
    """Give what a key, or a session, is for.

    Raises `Unauthorized`: with the same words for an id that is not there and for a wrong secret. Of what was right once it tells
    why it is not any more.
    """
    async with database.reading() as connection:
        row, key = await _rows(connection, asked.key)
        _require(asked, row, now_unix_s)
        if row is None or key is None:  # its key has been pruned
            raise _unknown()
        if key is not row:
            require_live(key, now_unix_s)
        grant = (await grants(connection, [key], now_unix_s))[0]
    if key is row:
        return grant
    key_ends = grant.expires_unix_s
    ends = [one for one in (key_ends, row["expires_unix_s"]) if one is not None]
    return replace(grant, session=True, expires_unix_s=min(ends, default=None), key_expires_unix_s=key_ends)


async def grants(connection: AsyncConnection, rows: Sequence[Row], now_unix_s: float) -> list[Grant]:
    """Give what keys are for, with what is used of their budgets."""
    ids = [row["id"] for row in rows]
    accounts, reserved = await purse.standing_of(connection, ids)
    return [filled(grant_of(row), accounts.get(row["id"], ()), reserved.get(row["id"], {}), now_unix_s) for row in rows]


async def login(database: Database, asked: LoginKey, now_unix_s: float) -> Login:
    """Make a session. Raises `Unauthorized`, also for what is a session itself: it would never end. Whoever has no key is refused
    by reading: there is one writer, and he has jobs to let in."""
    async with database.reading() as connection:
        await _require_key(connection, asked, now_unix_s)
    async with database.writing() as connection:
        row = await _require_key(connection, asked, now_unix_s)
        until = min([now_unix_s + asked.ttl_s, *_ends(asked, row)])
        await _forget_sessions(connection, row["id"], now_unix_s)
        session = new_id()
        secret = new_secret(session, session=True)
        await insert(connection, keys, [session_row(session, digest(secret), row, until, now_unix_s)])
    return Login(secret=secret, expires_unix_s=until)


async def _require_key(connection: AsyncConnection, asked: CheckKey, now_unix_s: float) -> Row:
    row, key = await _rows(connection, asked.key)
    _require(asked, row, now_unix_s)
    if row is None or key is not row:
        raise Unauthorized("a session can't begin another one: log in with the key itself")
    return row


async def logout(database: Database, asked: CheckKey) -> bool:
    """End a session; False when there is none of this secret. Raises `Unauthorized` for a key: only `revoke` ends one. Whoever has
    no session is told so by reading, as in `login`."""
    async with database.reading() as connection:
        row = await row_of(connection, asked.key)
    if not hmac.compare_digest((row or {}).get("digest") or _NOBODY, asked.key_digest) or row is None:
        return False
    if row["parent"] is None:
        raise Unauthorized("this is a key and no session: `drover keys revoke` ends it")
    async with database.writing() as connection:
        its = and_(keys.c.id == asked.key, keys.c.digest == asked.key_digest, keys.c.parent.is_not(None))
        return bool((await connection.execute(delete(keys).where(its))).rowcount)


async def note_used(connection: AsyncConnection, key: str, now_unix_s: float) -> None:
    """Write when a key was used, unless that was written a moment ago, maybe by another ledger."""
    stale = or_(keys.c.last_used_unix_s.is_(None), keys.c.last_used_unix_s < now_unix_s - NOTED_S)
    await connection.execute(update(keys).where(keys.c.id == key, stale).values(last_used_unix_s=now_unix_s))


async def count_live(database: Database, now_unix_s: float) -> int:
    """Count the keys that may be used."""
    async with database.reading() as connection:
        ask = select(func.count()).select_from(keys).where(is_live(now_unix_s))
        return int((await connection.execute(ask)).scalar_one())


def is_live(now_unix_s: float) -> ColumnElement[bool]:
    """The condition of a key, and no session, that may be used."""
    good = or_(keys.c.expires_unix_s.is_(None), keys.c.expires_unix_s > now_unix_s)
    return and_(keys.c.parent.is_(None), keys.c.revoked_unix_s.is_(None), good)


def _require(asked: CheckKey, row: Row | None, now_unix_s: float) -> None:
    """Raise `Unauthorized` for what is not right, or not any more."""
    right = hmac.compare_digest((row or {}).get("digest") or _NOBODY, asked.key_digest)
    was_right = hmac.compare_digest((row or {}).get("old_digest") or _NOBODY, asked.key_digest)
    if row is None or not (right or was_right):
        raise _unknown()
    require_live(row, now_unix_s)
    if not right and (row["old_until_unix_s"] or 0.0) <= now_unix_s:
        raise Unauthorized(
            f"the secret of key {row['id']} was replaced: use the new one, or ask whoever runs the fleet"
        )


def require_live(row: Mapping[str, Any], now_unix_s: float) -> None:
    """Raise `Unauthorized` for a key, or a session, that has ended, with the way out."""
    what, ends = f"key {row['id']}" if row["parent"] is None else "this session", row["expires_unix_s"]
    if row["revoked_unix_s"] is not None:
        raise Unauthorized(f"{what} was revoked: ask whoever runs the fleet for another one")
    if ends is not None and ends <= now_unix_s:
        way_out = "ask whoever runs the fleet to prolong it" if row["parent"] is None else "log in again"
        raise Unauthorized(f"{what} expired at {datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M} UTC: {way_out}")


def _unknown() -> Unauthorized:
    return Unauthorized("there is no such key here: see that it is whole, or ask whoever runs the fleet for one")


def _ends(asked: CheckKey, row: Row) -> list[float]:
    """Give the moments at which what was shown ends: no session outlives a secret that is replaced already."""
    replaced = not hmac.compare_digest(row["digest"], asked.key_digest)
    return [one for one in (row["expires_unix_s"], row["old_until_unix_s"] if replaced else None) if one is not None]


async def _rows(connection: AsyncConnection, name: str) -> tuple[Row | None, Row | None]:
    """Give the row of an id, and that of its key, which is the same one but for a session."""
    row = await row_of(connection, name)
    if row is None or row["parent"] is None:
        return row, row
    return row, await row_of(connection, row["parent"])


async def row_of(connection: AsyncConnection, name: str) -> Row | None:
    """Give the row of a key, or of a session."""
    found: Any = (await connection.execute(select(keys).where(keys.c.id == name))).mappings().first()
    return None if found is None else dict(found)


async def _forget_sessions(connection: AsyncConnection, key: str, now_unix_s: float) -> None:
    """Forget those that are over, and the oldest of too many."""
    its = keys.c.parent == key
    await connection.execute(delete(keys).where(its, keys.c.expires_unix_s <= now_unix_s))
    made = keys.c.created_unix_s
    newest = select(made).where(its).order_by(made.desc()).offset(MOST_SESSIONS - 1).limit(1).scalar_subquery()
    await connection.execute(delete(keys).where(its, made <= newest))
