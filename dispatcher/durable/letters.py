"""Dead letters: where jobs go that can't be answered, with their reason; it decides nothing."""

from __future__ import annotations

from dataclasses import replace

from common import codec
from common.bus.streams import Kept, Streams
from common.clock import Clock
from common.durable import RETRY_HEADER, Letter, Names, Note, Stage, body, dead_id, job_id, named
from common.errors import FleetError, PayloadTooLarge
from common.logs import get_logger
from common.subjects import Subjects
from dispatcher.durable.notes import Notes
from dispatcher.durable.reading import Origin

log = get_logger("durable")

SMALL_BYTES = 256 << 10
"""What any server carries, where none has said how much it does."""

HEADERS_BYTES = 1024
"""More than the headers of a letter take: an id of two names, each of 64 characters at most."""

ERROR_BYTES = 16 << 10
ERROR_CHARS = 1000


class Letters:
    """Writes dead letters, and the final notes that tell the producers of them."""

    def __init__(self, streams: Streams, names: Names, subjects: Subjects, clock: Clock) -> None:
        self._streams = streams
        self._names = names
        self._subjects = subjects
        self._clock = clock

    async def bury(
        self, kept: Kept, origin: Origin, reason: str, error: FleetError, *, tries: int, notes: Notes
    ) -> None:
        """Write the final note, then the letter; both again do nothing, so that it may be interrupted anywhere.

        The note decides: of a job that has another end by now no letter is written. Whoever finds the note and not its own hand
        in it sends the letter after (`again`). The job still lies in the queue: its caller takes it out then.
        """
        letter = self._letter(kept, origin, reason, error, tries)
        note = Note(
            job=letter.job,
            tenant=origin.tenant,
            state=Stage.FAILED,
            at_unix_s=letter.at_unix_s,
            tries=tries,
            reason=reason,
            error=letter.error,
        )
        if not await notes.finish(note, retry=kept.headers.get(RETRY_HEADER, "")):
            standing = await notes.look()
            if standing is None or standing.state is not Stage.FAILED:
                return
        await self._post(letter, kept)
        log.warning("durable.dead", job=letter.job, tenant=origin.tenant, reason=reason, tries=tries, error=error.code)

    async def again(self, kept: Kept, origin: Origin, note: Note) -> None:
        """Write the letter of a job whose final note says that it failed: whoever told so may not have lived to write it."""
        error = note.failure
        if note.state is Stage.FAILED and error is not None:
            await self._post(self._letter(kept, origin, note.reason or error.code, error, note.tries), kept)

    async def _post(self, letter: Letter, kept: Kept) -> None:
        try:
            await self._send(letter, kept)
        except PayloadTooLarge as refusal:
            await self._send(_cut(letter, kept, int(refusal.details.get("limit_bytes", SMALL_BYTES))), kept)

    async def _send(self, letter: Letter, kept: Kept) -> None:
        await self._streams.publish(
            self._subjects.dead(letter.reason, letter.tenant),
            codec.encode(codec.plain(letter)),
            msg_id=dead_id(letter.tenant, letter.job, kept.headers.get(RETRY_HEADER, "")),
        )

    def _letter(self, kept: Kept, origin: Origin, reason: str, error: FleetError, tries: int) -> Letter:
        sent = body(kept)
        return Letter(
            job=job_id(kept, named(sent)),
            tenant=origin.tenant,
            priority=origin.priority,
            reason=reason,
            tries=tries,
            submitted_unix_s=kept.stored_unix_s,
            at_unix_s=self._clock.unix_s(),
            seq=kept.seq,
            error=_brief(error),
            payload=None if sent is None else dict(sent),
            raw=kept.data.hex() if sent is None else None,
        )


def _cut(letter: Letter, kept: Kept, limit_bytes: int) -> Letter:
    """Make it fit: of what was sent as much as there is room for, as it was sent. In hex a byte takes two."""
    bare = replace(letter, payload=None, raw="", cut_bytes=len(kept.data))
    room = max(0, limit_bytes - len(codec.encode(codec.plain(bare))) - HEADERS_BYTES) // 2
    return replace(bare, raw=kept.data[:room].hex(), cut_bytes=max(0, len(kept.data) - room))


def _brief(error: FleetError) -> dict[str, object]:
    """Give an error as it travels; of one that a device has made long, the beginning."""
    wire = error.to_wire()
    if len(codec.encode(wire)) <= ERROR_BYTES:
        return wire
    return {"code": error.code, "message": error.message[:ERROR_CHARS], "retry": error.retryable}
