"""What operators do with keys, in the database; it knows no bus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common import codec
from common.errors import BadRequest, UnknownKey
from common.key_requests import MOST_KEYS, AddKey, ChangeKey, Issued, Limits, ListKeys, RotateKey
from common.keys import Grant, digest, new_id, new_secret
from dispatcher.ledger import purse
from dispatcher.ledger.database import Database
from dispatcher.ledger.key_rows import account_row, key_row, opened_account, texts
from dispatcher.ledger.keyring import grants, is_live
from dispatcher.ledger.rows import Row
from dispatcher.ledger.store import insert
from dispatcher.ledger.tables import budgets, keys

_LOCK = 0x6B657973
"""Whoever names a key in a PostgreSQL holds this: any number, the same for all."""


async def add(database: Database, wanted: AddKey, now_unix_s: float) -> Issued:
    """Make a key. Raises `BadRequest` where a key that lives has its name, or a budget is there twice."""
    if wanted.expires_unix_s is not None and wanted.expires_unix_s <= now_unix_s:
        raise BadRequest("the key would have expired already: give a later moment", param="expires_unix_s")
    async with database.writing() as connection:
        await _name_alone(connection, database)
        await _require_free(connection, wanted.name, wanted.tenant, now_unix_s)
        live = select(func.count()).select_from(keys).where(is_live(now_unix_s))
        if (await connection.execute(live)).scalar_one() >= MOST_KEYS:
            raise BadRequest(f"there are {MOST_KEYS} keys already: revoke some first")
        key = new_id()
        secret = new_secret(key)
        await insert(connection, keys, [key_row(key, digest(secret), wanted, now_unix_s)])
        await _set_budgets(connection, key, wanted.budgets, now_unix_s)
        return Issued(grant=await _grant(connection, key, now_unix_s), secret=secret)


async def found(database: Database, wanted: ListKeys, now_unix_s: float) -> list[Grant]:
    """Give keys, one more than the limit if there are more. Raises `UnknownKey` where one was named and is not there."""
    async with database.reading() as connection:
        if wanted.which is not None:
            return [await _grant(connection, await _id_of(connection, wanted.which, now_unix_s), now_unix_s)]
        conditions: list[ColumnElement[bool]] = [keys.c.parent.is_(None) if wanted.all else is_live(now_unix_s)]
        if wanted.tenant is not None:
            conditions.append(keys.c.tenant == wanted.tenant)
        if wanted.after is not None:
            conditions.append(keys.c.id > wanted.after)
        rows = await _rows(connection, *conditions, limit=wanted.limit + 1)
        return await grants(connection, rows, now_unix_s)


async def change(database: Database, wanted: ChangeKey, now_unix_s: float) -> Grant:
    """Change what a key is for. Raises `UnknownKey`, and `BadRequest` for a name that another one has, and for a key that is
    revoked."""
    async with database.writing() as connection:
        await _name_alone(connection, database)
        key, row = await _held(connection, wanted.which, now_unix_s)
        told = codec.plain(wanted)
        changed: Row = {name: told[name] for name in _NUMBERS if name in told}
        changed |= {name: texts(told[name]) for name in _LISTS if name in told}
        changed |= dict.fromkeys(map(str, wanted.lift))
        if wanted.name is not None:
            changed["name"] = wanted.name
        if {"name", "expires_unix_s"} & changed.keys():  # one that had expired may live again
            await _require_free(connection, wanted.name or row["name"], row["tenant"], now_unix_s, besides=key)
        if changed:
            await connection.execute(update(keys).where(keys.c.id == key).values(changed))
        if wanted.budgets is not None:
            await _set_budgets(connection, key, wanted.budgets, now_unix_s)
        return await _grant(connection, key, now_unix_s)


async def rotate(database: Database, wanted: RotateKey, now_unix_s: float) -> Issued:
    """Give a key another secret; the old one, and what sessions there are, live on for the overlap at most. Of a secret that was
    replaced before nothing is left. Raises `UnknownKey` and `BadRequest`."""
    async with database.writing() as connection:
        key, row = await _held(connection, wanted.which, now_unix_s)
        secret, until = new_secret(key), now_unix_s + wanted.overlap_s
        new: Row = {"digest": digest(secret), "old_digest": row["digest"], "old_until_unix_s": until}
        await connection.execute(update(keys).where(keys.c.id == key).values(new))
        longer = keys.c.parent == key, keys.c.expires_unix_s > until
        await connection.execute(update(keys).where(*longer).values(expires_unix_s=until))
        return Issued(grant=await _grant(connection, key, now_unix_s), secret=secret)


async def revoke(database: Database, which: str, now_unix_s: float) -> Grant:
    """End a key and its sessions; one that has ended stays so. Raises `UnknownKey`."""
    async with database.writing() as connection:
        key = await _id_of(connection, which, now_unix_s)
        its = keys.c.id == key, keys.c.revoked_unix_s.is_(None)
        await connection.execute(update(keys).where(*its).values(revoked_unix_s=now_unix_s))
        await connection.execute(delete(keys).where(keys.c.parent == key))
        return await _grant(connection, key, now_unix_s)


async def living(database: Database, which: str, now_unix_s: float) -> Grant:
    """Give a key that was not revoked. Raises `UnknownKey` and `BadRequest`."""
    async with database.writing() as connection:
        key, _ = await _held(connection, which, now_unix_s)
        return await _grant(connection, key, now_unix_s)


async def refill(database: Database, which: str, now_unix_s: float) -> Grant:
    """Forget what is spent. Raises `UnknownKey` and `BadRequest`."""
    async with database.writing() as connection:
        key, _ = await _held(connection, which, now_unix_s)
        await purse.forget_lapsed(connection, key)
        await connection.execute(update(budgets).where(budgets.c.key == key).values(spent=0))
        return await _grant(connection, key, now_unix_s)


_NUMBERS = ("requests_per_minute", "parallel", "expires_unix_s")
_LISTS = ("scopes", "models", "devices")


async def _set_budgets(connection: AsyncConnection, key: str, limits: Limits, now_unix_s: float) -> None:
    """Replace the budgets of a key; one of the same unit and period goes on with what is spent of it."""
    if len({(one.unit, one.period) for one in limits}) < len(limits):
        raise BadRequest("there are two budgets of one unit and period: give one of them", param="budgets")
    before = {(one.unit, one.period): one for one in (await purse.accounts_of(connection, [key])).get(key, ())}
    after = [
        replace(before[one.unit, one.period], limit=one.limit)
        if (one.unit, one.period) in before
        else opened_account(one, now_unix_s)
        for one in limits
    ]
    if any((one.unit, one.period) not in before for one in limits):
        await purse.forget_lapsed(connection, key)
    await connection.execute(delete(budgets).where(budgets.c.key == key))
    if after:
        await insert(connection, budgets, [account_row(key, one) for one in after])


async def _held(connection: AsyncConnection, which: str, now_unix_s: float) -> tuple[str, Row]:
    """Give a key that is to be changed, and have nobody else change it meanwhile."""
    key = await _id_of(connection, which, now_unix_s)
    await purse.hold(connection, [key])
    row = (await _rows(connection, keys.c.id == key))[0]
    if row["revoked_unix_s"] is not None:
        raise BadRequest(f"key {key} was revoked, which is for ever: `drover keys add` makes another one")
    return key, row


async def _id_of(connection: AsyncConnection, which: str, now_unix_s: float) -> str:
    """Find a key by its id, or by its name where one that lives has it."""
    named = and_(keys.c.name == which, is_live(now_unix_s))
    ids: list[str] = sorted(
        row["id"] for row in await _rows(connection, keys.c.parent.is_(None), or_(keys.c.id == which, named))
    )
    if not ids:
        # What is like a key is not repeated: it may be one, and a terminal or a log is no place for it.
        what = "this" if which.startswith(("dr_", "drs_")) else f"{which[:100]!r}"
        raise UnknownKey(
            f"no key has {what} for its id, and none that lives for its name: see `drover keys list --all`"
        )
    if len(ids) > 1:
        raise BadRequest(f"{which!r} may mean any of the keys {', '.join(ids[:10])}: say it by its id")
    return ids[0]


async def _grant(connection: AsyncConnection, key: str, now_unix_s: float) -> Grant:
    return (await grants(connection, await _rows(connection, keys.c.id == key), now_unix_s))[0]


async def _rows(
    connection: AsyncConnection, *conditions: ColumnElement[bool], limit: int | None = None
) -> Sequence[Row]:
    ask: Any = select(keys).where(*conditions).order_by(keys.c.id).limit(limit)
    return [dict(row) for row in (await connection.execute(ask)).mappings()]


async def _name_alone(connection: AsyncConnection, database: Database) -> None:
    """Have nobody else give names until the transaction ends; SQLite has one writer as it is."""
    if not database.sqlite:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


async def _require_free(
    connection: AsyncConnection, name: str, tenant: str, now_unix_s: float, *, besides: str = ""
) -> None:
    its = keys.c.name == name, keys.c.tenant == tenant, keys.c.id != besides, is_live(now_unix_s)
    if taken := await _rows(connection, *its, limit=1):
        raise BadRequest(
            f"key {taken[0]['id']} of tenant {tenant} has the name {name!r} already: choose another one, or revoke it first",
            param="name",
        )
