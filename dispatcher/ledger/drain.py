"""Takes records from their stream and has them written: pulled, one transaction, then acknowledged; it knows no SQL.

Whatever fails on the way, the stream still has what was not acknowledged, and gives it again; what was written already is known by
its name. While the database can't take anything nothing is acknowledged, and nothing more is pulled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from common.bus import Bus
from common.bus.streams import ConsumerSpec, Pulled, Puller, Streams
from common.clock import loop_s
from common.durable import Names
from common.errors import FleetError, LedgerUnavailable, StreamsUnavailable
from common.logs import get_logger
from common.records import records_stream
from common.subjects import Subjects
from dispatcher.ledger.reading import read
from dispatcher.ledger.store import Came, Rejected, Store

log = get_logger("ledger")

CONSUMER = "ledger"
BATCH = 256
"""One transaction has so many at most: what came while the one before was written."""

GATHER_S = 0.05
"""So long after a small batch was begun the next one is: a transaction costs as much as the rows of ten jobs, and under load each
would have one row. What comes after a pause is written at once."""

SMALL = 32
"""Who has so many is behind, and goes on at once."""

MOST_DELIVERIES = 1_000_000
"""A record is given again until it is written; this is no limit."""

FETCH_S = 1.0
"""How long a stop may take to be seen, while nothing comes."""

FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 15.0
AGAIN_S = 1.0
UNAVAILABLE_S = 30.0


class State(StrEnum):
    """How the ledger is doing."""

    STARTING = "starting"
    READY = "ready"
    NO_STREAMS = "no_streams"  # the NATS server can't be reached, or keeps none
    NO_DATABASE = "no_database"  # nothing is acknowledged, nothing is lost


@dataclass(slots=True)
class Tally:
    """What was done since the start, for whoever asks."""

    state: State = State.STARTING
    written: int = 0
    rejected: int = 0
    batches: int = 0
    trouble: str = ""


class Drain:
    """The reader of the stream of one ledger; several may share the work."""

    def __init__(self, bus: Bus, streams: Streams, subjects: Subjects, store: Store, *, ack_wait_s: float) -> None:
        self._streams = streams
        self._subjects = subjects
        self._names = Names.below(subjects)
        self._store = store
        self._ack_wait_s = ack_wait_s
        self._stopping = False
        self._woken = asyncio.Event()
        bus.on_reconnect(self._woken.set)
        self.tally = Tally()

    def stop(self) -> None:
        """Have `run` return when what lies in the stream now is written, or can't be."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Write until `stop`, over every failure of the server and of the database."""
        while not self._stopping:
            self._woken.clear()
            try:
                await self.declare()
                async with self._streams.puller(self._names.records, CONSUMER) as puller:
                    await self._pull(puller)
            except FleetError as error:
                self._turn(State.NO_STREAMS, error)
                await self._pause(UNAVAILABLE_S if isinstance(error, StreamsUnavailable) else AGAIN_S)

    async def _pull(self, puller: Puller) -> None:
        while True:
            last = self._stopping
            pulled = await puller.fetch(BATCH, wait_s=0.0 if last else FETCH_S)
            began_s = loop_s()
            self._turn(State.READY)
            if pulled and not await self._written(pulled):
                return
            if last and not pulled:
                return
            if not self._stopping and 0 < len(pulled) < SMALL:
                self._woken.clear()
                await self._pause(began_s + GATHER_S - loop_s())

    async def _written(self, pulled: Sequence[Pulled]) -> bool:
        """Write a batch, then acknowledge it; while the database is away, again and again, with growing waits. False when it is
        still away at the end."""
        batch = [read(one.kept, self._subjects) for one in pulled]
        for one in batch:
            if isinstance(one, Rejected):
                log.warning("ledger.rejected", subject=one.kept.subject, seq=one.kept.seq, why=one.why[:200])
        wait_s = FIRST_WAIT_S
        while (rejected := await self._try(batch)) is None:
            if self._stopping:
                return False
            self._woken.clear()
            await self._pause(wait_s)
            wait_s = min(LONGEST_WAIT_S, wait_s * 2)
        self.tally.written += len(batch) - rejected
        self.tally.rejected += rejected
        self.tally.batches += 1
        self._turn(State.READY)
        for message in pulled:
            await message.ack()
        return True

    async def _try(self, batch: Sequence[Came]) -> int | None:
        """Write it, and give how many could not be kept; None when the database is away."""
        try:
            return await self._store.write(batch)
        except LedgerUnavailable as error:
            self._turn(State.NO_DATABASE, error)
            return None

    async def _pause(self, wait_s: float) -> None:
        """Return after the time, or when the connection is back, or at the end."""
        try:
            async with asyncio.timeout(wait_s):
                await self._woken.wait()
        except TimeoutError:
            pass  # try again

    def _turn(self, state: State, error: FleetError | None = None) -> None:
        """Note how it goes; told once for each change."""
        before, self.tally.state = self.tally.state, state
        self.tally.trouble = "" if error is None else error.message
        if before is state:
            return
        if error is not None:
            log.warning("ledger.stuck", state=str(state), error=error.code, message=error.message)
        else:
            log.info("ledger.ready", before=str(before))

    async def declare(self) -> None:
        """Have the stream and our place in it be there."""
        await self._streams.declare(records_stream(self._subjects))
        await self._streams.declare_consumer(
            ConsumerSpec(
                stream=self._names.records,
                name=CONSUMER,
                subject=self._subjects.record("*", "*"),
                ack_wait_s=self._ack_wait_s,
                max_deliver=MOST_DELIVERIES,
            )
        )
