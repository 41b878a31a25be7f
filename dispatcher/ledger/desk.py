"""Answers what operators ask the ledger over the bus, each answer no larger than the bus carries; it knows no SQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from common import codec
from common.bus import Bus, Delivery
from common.errors import BusTimeout, FleetError, InternalError, LedgerUnavailable, UnknownJob
from common.ledger import ASK_S, DevicesQuery, EnergyQuery, JobsQuery
from common.lifecycle import guarding
from common.logs import get_logger
from common.subjects import Subjects
from dispatcher.ledger import queries
from dispatcher.ledger.database import Database

log = get_logger("ledger")

QUEUE = "ledger"
"""Of several ledgers over one database one answers."""

MOST_WAITING = 64
ANSWER_S = ASK_S * 0.9
"""Whoever asks waits a little longer."""

MARGIN_BYTES = 16 * 1024
MOST_BYTES = 4 << 20
"""Where a server carries more, an answer still has at most this."""

Answer = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class Desk:
    """The verbs, over a database."""

    def __init__(self, bus: Bus, subjects: Subjects, database: Database, *, answer_s: float = ANSWER_S) -> None:
        self._bus = bus
        self._subjects = subjects
        self._database = database
        self._answer_s = answer_s
        self._waiting = 0
        self.asked = 0
        self.failed = 0
        self.last_error = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answer for the life of the context."""
        verbs: Mapping[str, Answer] = {"jobs": self._jobs, "devices": self._devices, "energy": self._energy}
        async with asyncio.TaskGroup() as tasks:
            spawn = guarding(tasks)
            subscriptions = [
                await self._bus.subscribe(self._subjects.ledger(verb), self._hearing(answer, spawn), queue=QUEUE)
                for verb, answer in verbs.items()
            ]
            try:
                yield
            finally:
                for subscription in subscriptions:
                    await subscription.unsubscribe()

    def _hearing(self, answer: Answer, spawn: Callable[..., object]) -> Callable[[Delivery], None]:
        def hear(delivery: Delivery) -> None:
            if delivery.reply:
                spawn(self._answer(delivery, answer))

        return hear

    async def _answer(self, delivery: Delivery, answer: Answer) -> None:
        self.asked += 1
        try:
            said = await self._bounded(delivery, answer)
        except FleetError as error:
            self.failed += 1
            self.last_error = error.code
            said = {"error": error.to_wire()}
        try:
            await self._bus.publish(delivery.reply, codec.encode(said))
        except FleetError as error:
            log.warning("ledger.unanswered", error=error.code)

    async def _bounded(self, delivery: Delivery, answer: Answer) -> dict[str, Any]:
        if self._waiting >= MOST_WAITING:
            raise LedgerUnavailable(f"{MOST_WAITING} questions wait for the ledger already: ask again later")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._answer_s):
                return await answer(codec.decode(delivery.data))
        except TimeoutError as error:
            raise BusTimeout("the ledger's database takes too long for this: ask for a shorter span") from error
        except FleetError:
            raise
        except Exception as error:
            log.exception("ledger.crashed")
            raise InternalError(f"the ledger met a bug of ours ({type(error).__name__}): please report it") from error
        finally:
            self._waiting -= 1

    async def _jobs(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        query = codec.build(JobsQuery, wire)
        found = await queries.find_jobs(self._database, query)
        shown, more = self._fitting([codec.plain(one) for one in found], query.limit)
        if found and not shown:
            raise UnknownJob(
                f"the record of job {found[0].job} is larger than the bus carries: see `drover ledger export`"
            )
        return {"jobs": shown, "more": more} | ({"next": shown[-1]["record"]} if more else {})

    async def _energy(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        query = codec.build(EnergyQuery, wire)
        found = await queries.sum_energy(self._database, query)
        shown, more = self._fitting([codec.plain(one) for one in found], query.limit)
        return {"by": str(query.by), "rows": shown, "more": more}

    async def _devices(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        query = codec.build(DevicesQuery, wire)
        events = await queries.find_events(self._database, query)
        power = await queries.find_power(self._database, query)
        told, more = self._fitting([codec.plain(one) for one in events], query.limit, share=2)
        drawn, more_power = self._fitting([codec.plain(one) for one in power], query.limit, share=2)
        return {"events": told, "power": drawn, "more": more or more_power}

    def _fitting(
        self, rows: Sequence[dict[str, Any]], limit: int, *, share: int = 1
    ) -> tuple[list[dict[str, Any]], bool]:
        """Give the first rows that fit an answer, and whether any is left out."""
        room = (min(self._bus.max_payload, MOST_BYTES) - MARGIN_BYTES) // share
        shown: list[dict[str, Any]] = []
        for row in rows[:limit]:
            room -= len(codec.encode(row)) + 1
            if room < 0:
                break
            shown.append(row)
        return shown, len(shown) < len(rows)
