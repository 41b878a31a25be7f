"""The same job again: who sends one that runs, or was answered, hears it from here, from another dispatcher, or from the store.

It decides who hears what, and runs nothing; what several dispatchers and the store agree on is `sharing`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from common import codec
from common.bus import Bus
from common.errors import BusError
from common.logs import get_logger
from common.subjects import Subjects
from dispatcher.admission import Known, admit
from dispatcher.delivery.answer import SharedAnswer
from dispatcher.delivery.kept import Keep
from dispatcher.delivery.listener import Seat
from dispatcher.outcomes import Admitted, Rejected
from dispatcher.peers import Word
from dispatcher.register import Register, Running
from dispatcher.sharing import AttachRequest, Sharing, Whereabouts

log = get_logger("pipeline")

Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Starts a task in the group that owns the jobs."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The word on another dispatcher's question, and what its party will hear if it takes it."""

    word: Word
    answer: SharedAnswer | None = None
    running: Running | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Serves those who come again."""

    bus: Bus
    subjects: Subjects
    register: Register
    sharing: Sharing

    def join(self, tenant: str, where: Seat, fingerprint: str, spawn: Spawn) -> bool:
        """Let a party hear a job that runs here, or was answered here lately; True when there is one. Raises `DuplicateJob` when
        the id means another request, or one whose answer goes elsewhere."""
        key = tenant, where.job
        running, kept = self.register.get(key), self.sharing.kept.get(key)
        match admit(where.job, fingerprint, _known(running, kept)):
            case Rejected(error):
                raise error
            case Admitted():
                return False
        if running is not None and isinstance(running.out, SharedAnswer):
            spawn(self._attach(tenant, where, running.out, "attached", running))
        elif kept is not None:
            spawn(self._attach(tenant, where, SharedAnswer.again(where.job, kept.ended), "replayed"))
        return True

    def offer(self, order: AttachRequest) -> Offer:
        """Say whether a party of another dispatcher may hear a job from here. See `sharing` for who wins when both have just got
        it."""
        key = order.tenant, order.seat.job
        running, kept = self.register.get(key), self.sharing.kept.get(key)
        if running is not None and running.inquiry is not None and order.asker < self.sharing.peers.me:
            running.inquiry.crossed = True
            return Offer(Word.NO)
        match admit(order.seat.job, order.fingerprint, _known(running, kept)):
            case Admitted():
                return Offer(Word.NO)
            case Rejected():
                return Offer(Word.CONFLICT)
        if running is not None and isinstance(running.out, SharedAnswer):
            return Offer(Word.MINE, running.out, running)
        return Offer(Word.NO) if kept is None else Offer(Word.MINE, SharedAnswer.again(order.seat.job, kept.ended))

    def lend(self, order: AttachRequest, offer: Offer, spawn: Spawn) -> None:
        """Let the party hear what was offered, also when it has ended meanwhile, in whatever way: nobody else will tell it."""
        if offer.answer is not None:
            how = "replayed" if offer.running is None else "attached"
            spawn(self._attach(order.tenant, order.seat, offer.answer, how, offer.running))

    async def elsewhere(self, running: Running) -> bool:
        """True when another dispatcher has the job, or had it and is done: whoever ran it answers for the record. Raises
        `DuplicateJob`."""
        if running.inquiry is None or not isinstance(running.out, SharedAnswer):
            return False
        try:
            place = await self.sharing.place(running.job, running.out, running.inquiry)
        finally:
            running.inquiry = None
        if place is Whereabouts.STORED:
            await self._tell(running.job.tenant, running.job.id, "replayed")
        return place is not Whereabouts.NOWHERE

    async def _attach(
        self, tenant: str, where: Seat, answer: SharedAnswer, how: str, running: Running | None = None
    ) -> None:
        if answer.at(where.reply) is not None:
            return  # the question for it came twice
        if running is not None:
            running.stay()
        await answer.attach(self.sharing.audience.seated(where, answer))
        await self._tell(tenant, where.job, how)

    async def _tell(self, tenant: str, job: str, how: str) -> None:
        """Say of a request that it was no job of its own."""
        log.info(f"job.{how}", job=job, tenant=tenant)
        try:
            body = codec.encode({"job": job, "tenant": tenant, "state": how})
            await self.bus.publish(self.subjects.job_event(how, job), body)
        except BusError as error:
            log.debug("job.untold", job=job, error=error.code)


def _known(running: Running | None, kept: Keep | None) -> Known | None:
    """Say what the house has under an id."""
    if running is not None:
        return Known(
            fingerprint=running.job.fingerprint, shared=running.job.given and isinstance(running.out, SharedAnswer)
        )
    return None if kept is None else Known(fingerprint=kept.fingerprint, shared=True)
