"""The same job sent again: what a dispatcher keeps, and what it asks of the others, so that a job runs once. It runs nothing.

Of two dispatchers that get one id at the same moment, the one whose name comes first has the job. The other learns so from the
answer to its question, or, when both questions crossed, asks once more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.clock import Clock
from common.codec import Encoding
from common.errors import BadRequest, FleetError
from common.logs import get_logger
from common.subjects import require_token
from dispatcher.admission import reused
from dispatcher.delivery.answer import SharedAnswer, moved
from dispatcher.delivery.audience import Audience
from dispatcher.delivery.kept import ReplayCache
from dispatcher.delivery.listener import Listener, Seat
from dispatcher.outcomes import Job
from dispatcher.peers import Peers, Word

log = get_logger("sharing")

MOST_LEFT_S = 86_400.0
MOST_KEEP_S = 60.0
"""As much as a request may ask for; what another dispatcher says is bounded like it."""

MOST_ROUNDS = 3
"""A crossed question is asked again; what still crosses then is answered here, which costs work and no second answer."""


@dataclass(slots=True)
class Inquiry:
    """A job whose id was chosen by a client, while the other dispatchers are asked for it."""

    crossed: bool = False


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

    def asks(self, job: Job) -> bool:
        """True when another dispatcher may have the job: its id was given, may have been sent before, and there are others."""
        return job.given and job.request.resends != 0 and bool(self.peers.others)

    async def elsewhere(self, job: Job, answer: SharedAnswer, inquiry: Inquiry) -> bool:
        """True when another dispatcher has the job, and all who wait for it here hear it from there.

        Raises `DuplicateJob` when it has the id for another request.
        """
        for _ in range(MOST_ROUNDS):
            inquiry.crossed = False
            waiting = answer.listeners
            if not waiting:
                return False
            word = await self._ask(job, waiting[0])
            if word is Word.CONFLICT:
                raise reused(job.id)
            if word is Word.MINE:
                await self._hand_over(job, answer, waiting[0])
                return True
            if not inquiry.crossed:
                return False
        return False

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


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text is empty, or none")
    return value


def _seconds(value: object, most_s: float) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a time is no number")
    return min(max(0.0, float(value)), most_s)
