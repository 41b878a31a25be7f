"""What is told of one job: its subject in the stream of results, written by one hand at a time; it knows no pipeline.

Each note is stored by compare-and-set on the newest one, so that of two dispatchers that think a job is theirs only one goes on
telling, and only one final note ever stands.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cached_property

from common.bus.streams import Kept, Streams
from common.durable import Names, Note, Stage, encode_note, final_id, read_note
from common.errors import BadRequest, StreamConflict
from common.fingerprint import fingerprint_of
from common.subjects import Subjects

_TRIES = 8
"""Of a final note, when others write there too; each of them has at most one to write."""


class Notes:
    """The notes of one job."""

    def __init__(
        self, streams: Streams, names: Names, subjects: Subjects, tenant: str, job: str, *, payload: bytes = b""
    ) -> None:
        """`payload` is the job as it was sent."""
        self._streams = streams
        self._stream = names.results
        self._subject = subjects.result(tenant, job)
        self._tenant = tenant
        self._job = job
        self._payload = payload
        self._seq = 0
        self._turn = asyncio.Lock()
        self.newest: Note | None = None

    async def look(self) -> Note | None:
        """Read the newest note."""
        kept = await self._streams.last(self._stream, self._subject)
        self._seq, self.newest = (0, None) if kept is None else (kept.seq, note_of(kept))
        return self.newest

    async def tell(self, note: Note) -> bool:
        """Store a note of what happens; False when somebody else has written meanwhile, or the final one stands."""
        async with self._turn:
            if self.newest is not None and self.newest.final:
                return False
            try:
                self._seq = (await self._streams.publish(self._subject, self._wire(note), expected_last=self._seq)).seq
            except StreamConflict:
                return False
            self.newest = note
            return True

    async def finish(self, note: Note, *, retry: str = "") -> bool:
        """Store the final note; False when one stands already. Raises `PayloadTooLarge`, `BusError`."""
        async with self._turn:
            for _ in range(_TRIES):
                try:
                    stored = await self._streams.publish(
                        self._subject,
                        self._wire(note),
                        msg_id=final_id(self._tenant, self._job, retry),
                        expected_last=self._seq,
                    )
                except StreamConflict:
                    newest = await self.look()
                    if newest is not None and newest.final:
                        return False
                    continue
                self.newest = note
                return not stored.duplicate
        raise StreamConflict(f"the result of job {self._job} could not be stored: others write there")

    def _wire(self, note: Note) -> bytes:
        return encode_note(replace(note, fingerprint=self._fingerprint))

    @cached_property
    def _fingerprint(self) -> str | None:
        return fingerprint_of(self._payload)


def spent(newest: Note | None) -> int:
    """Give the number of tries that a job has behind it, as its newest note has it: one that ran, and of which nothing more was
    told, has ended with its dispatcher."""
    if newest is None or newest.final:
        return 0
    return newest.tries if newest.state in {Stage.RETRYING, Stage.RUNNING} else max(0, newest.tries - 1)


def note_of(kept: Kept) -> Note | None:
    """Read a note; what a stranger has put there is none, and the next one takes its place."""
    try:
        return read_note(kept)
    except BadRequest:
        return None
