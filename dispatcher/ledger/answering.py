"""Answers questions under several subjects: bounded, in time, with a typed error where it can't; it knows no question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from common import codec
from common.bus import Bus, Delivery
from common.errors import BusTimeout, FleetError, InternalError, LedgerUnavailable
from common.lifecycle import guarding
from common.logs import get_logger
from dispatcher.ledger.fitting import fitting, room

log = get_logger("ledger")

QUEUE = "ledger"
"""Of several ledgers over one database one answers."""

Answer = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
Spawn = Callable[..., object]


class Answering:
    """Questions by subject, and what was made of them; `late` says what to do where the database takes too long."""

    def __init__(self, bus: Bus, *, most_waiting: int, answer_s: float, late: str) -> None:
        self._bus = bus
        self._most_waiting = most_waiting
        self._answer_s = answer_s
        self._late = late
        self._waiting = 0
        self.asked = 0
        self.failed = 0
        self.last_error = ""

    @asynccontextmanager
    async def open(self, answers: Mapping[str, Answer]) -> AsyncIterator[Spawn]:
        """Answer for the life of the context; gives what runs a task of the desk's own beside it, which nobody waits for."""
        async with asyncio.TaskGroup() as tasks:
            spawn = guarding(tasks)
            subscriptions = [
                await self._bus.subscribe(subject, self._hearing(answer, spawn), queue=QUEUE)
                for subject, answer in answers.items()
            ]
            try:
                yield spawn
            finally:
                for subscription in subscriptions:
                    await subscription.unsubscribe()

    def _hearing(self, answer: Answer, spawn: Spawn) -> Callable[[Delivery], None]:
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
        if self._waiting >= self._most_waiting:
            raise LedgerUnavailable(f"{self._most_waiting} questions wait for the ledger already: ask again later")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._answer_s):
                return await answer(codec.decode(delivery.data))
        except TimeoutError as error:
            raise BusTimeout(f"the ledger's database takes too long for this: {self._late}") from error
        except FleetError:
            raise
        except Exception as error:
            log.exception("ledger.crashed")
            raise InternalError(f"the ledger met a bug of ours ({type(error).__name__}): please report it") from error
        finally:
            self._waiting -= 1

    def fitting(
        self, rows: Sequence[dict[str, Any]], limit: int, *, share: int = 1
    ) -> tuple[list[dict[str, Any]], bool]:
        """Give the first rows that fit an answer, or a share of one, and whether any is left out."""
        shown = list(rows[: fitting(rows[:limit], room(self._bus.max_payload) // share)])
        return shown, len(shown) < len(rows)
