"""Hands what happened to the ledger: into a stream of the NATS server, which has it until the ledger does.

No job waits for it: a record is laid into a buffer, and one task publishes what lies there. It counts as handed over when the
server says that it is stored; until then it is sent again, under the same id, so that the stream keeps it once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

from common import codec
from common.bus import Bus
from common.bus.streams import Streams
from common.clock import Clock
from common.errors import FleetError, InternalError, PayloadTooLarge, RequestError, StreamsUnavailable
from common.logs import get_logger
from common.records import DEVICE, JOB, DeviceEntry, JobEntry, records_stream
from common.subjects import Subjects
from dispatcher.fleet import Fleet
from dispatcher.outcomes import JobRecord
from dispatcher.record.entries import device_entry, job_entry
from dispatcher.record.rate import EventRate
from dispatcher.roster import DeviceEvent

log = get_logger("ledger")

MOST_WAITING = 4096
"""Records that wait while there is no stream: some tens of megabytes at worst. What comes then is dropped, and counted."""

MOST_EVENTS = 2048
"""Events of devices that wait beside them: they come more often than jobs where a device restarts all the time, and count less."""

AT_ONCE = 32
"""Published together: a server at the other end of a slow link acknowledges them in one round trip."""

EVENTS_AT_ONCE = 8

AGAIN_S = 1.0
UNAVAILABLE_S = 30.0
"""After so long it is tried again where there is no stream: somebody has to set streams up first."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What is to be told. It is written out only when it is sent: that is not in the job's way."""

    subject: str
    entry: JobEntry | DeviceEntry


class LedgerSink:
    """A sink of records and a listener of the roster. `keep` has to run as a task."""

    def __init__(
        self,
        bus: Bus,
        streams: Streams,
        subjects: Subjects,
        *,
        clock: Clock,
        dispatcher: str,
        fleet: Callable[[], Fleet],
        unavailable_s: float = UNAVAILABLE_S,
    ) -> None:
        self._streams = streams
        self._subjects = subjects
        self._clock = clock
        self._dispatcher = dispatcher
        self._fleet = fleet
        self._unavailable_s = unavailable_s
        self._jobs: deque[_Waiting] = deque()
        self._events: deque[_Waiting] = deque()
        self._rate = EventRate()
        self._stirred = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._back = asyncio.Event()
        bus.on_reconnect(self._back.set)
        self._away = ""
        """The code of the trouble that keeps us from telling; empty while there is none."""
        self._told_of = 0
        self.dropped = 0
        """Records that the ledger will never have."""
        self.untold = 0
        """Events of devices that come too often to be told."""

    @property
    def waiting(self) -> int:
        return len(self._jobs) + len(self._events)

    @property
    def away(self) -> str:
        """The code of what keeps records from their stream; empty while nothing does."""
        return self._away

    async def write(self, record: JobRecord) -> None:
        """Take a job's record."""
        entry = job_entry(record, self._dispatcher, self._site)
        self._put(self._jobs, MOST_WAITING, _Waiting(self._subjects.record(JOB, entry.tenant), entry))

    def note(self, event: DeviceEvent) -> None:
        """Take what a device went through."""
        if not event.notable:
            return
        if self._rate.allows(event.device.name, self._clock.monotonic()):
            entry = device_entry(event, self._dispatcher, self._clock.unix_s())
            self._put(self._events, MOST_EVENTS, _Waiting(self._subjects.record(DEVICE, entry.device), entry))
            return
        self.untold += 1
        if (
            self.untold & (self.untold - 1) == 0
        ):  # at powers of two: what comes too often to be told is so for the log as well
            log.warning("ledger.device_noisy", device=event.device.name, untold=self.untold)

    async def keep(self) -> None:
        """Publish for ever what comes, over every failure of the server."""
        declared = False
        while True:
            self._back.clear()
            try:
                if not declared:
                    await self._streams.declare(records_stream(self._subjects))
                    declared = True
                await self._some()
                self._well()
            except FleetError as error:
                declared = False  # it may be another server after the next reconnect
                self._trouble(error)
                await _either(self._back, self._unavailable_s if isinstance(error, StreamsUnavailable) else AGAIN_S)

    async def flush(self, within_s: float) -> None:
        """Return when all is handed over, at the latest after the time; where nobody takes it, at once. Tells what is lost."""
        try:
            async with asyncio.timeout(0 if self._away else within_s):
                await self._empty.wait()
        except TimeoutError:
            pass  # told below
        lost = self.dropped + self.waiting
        if lost:
            log.warning("ledger.lost", records=lost, error=self._away or None)

    def _put(self, queue: deque[_Waiting], most: int, one: _Waiting) -> None:
        if len(queue) >= most:
            self.dropped += 1
            if self.dropped == self._told_of + 1:
                log.warning("ledger.dropping", waiting=self.waiting, error=self._away or None)
            return
        queue.append(one)
        self._empty.clear()
        self._stirred.set()

    async def _some(self) -> None:
        """Wait for records, and publish the first of them; those that did not arrive stay."""
        if not self.waiting:
            self._stirred.clear()
            await self._stirred.wait()
        queues = (self._jobs, AT_ONCE), (self._events, EVENTS_AT_ONCE)
        some = [(queue, one) for queue, most in queues for one in islice(queue, most)]
        async with asyncio.TaskGroup() as tasks:
            said = [tasks.create_task(self._settled(one)) for _, one in some]
        faults = [task.result() for task in said]
        for (queue, one), fault in zip(some, faults, strict=True):
            queue.popleft()
            if fault is not None:
                queue.append(one)
        if not self.waiting:
            self._empty.set()
        for fault in filter(None, faults):
            raise fault

    async def _settled(self, one: _Waiting) -> FleetError | None:
        """Be done with one, or give what is in its way; what no server can take must not hold up the others."""
        try:
            await self._publish(one)
        except RequestError as error:
            self._drop(one, error.code)
        except FleetError as error:
            return error
        except Exception:
            log.exception("ledger.crashed")
            self._drop(one, InternalError.code)
        return None

    async def _publish(self, one: _Waiting) -> None:
        """Have the server store it; what is too large goes without its longest parts."""
        try:
            await self._store(one.subject, one.entry)
        except PayloadTooLarge:
            if not isinstance(one.entry, JobEntry):
                raise
            await self._store(one.subject, replace(one.entry, decision=None, attempts=one.entry.attempts[-1:]))

    async def _store(self, subject: str, entry: JobEntry | DeviceEntry) -> None:
        await self._streams.publish(subject, codec.encode(codec.plain(entry)), msg_id=entry.record)

    def _drop(self, one: _Waiting, code: str) -> None:
        self.dropped += 1
        log.warning("ledger.unsendable", record=one.entry.record, error=code)

    def _trouble(self, error: FleetError) -> None:
        if self._away != error.code:
            self._away = error.code
            log.warning("ledger.away", error=error.code, message=error.message, waiting=self.waiting)

    def _well(self) -> None:
        if self._away:
            log.info("ledger.back", waiting=self.waiting, dropped=self.dropped - self._told_of)
            self._away, self._told_of = "", self.dropped

    def _site(self, device: str) -> str | None:
        found = self._fleet().devices.get(device)
        return None if found is None else found.beat.site


async def _either(back: asyncio.Event, wait_s: float) -> None:
    """Return when the connection is back, or after the time."""
    try:
        async with asyncio.timeout(wait_s):
            await back.wait()
    except TimeoutError:
        pass  # try again
