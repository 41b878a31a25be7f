"""Lets jobs in, or says which budget each does not fit: in transactions, so that no two can be let in on the same rest."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from common.errors import FleetError, InternalError
from common.key_requests import ReleaseJob
from common.keys import Reservation, Reserved, Unit
from dispatcher.ledger import purse
from dispatcher.ledger.budgets import Amounts
from dispatcher.ledger.database import Database, RowRefused
from dispatcher.ledger.keyring import note_used
from dispatcher.ledger.letting_in import Book, let_in, taken
from dispatcher.ledger.tables import shares

AT_ONCE = 256
"""Jobs that one transaction lets in, at most."""

USUAL_J_PER_TOKEN = 3.0
"""Where no job has told of any: a small model on a Jetson takes one joule a token, on a Raspberry Pi some three."""

RECENT_SHARES = 2000
REMEMBERED_S = 60.0


class Usual:
    """What a token usually takes, by what devices have told lately; asked of the database once a minute at most."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: Mapping[str, float] = {}
        self._all = USUAL_J_PER_TOKEN
        self._until_unix_s = 0.0

    async def renew(self, now_unix_s: float) -> None:
        """Look again, if it was long ago. Raises `LedgerUnavailable`."""
        if not now_unix_s < self._until_unix_s <= now_unix_s + REMEMBERED_S:
            await self._look()
            self._until_unix_s = now_unix_s + REMEMBERED_S

    def amounts(self, wanted: Reservation) -> Amounts:
        """Give what a job may take of each unit: joules by the mean of the tenant's jobs, else of everybody's, else the stated one.

        That is of tokens that were answered; those that are asked take less, so for both together it is rather too much.
        """
        joules = wanted.tokens * self._known.get(wanted.tenant, self._all)
        return {Unit.TOKENS: wanted.tokens, Unit.MONEY: wanted.micro_usd, Unit.ENERGY: math.ceil(joules * 1000)}

    async def _look(self) -> None:
        of = shares.c.tenant, shares.c.joules, shares.c.tokens
        recent = select(*of).order_by(shares.c.received_unix_s.desc()).limit(RECENT_SHARES).subquery()
        sums = func.sum(recent.c.joules), func.sum(recent.c.tokens)
        async with self._database.reading() as connection:
            found = (await connection.execute(select(recent.c.tenant, *sums).group_by(recent.c.tenant))).all()
        tokens = sum(int(one[2]) for one in found)
        self._known = {tenant: float(joules) / int(its) for tenant, joules, its in found if its}
        self._all = sum(float(one[1]) for one in found) / tokens if tokens else USUAL_J_PER_TOKEN


@dataclass(slots=True, eq=False)
class _Asked:
    """A job that waits to be let in, and what was decided: what it has, or why it is refused."""

    wanted: Reservation
    decided: Reserved | FleetError | None = None


class Reserving:
    """Sets aside and gives back, over a database.

    A transaction costs some statements, and a commit on a disk, however many jobs it lets in. So those that come while one runs are
    let in together by the next one; alone a job waits for nobody.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._usual = Usual(database)
        self._waiting: list[_Asked] = []
        self._turn = asyncio.Lock()

    async def reserve(self, wanted: Reservation) -> Reserved:
        """Set aside what a job may use, unless a budget of its key has not that much left; a key without budgets needs nothing.

        Raises `QuotaSpent`, `Unauthorized` for a key that has ended meanwhile, `UnknownKey`, `DuplicateJob` where the job has been
        reserved by another key, or smaller, or given up by its holder. Who is cancelled may be let in all the same.
        """
        mine = _Asked(wanted)
        self._waiting.append(mine)  # before anything is waited for: a `release` that comes behind must find it
        try:
            async with self._turn:  # given in the order in which they came
                if mine.decided is None:
                    await self._decide(mine)
        except RowRefused:
            raise taken(wanted) from None  # by another key, just now
        finally:
            self._waiting = [one for one in self._waiting if one is not mine]
        if isinstance(mine.decided, Reserved):
            return mine.decided
        raise mine.decided or InternalError("a job was neither let in nor refused: please report it")

    async def release(self, wanted: ReleaseJob) -> bool:
        """Give back what was set aside for a job that never ran, if that is its holder's alone; not before those are decided that
        came earlier, as the job's own wish may be among them. Where there is nothing another ledger may have the wish yet, so it is
        noted that it was taken back."""
        try:
            async with self._turn, self._database.writing() as connection:
                key = (await purse.held(connection, [wanted.key])).get(wanted.key)
                free = await purse.free(connection, wanted)
                if key is not None and not free:
                    await purse.give_up(connection, key["tenant"], wanted, self._clock())
                return free
        except RowRefused:
            return False  # another key has the job, just now

    async def lapse(self) -> int:
        """Count as spent whatever has no record after its time; gives how many."""
        number = 0
        while True:
            async with self._database.writing() as connection:
                some = await purse.lapse(connection, self._clock())
            if not some:
                return number
            number += some

    async def _decide(self, mine: _Asked) -> None:
        """Decide on a job, and on all others that wait when the transaction begins."""
        some: list[_Asked] = []
        try:
            await self._let_in(mine, some, AT_ONCE)
        except Exception:
            if len(some) <= 1:
                raise
            await self._let_in(mine, [], 1)  # it may be the fault of another one, who is told so in his own turn

    async def _let_in(self, mine: _Asked, some: list[_Asked], most: int) -> None:
        """Let in as many, or refuse them, in one transaction; `some` is filled with those that it is about."""
        await self._usual.renew(self._clock())
        async with self._database.writing() as connection:
            some += [mine, *(one for one in self._waiting if one is not mine)][:most]
            now_unix_s = self._clock()
            book = await _read(connection, some)
            told = [_told(book, one.wanted, self._usual.amounts(one.wanted), now_unix_s) for one in some]
            await _write(connection, book, now_unix_s)
        for one, decided in zip(some, told, strict=True):
            one.decided = decided
        self._waiting = [one for one in self._waiting if one.decided is None]


async def _read(connection: AsyncConnection, some: Sequence[_Asked]) -> Book:
    ids = sorted({one.wanted.key for one in some})
    keys = await purse.held(connection, ids)
    accounts, reserved = await purse.standing_of(connection, ids)  # as they are now that nobody else changes them
    return Book(
        keys=keys,
        accounts=accounts,
        reserved=reserved,
        there=await purse.reservations_of(connection, ((one.wanted.tenant, one.wanted.job) for one in some)),
    )


async def _write(connection: AsyncConnection, book: Book, now_unix_s: float) -> None:
    changed = [(key, one) for key in sorted(book.uncounted) for one in book.accounts[key]]
    await purse.write_accounts(connection, changed)
    await purse.share(connection, book.shared)
    await purse.set_aside(connection, book.new.values())
    for row in book.reopened.values():
        await purse.reopen(connection, row)
    for key in sorted(book.used):
        await note_used(connection, key, now_unix_s)


def _told(book: Book, wanted: Reservation, amounts: Amounts, now_unix_s: float) -> Reserved | FleetError:
    """Give what a job has, or why it is refused, which is no other one's concern."""
    try:
        return let_in(book, wanted, amounts, now_unix_s)
    except FleetError as error:
        return error
