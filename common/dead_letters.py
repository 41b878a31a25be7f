"""Dead letters as an operator handles them: list, read, send again, forget; it knows no dispatcher."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from common import codec
from common.bus.streams import Streams
from common.durable import JOB_HEADER, RETRY_HEADER, Letter, Names, message_id, read_letter
from common.errors import PayloadTooLarge, UnknownJob
from common.subjects import Subjects


@dataclass(frozen=True, slots=True)
class Filed:
    """A letter, and its number in the stream."""

    seq: int
    letter: Letter


class DeadLetters:
    """The dead letters of one fleet."""

    def __init__(self, streams: Streams, subjects: Subjects) -> None:
        self._streams = streams
        self._subjects = subjects
        self._names = Names.below(subjects)

    async def all(self, *, tenant: str = "*") -> AsyncIterator[Filed]:
        """Give all letters, the oldest first."""
        subject, seq = self._subjects.dead("*", tenant), 1
        while (kept := await self._streams.next(self._names.dead, subject, seq)) is not None:
            yield Filed(kept.seq, read_letter(kept))
            seq = kept.seq + 1

    async def one(self, which: str) -> Filed:
        """Give a letter by its number, or the newest of a job by the job's id. Raises `UnknownJob`."""
        found = None
        if which.isascii() and which.isdecimal():
            kept = await self._streams.next(self._names.dead, self._subjects.dead("*", "*"), int(which))
            if kept is not None and kept.seq == int(which):
                found = Filed(kept.seq, read_letter(kept))
        else:
            async for filed in self.all():
                found = filed if filed.letter.job == which else found
        if found is None:
            raise UnknownJob(f"there is no dead letter {which!r}: `drover dlq ls` shows those there are")
        return found

    async def retry(self, which: str) -> Filed:
        """Put the job into its queue again, as its producer sent it, under its old id. Raises `UnknownJob`, `QueueFull`,
        `PayloadTooLarge` for one of which a part was cut off.

        Its old result goes first, since a job with a result is over. Interrupted anywhere, it can be done again.
        """
        filed = await self.one(which)
        letter = filed.letter
        if letter.cut_bytes:
            raise PayloadTooLarge(
                f"dead letter {filed.seq} is not whole: the last {letter.cut_bytes} bytes of job {letter.job} did not fit in it; "
                "let its producer submit it again"
            )
        payload = codec.encode(letter.payload) if letter.payload is not None else bytes.fromhex(letter.raw or "")
        await self._streams.purge(self._names.results, self._subjects.result(letter.tenant, letter.job))
        await self._streams.publish(
            self._subjects.jobs(letter.tenant, letter.priority),
            payload,
            msg_id=f"{message_id(letter.tenant, letter.job)}-retry-{filed.seq}",
            headers={JOB_HEADER: letter.job, RETRY_HEADER: str(filed.seq)},
        )
        await self._streams.delete(self._names.dead, filed.seq)
        return filed

    async def drop(self, which: str) -> Filed:
        """Forget a letter. Raises `UnknownJob`."""
        filed = await self.one(which)
        await self._streams.delete(self._names.dead, filed.seq)
        return filed
