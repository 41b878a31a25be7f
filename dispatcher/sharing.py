"""The same job sent again: what a dispatcher keeps, and what it asks of the others, so that a job runs once. It runs nothing.

The others come before the store: one that died while it was asked has put its answer there before it told anyone of the end.
Of two dispatchers that get one id at the same moment, the one whose name comes first has the job. The other learns so from the
answer to its question, or, when both questions crossed, asks once more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from common.clock import Clock
from common.codec import Encoding
from common.errors import BadRequest, FleetError
from common.logs import get_logger
from common.subjects import require_token
from dispatcher.admission import reused
from dispatcher.delivery.answer import Ended, SharedAnswer, moved
from dispatcher.delivery.audience import Audience
from dispatcher.delivery.kept import ReplayCache
from dispatcher.delivery.listener import Listener, Seat
from dispatcher.outcomes import Job
from dispatcher.peers import Peers, Word
from dispatcher.shelf import Shelf

log = get_logger("sharing")

MOST_LEFT_S = 86_400.0
MOST_KEEP_S = 60.0
"""As much as a request may ask for; what another dispatcher says is bounded like it."""

MOST_ROUNDS = 3
"""A crossed question is asked again; what still crosses then is answered here, which costs work and no second answer."""


RECALLED_S = 5.0
"""So long an answer from the store is in memory; questions between dispatchers are over within a second."""


@dataclass(slots=True)
class Inquiry:
    """A job whose id was chosen by a client, while the other dispatchers and the store are asked for it. `crossed` tells that one
    of them asks for the same, `ended` that somebody has ended the job meanwhile, `telling` that its stored answer is being told."""

    crossed: bool = False
    ended: bool = False
    telling: bool = False


class Whereabouts(StrEnum):
    """Where a job is that was sent again."""

    NOWHERE = "nowhere"  # it is to run here
    ELSEWHERE = "elsewhere"  # all who wait for it hear it from another dispatcher
    STORED = "stored"  # it was answered before, and all who wait for it have that answer


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRequest:
    """What one dispatcher asks of another: to let a party hear a job that it may have."""

    asker: str
    tenant: str
    fingerprint: str
    seat: Seat


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """What the jobs of one dispatcher share with those that come again."""

    clock: Clock
    audience: Audience
    kept: ReplayCache
    peers: Peers
    shelf: Shelf

    def asks(self, job: Job) -> bool:
        """True when the job may be known: its id was given, may have been sent before, and there is somebody to ask."""
        known = bool(self.peers.others) or (self.shelf.open and returns(job))
        return known and job.given and job.request.resends != 0

    async def place(self, job: Job, answer: SharedAnswer, inquiry: Inquiry) -> Whereabouts:
        """Find out where the job is, and have all who wait for it here hear it from there.

        Raises `DuplicateJob` when the id means another request.
        """
        for _ in range(MOST_ROUNDS):
            inquiry.crossed = False
            waiting = answer.listeners
            if not waiting:
                return Whereabouts.NOWHERE
            word = await self._ask(job, waiting[0]) if self.peers.others else Word.NO
            if word is Word.CONFLICT:
                raise reused(job.id)
            if word is Word.MINE:
                await self._hand_over(job, answer, waiting[0])
                return Whereabouts.ELSEWHERE
            if await self._recalled(job, answer, inquiry):
                return Whereabouts.STORED
            if not inquiry.crossed:
                break
        return Whereabouts.NOWHERE

    async def _recalled(self, job: Job, answer: SharedAnswer, inquiry: Inquiry) -> bool:
        """True when the job was answered before, perhaps by a dispatcher that is no more, and all have that answer now."""
        found = await self.shelf.get((job.tenant, job.id)) if returns(job) else None
        if found is None or inquiry.ended:
            return False
        if found.fingerprint != job.fingerprint:
            raise reused(job.id)
        inquiry.telling = True  # who cancels from here on comes too late, and is told so
        await answer.recall(found.ended)
        # For those who just now ask another dispatcher, which then asks this one. No longer: its time does not begin anew.
        self.kept.put((job.tenant, job.id), job.fingerprint, found.ended, most_s=RECALLED_S)
        return True

    async def keep(self, job: Job, ended: Ended) -> None:
        """Put an answer where it outlives this dispatcher, if its producer may come back; call it before the end is told.

        Crashes: before it, the job runs again, and nobody has heard its end; behind it, whoever comes gets this answer.
        """
        if returns(job):
            await self.shelf.put((job.tenant, job.id), job.fingerprint, ended)

    async def _hand_over(self, job: Job, answer: SharedAnswer, done: Listener) -> None:
        """Have all who wait here hear it from the other one, and who comes meanwhile too; none is left behind, whatever fails."""
        while listeners := answer.release():
            for listener in listeners:
                try:
                    if listener is not done and await self._ask(job, listener) is not Word.MINE:
                        await listener.error(moved(job.id))
                except FleetError as error:
                    log.warning("listener.untold", job=job.id, error=error.code)
                finally:
                    listener.close()

    async def _ask(self, job: Job, listener: Listener) -> Word:
        seat = listener.seat
        order = {
            "tenant": job.tenant,
            "fingerprint": job.fingerprint,
            "reply": seat.reply,
            "encoding": seat.encoding.value,
            "framed": seat.framed,
            "held": seat.held,
            "left_s": max(0.0, seat.deadline_s - self.clock.monotonic()),
            "keep_s": seat.keep_s,
        }
        word = await self.peers.ask(job.id, order)
        if word is Word.MINE and listener.finished:
            await self.peers.hang_up(
                job.id, job.tenant, seat.reply
            )  # it left while we asked; the other has not heard that
        return word

    def read(self, asker: str, wire: Mapping[str, Any]) -> AttachRequest:
        """Read another dispatcher's question. Raises `BadRequest`, also for one that does not say what was asked: ids are told
        to all who hear events, and only who knows the question may hear the answer."""
        try:
            seat = Seat(
                job=require_token("job", str(wire["job"])),
                reply=_text(wire["reply"]),
                encoding=Encoding(wire["encoding"]),
                framed=bool(wire["framed"]),
                held=bool(wire["held"]),
                deadline_s=self.clock.monotonic() + _seconds(wire["left_s"], MOST_LEFT_S),
                keep_s=_seconds(wire["keep_s"], MOST_KEEP_S),
            )
            return AttachRequest(
                asker=asker,
                tenant=require_token("tenant", str(wire["tenant"])),
                fingerprint=_text(wire["fingerprint"]),
                seat=seat,
            )
        except (KeyError, ValueError, TypeError) as error:
            raise BadRequest(f"{asker} asked for a job in a way that can't be read: {error!r}") from error


def returns(job: Job) -> bool:
    """True when its producer said that it may come back for the answer. Ids that a client library makes up for its own sending
    again are no such promise, and most jobs have one: they cost the store nothing."""
    return job.given and job.request.keep_s > 0


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text is empty, or none")
    return value


def _seconds(value: object, most_s: float) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a time is no number")
    return min(max(0.0, float(value)), most_s)
