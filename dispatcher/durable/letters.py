"""Dead letters: where jobs go that can't be answered, with their reason; it decides nothing."""

from __future__ import annotations

from common import codec
from common.bus.streams import Kept, Pulled, Streams
from common.clock import Clock
from common.durable import RETRY_HEADER, Letter, Names, Note, Stage, body, job_id, named
from common.errors import FleetError
from common.logs import get_logger
from common.subjects import Subjects
from dispatcher.durable.notes import Notes
from dispatcher.durable.reading import Place

log = get_logger("durable")


class Letters:
    """Writes dead letters, and the final notes that tell the producers of them."""

    def __init__(self, streams: Streams, names: Names, subjects: Subjects, clock: Clock) -> None:
        self._streams = streams
        self._names = names
        self._subjects = subjects
        self._clock = clock

    async def bury(self, kept: Kept, place: Place, reason: str, error: FleetError, *, tries: int, notes: Notes) -> None:
        """Write the letter, then the final note; both again do nothing, so that it may be interrupted anywhere.

        The job still lies in the queue: its caller takes it out then.
        """
        letter = self._letter(kept, place, reason, error, tries)
        await self._streams.publish(
            self._subjects.dead(reason, place.tenant),
            codec.encode(codec.plain(letter)),
            msg_id=f"{place.tenant}.{letter.job}-{kept.seq}",
        )
        note = Note(
            job=letter.job,
            tenant=place.tenant,
            state=Stage.FAILED,
            at_unix_s=letter.at_unix_s,
            tries=tries,
            error=letter.error,
        )
        await notes.finish(note, retry=kept.headers.get(RETRY_HEADER, ""))
        log.warning("durable.dead", job=letter.job, tenant=place.tenant, reason=reason, tries=tries, error=error.code)

    def _letter(self, kept: Kept, place: Place, reason: str, error: FleetError, tries: int) -> Letter:
        sent = body(kept)
        return Letter(
            job=job_id(kept, named(sent)),
            tenant=place.tenant,
            priority=place.priority,
            reason=reason,
            tries=tries,
            submitted_unix_s=kept.stored_unix_s,
            at_unix_s=self._clock.unix_s(),
            seq=kept.seq,
            error=error.to_wire(),
            payload=None if sent is None else dict(sent),
            raw=kept.data.hex() if sent is None else None,
        )


async def take_out(pulled: Pulled) -> None:
    """Let the server forget a job that has its final note."""
    await pulled.term()
