"""Answers what operators and the bridge ask the ledger over the bus, none larger than the bus carries; it knows no SQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from common import codec
from common.bus import Bus
from common.clock import Clock, LoopClock
from common.errors import PayloadTooLarge, UnknownJob
from common.history import HistoryQuery
from common.latency import LatencyQuery
from common.ledger import ASK_S, By, DevicesQuery, EnergyQuery, JobsQuery
from common.subjects import Subjects
from common.votes import Thumb, Vote, VotesQuery
from dispatcher.ledger import queries
from dispatcher.ledger.answering import Answer, Answering
from dispatcher.ledger.arrivals import Arrivals
from dispatcher.ledger.database import Database
from dispatcher.ledger.fitting import room
from dispatcher.ledger.history import history
from dispatcher.ledger.latency import latency, of_query
from dispatcher.ledger.votes import keeping
from dispatcher.ledger.votes.tally import tally

MOST_WAITING = 64
MOST_LOOKED_AT = 20_000
"""Chats of which one question looks at what they took: these take a quarter of a second (x86, SQLite)."""

SHORTER = "ask for a shorter span"
LONGER = f"{SHORTER}, or for longer steps (step_s)"

ANSWER_S = ASK_S * 0.9
"""Whoever asks waits a little longer."""


class Desk:
    """The verbs, over a database."""

    def __init__(
        self,
        bus: Bus,
        subjects: Subjects,
        database: Database,
        *,
        clock: Clock | None = None,
        arrivals: Arrivals | None = None,
        answer_s: float = ANSWER_S,
        most_looked_at: int = MOST_LOOKED_AT,
    ) -> None:
        self._bus = bus
        self._clock = clock or LoopClock()
        self._subjects = subjects
        self._database = database
        self._arrivals = arrivals or Arrivals()
        self._most_looked_at = most_looked_at
        self.tally = Answering(bus, most_waiting=MOST_WAITING, answer_s=answer_s, late=SHORTER)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answer for the life of the context."""
        verbs: Mapping[str, Answer] = {
            "jobs": self._jobs,
            "devices": self._devices,
            "energy": self._energy,
            "latency": self._latency,
            "history": self._history,
            "thumb": self._thumb,
            "vote": self._vote,
            "votes": self._votes,
        }
        async with self.tally.open({self._subjects.ledger(verb): answer for verb, answer in verbs.items()}):
            yield

    async def _jobs(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        query = codec.build(JobsQuery, wire)
        found = await queries.find_jobs(self._database, query)
        shown, more = self.tally.fitting([codec.plain(one) for one in found], query.limit)
        if found and not shown:
            raise UnknownJob(
                f"the record of job {found[0].job} is larger than the bus carries: see `drover ledger export`"
            )
        return {"jobs": shown, "more": more} | ({"next": shown[-1]["record"]} if more else {})

    async def _energy(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        query = codec.build(EnergyQuery, wire)
        found = await queries.sum_energy(self._database, query)
        shown, more = self.tally.fitting([codec.plain(one) for one in found], query.limit)
        step = {"step_s": query.step_s} if query.by is By.TIME else {}
        return {"by": str(query.by), **step, "rows": shown, "more": more}

    async def _latency(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        query = codec.build(LatencyQuery, wire)
        columns = of_query(query)
        found = await queries.find_took(self._database, columns, self._most_looked_at)
        rows, more = found[: self._most_looked_at], len(found) > self._most_looked_at
        # Beside the loop: keys are asked for on it meanwhile.
        told = await asyncio.to_thread(
            latency, query, columns, rows, left_out_before=rows[-1].received_unix_s if more else None
        )
        return self._whole(codec.plain(told), LONGER)

    async def _history(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        return self._whole(codec.plain(await history(self._database, codec.build(HistoryQuery, wire))), LONGER)

    def _whole(self, said: dict[str, Any], instead: str) -> dict[str, Any]:
        """Give an answer that has no pages. Raises `PayloadTooLarge`, which says what to do `instead`, where the bus does not carry
        it."""
        if (size_bytes := len(codec.encode(said))) > room(self._bus.max_payload):
            raise PayloadTooLarge(
                f"the answer has {size_bytes} bytes, and the bus carries {room(self._bus.max_payload)}: {instead}"
            )
        return said

    async def _thumb(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        asked = codec.build(Thumb, wire)
        keep = partial(keeping.keep_thumb, self._database, asked, now_unix_s=self._clock.unix_s())
        return codec.plain(await self._arrivals.patiently(keep, asked.wait_s or 0.0))

    async def _vote(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        asked = codec.build(Vote, wire)
        keep = partial(keeping.keep_vote, self._database, asked, now_unix_s=self._clock.unix_s())
        return codec.plain(await self._arrivals.patiently(keep, asked.wait_s or 0.0))

    async def _votes(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        query = codec.build(VotesQuery, wire)
        found, more = await keeping.said(self._database, query)
        told = await asyncio.to_thread(tally, found, query.by, more=more)  # as above
        return self._whole(codec.plain(told), SHORTER)

    async def _devices(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        query = codec.build(DevicesQuery, wire)
        events = await queries.find_events(self._database, query)
        power = await queries.find_power(self._database, query)
        told, more = self.tally.fitting([codec.plain(one) for one in events], query.limit, share=2)
        drawn, more_power = self.tally.fitting([codec.plain(one) for one in power], query.limit, share=2)
        return {"events": told, "power": drawn, "more": more or more_power}
