"""Answers what operators ask the ledger over the bus, each answer no larger than the bus carries; it knows no SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from common import codec
from common.bus import Bus
from common.errors import UnknownJob
from common.ledger import ASK_S, By, DevicesQuery, EnergyQuery, JobsQuery
from common.subjects import Subjects
from dispatcher.ledger import queries
from dispatcher.ledger.answering import Answer, Answering
from dispatcher.ledger.database import Database

MOST_WAITING = 64
ANSWER_S = ASK_S * 0.9
"""Whoever asks waits a little longer."""


class Desk:
    """The verbs, over a database."""

    def __init__(self, bus: Bus, subjects: Subjects, database: Database, *, answer_s: float = ANSWER_S) -> None:
        self._subjects = subjects
        self._database = database
        self.tally = Answering(bus, most_waiting=MOST_WAITING, answer_s=answer_s, late="ask for a shorter span")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answer for the life of the context."""
        verbs: Mapping[str, Answer] = {"jobs": self._jobs, "devices": self._devices, "energy": self._energy}
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

    async def _devices(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        query = codec.build(DevicesQuery, wire)
        events = await queries.find_events(self._database, query)
        power = await queries.find_power(self._database, query)
        told, more = self.tally.fitting([codec.plain(one) for one in events], query.limit, share=2)
        drawn, more_power = self.tally.fitting([codec.plain(one) for one in power], query.limit, share=2)
        return {"events": told, "power": drawn, "more": more or more_power}
