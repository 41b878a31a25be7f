"""Jobs that were delivered as often as they may be, and that no dispatcher lived to bury; one dispatcher at a time looks for them.

Tries are counted by those who make them, so the server seldom has a word in it: it tells of each such job once, and then leaves it
in the queue for ever. What it told is kept in a stream. What was lost with a crash of the server itself is found by a sweep: a job
that nobody moves, whose claim says that it has had its last try, or whose result stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from common import codec
from common.bus.streams import Bucket, Kept, Progress, Pulled, Puller, Streams
from common.durable import JOB_HEADER, RETRY_HEADER, Names, job_id_of, message_id
from common.errors import BadRequest, BusError, StreamConflict
from common.logs import get_logger
from common.messages import Priority
from common.subjects import Subjects
from dispatcher.durable.claims import Claims, Holder, claim_key
from dispatcher.durable.letters import Letters
from dispatcher.durable.notes import Notes, note_of
from dispatcher.durable.reading import Reading
from dispatcher.durable.verdict import EXHAUSTED, last_error

log = get_logger("durable")

KEY = "janitor"
"""No job's key: those have a tenant before the dot."""

BATCH = 16


class Office:
    """Being the janitor: a lease in the bucket, taken over when its revision has not moved for longer than it lasts."""

    def __init__(self, bucket: Bucket, name: str, lease_s: float, now: Callable[[], float]) -> None:
        self._bucket = bucket
        self._name = name
        self._lease_s = lease_s
        self._now = now
        self._seen: tuple[int, float] = (0, 0.0)
        self._mine: int | None = None

    async def hold(self) -> bool:
        """Take or renew the lease. No clock is compared with another machine's: only how long a revision stands is measured."""
        if self._mine is None:
            revision = await self._vacant()
            if revision is None:
                return False
        else:
            revision = self._mine
        try:
            self._mine = await self._bucket.update(KEY, codec.encode({"by": self._name}), revision)
        except StreamConflict:
            self._mine = None
        return self._mine is not None

    async def leave(self) -> None:
        """Let another one take it at once."""
        if self._mine is not None:
            await self._bucket.delete(self._mine)

    async def _vacant(self) -> int | None:
        """Give the revision at which the lease can be taken; None while somebody renews it."""
        entry = await self._bucket.get(KEY)
        if entry is None:
            return 0
        if entry.revision != self._seen[0]:
            self._seen = entry.revision, self._now()
        return entry.revision if self._now() - self._seen[1] > self._lease_s else None


class Janitor:
    """Buries what nobody buried."""

    def __init__(
        self,
        streams: Streams,
        names: Names,
        subjects: Subjects,
        *,
        reading: Reading,
        letters: Letters,
        claims: Claims,
        most_tries: int,
        ack_wait_s: float,
    ) -> None:
        self._streams = streams
        self._names = names
        self._subjects = subjects
        self._reading = reading
        self._letters = letters
        self._claims = claims
        self._most_tries = most_tries
        self._ack_wait_s = ack_wait_s
        self._seen: dict[int, tuple[int, float]] = {}
        """Of each job that may be over, the sign that was seen last, and when."""

    async def work(self, office: Office, puller: Puller, sweep_s: float) -> None:
        """Hold the office, and work while it is ours, for ever. Raises `BusError`.

        It is begun anew after each loss of the connection, and so after each crash of the server, which is what leaves jobs lying
        there: it sweeps at once, again when what it has seen is old enough to be judged, and until nothing is suspect. Only
        then, and for ever where nothing happens, `sweep_s` pass between two sweeps.
        """
        pause_s = self._ack_wait_s / 3
        now = asyncio.get_running_loop().time
        due_s, first = now(), True
        try:
            while True:
                if await office.hold():
                    if now() >= due_s:
                        suspect = await self.sweep() or first
                        due_s, first = now() + (min(self._ack_wait_s, sweep_s) if suspect else sweep_s), False
                    await self.read(puller, wait_s=pause_s)
                else:
                    await asyncio.sleep(pause_s)
        finally:
            try:
                async with asyncio.timeout(1.0):
                    await office.leave()
            except (BusError, TimeoutError):
                pass  # the next one takes it when the lease is over

    async def read(self, puller: Puller, *, wait_s: float) -> None:
        """Bury what the server told of."""
        for told in await puller.fetch(BATCH) or await puller.fetch(1, wait_s=wait_s):
            if not await _bordered(told.kept.seq, self._told(told)):
                await told.nak(self._ack_wait_s)

    async def _told(self, told: Pulled) -> None:
        """Look at one job. Who holds it may live, and only have been mute too long: it gets the time to show that."""
        kept = await self._named(told)
        if kept is None or not await self._still(kept, await self._claim(kept)):
            if kept is None:
                await told.ack()
            else:
                await told.nak(self._ack_wait_s)
            return
        await self._bury(kept)
        await told.ack()

    async def _named(self, told: Pulled) -> Kept | None:
        """Give the job that the server names, if it still lies in the queue."""
        try:
            seq = codec.decode(told.kept.data).get("stream_seq")
        except BadRequest:
            return None
        if not isinstance(seq, int):
            return None
        kept = await self._streams.next(self._names.jobs, self._subjects.jobs("*", "*"), seq)
        return kept if kept is not None and kept.seq == seq else None

    async def sweep(self) -> bool:
        """Look through what was delivered and lies there still; True when something is to be looked at again soon.

        1. Its last try is over, or its result stands, and nothing moves: it is buried. 2. The server holds it for settled, since a
        crash lost the one and kept the other, and nobody has answered it: it is put into the queue again.
        """
        lying: set[int] = set()
        for priority in Priority:
            progress = await self._streams.progress(self._names.jobs, priority)
            subject, seq = self._subjects.jobs("*", priority), 1
            while (kept := await self._streams.next(self._names.jobs, subject, seq)) is not None:
                if kept.seq > progress.delivered:
                    break
                seq = kept.seq + 1
                lying.add(kept.seq)
                await _bordered(kept.seq, self._sweep_one(kept, progress))

        self._seen = {seq: seen for seq, seen in self._seen.items() if seq in lying}
        return bool(self._seen)

    async def _sweep_one(self, kept: Kept, progress: Progress) -> None:
        sign = await self._last_sign(kept)
        if sign is not None and await self._still(kept, sign):  # 1
            await self._bury(kept)
        elif sign is None and kept.seq <= progress.settled and await self._still(kept, -kept.seq):  # 2
            await self._renew(kept)

    async def _last_sign(self, kept: Kept) -> int | None:
        """Give what would move if the job moved, for one that had its last try; None for all others."""
        holder = await self._holder(kept)
        if holder is not None:
            over = holder.reached and holder.tries >= self._most_tries
            return holder.revision if over else None
        tenant, job = self._reading.origin(kept).tenant, job_id_of(kept)
        last = await self._streams.last(self._names.results, self._subjects.result(tenant, job))
        if last is None:
            return None
        note = note_of(last)
        return last.seq if note is not None and note.final else None

    async def _claim(self, kept: Kept) -> int:
        holder = await self._holder(kept)
        return 0 if holder is None else holder.revision

    async def _holder(self, kept: Kept) -> Holder | None:
        """Say who holds this very message."""
        holder = await self._claims.holder(claim_key(self._reading.origin(kept).tenant, job_id_of(kept)))
        return holder if holder is not None and holder.seq == kept.seq else None

    async def _still(self, kept: Kept, sign: int) -> bool:
        """True when nothing has moved for longer than the ack wait; a sign of 0 says that there is nothing to wait for."""
        now_s = asyncio.get_running_loop().time()
        seen = self._seen.get(kept.seq)
        if sign and (seen is None or seen[0] != sign):
            self._seen[kept.seq] = sign, now_s
            return False
        if sign and seen is not None and now_s - seen[1] < self._ack_wait_s:
            return False
        self._seen.pop(kept.seq, None)
        return True

    async def _bury(self, kept: Kept) -> None:
        """Write the letter with the last error that is known, and take the job out; done twice it has one effect."""
        origin, job = self._reading.origin(kept), job_id_of(kept)
        notes = Notes(self._streams, self._names, self._subjects, origin.tenant, job, payload=kept.data)
        newest = await notes.look()
        holder = await self._claims.holder(claim_key(origin.tenant, job))
        if holder is not None and holder.seq != kept.seq and not (newest is not None and newest.final):
            return  # another message of the same job is being worked on: this one is looked at again when that has its result
        if newest is None or not newest.final:
            error = last_error(newest, self._most_tries)
            await self._letters.bury(kept, origin, EXHAUSTED, error, tries=self._most_tries, notes=notes)
        else:
            await self._letters.again(kept, origin, newest)
        await self._streams.delete(self._names.jobs, kept.seq)

    async def _renew(self, kept: Kept) -> None:
        """Put a job into the queue once more, under its own id, and take the old message out."""
        tenant, job = self._reading.origin(kept).tenant, job_id_of(kept)
        headers = {name: value for name, value in kept.headers.items() if name == RETRY_HEADER} | {JOB_HEADER: job}
        await self._streams.publish(
            kept.subject, kept.data, msg_id=f"{message_id(tenant, job)}-again-{kept.seq}", headers=headers
        )
        await self._streams.delete(self._names.jobs, kept.seq)
        log.warning("durable.renewed", job=job, tenant=tenant)


async def _bordered(seq: int, work: Awaitable[None]) -> bool:
    """Do the work on one message; False when it failed, so that those behind it have their turn. Raises `BusError`: no one has."""
    try:
        await work
    except BusError:
        raise
    except Exception:
        log.exception("durable.unburied", seq=seq)
        return False
    return True
