"""Questions that got no word: one that is asked again takes the place of its tries before; it knows no bus."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from common.conversations import AskedOf, Turn
from dispatcher.ledger.rows import Row
from dispatcher.ledger.tables import turns
from dispatcher.ledger.talk.rows import its, said

_COLUMNS = (turns.c.id, turns.c.job, turns.c.parent, turns.c.content, turns.c.message, turns.c.error, turns.c.bytes)


class Tries(NamedTuple):
    """Turns that were forgotten, and their bytes."""

    turns: int = 0
    size_bytes: int = 0


async def forget_tries(connection: AsyncConnection, asked: AskedOf, fresh: Sequence[Turn]) -> Tries:
    """Forget, of a question that comes with its answer, the tries at the same place, in the same words, that got none, and behind
    which nothing stands: whoever asks until a device is there keeps one question. Of an answer alone, what stood for it."""
    first = fresh[0]
    if first.job is None:
        return Tries()
    if len(fresh) == 1:
        return await _forget_stand_in(connection, asked, first)
    beside = (turns.c.parent == first.parent, turns.c.job != first.job)
    jobs = select(turns.c.job).where(*its(asked.owner, asked.id), *beside, turns.c.content == said(first)["content"])
    ask = select(*_COLUMNS).where(*its(asked.owner, asked.id), turns.c.job.in_(jobs))
    rows = (await connection.execute(ask.order_by(turns.c.job, turns.c.number))).mappings()
    gone = list[Row]()
    for _, some in groupby(map(dict, rows), key=lambda row: row["job"]):
        one = list(some)
        if _is_try(one, fresh) and not await _goes_on(connection, asked, one):
            gone += one
    return await _forget(connection, asked, gone)


async def _forget_stand_in(connection: AsyncConnection, asked: AskedOf, answer: Turn) -> Tries:
    same = (turns.c.parent == answer.parent, turns.c.job == answer.job)
    rows = (await connection.execute(select(*_COLUMNS).where(*its(asked.owner, asked.id), *same))).mappings()
    gone = [one for one in map(dict, rows) if wordless(one) and not await _goes_on(connection, asked, [one])]
    return await _forget(connection, asked, gone)


async def _forget(connection: AsyncConnection, asked: AskedOf, gone: Sequence[Row]) -> Tries:
    if gone:
        await connection.execute(delete(turns).where(*its(asked.owner, asked.id), _among(gone)))
    return Tries(len(gone), sum(row["bytes"] for row in gone))


def wordless(row: Any) -> bool:
    """Tell whether the row of a turn stands for an answer that never came."""
    return row["error"] is not None and not row["content"]


def _is_try(rows: Sequence[Row], fresh: Sequence[Turn]) -> bool:
    words = [(row["content"], row["message"]) for row in rows[:-1]]
    return wordless(rows[-1]) and words == [(one["content"], one["message"]) for one in map(said, fresh[:-1])]


async def _goes_on(connection: AsyncConnection, asked: AskedOf, rows: Sequence[Row]) -> bool:
    """Tell whether something else stands behind them, which somebody has added by hand."""
    names = [row["id"] for row in rows]
    behind = (turns.c.parent.in_(names), turns.c.id.not_in(names))
    ask = select(turns.c.id).where(*its(asked.owner, asked.id), *behind).limit(1)
    return (await connection.execute(ask)).first() is not None


def _among(rows: Sequence[Row]) -> Any:
    return turns.c.id.in_([row["id"] for row in rows])
