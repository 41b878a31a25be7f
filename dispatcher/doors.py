"""What the dispatcher hears: jobs, control, heartbeats. Handlers only read and hand over; they know no step but the pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from common import codec
from common.bus import Bus, Delivery, Handler
from common.errors import BadRequest, FleetError, InternalError, UnknownJob
from common.heartbeats import read_heartbeat
from common.logs import get_logger
from common.messages import CHAT, EMBED
from common.ratings import Rating, read_rating
from common.subjects import QUEUE_DISPATCH, is_inbox
from dispatcher.again import Offer
from dispatcher.cache import CacheDesk
from dispatcher.overdraw import Overdraw
from dispatcher.pipeline import Pipeline, Spawn
from dispatcher.ratings import kept
from dispatcher.register import ON_REQUEST
from dispatcher.running import running_now
from dispatcher.sharing import MOST_KEEP_S, AttachRequest
from dispatcher.unknown import OTHERS_FIRST_S, unknown

log = get_logger("doors")


class Doors:
    """What the dispatcher hears: jobs, control, heartbeats. Handlers only read and hand over."""

    def __init__(self, pipeline: Pipeline, spawn: Spawn, desk: CacheDesk, *, queued: Callable[[], bool]) -> None:
        """Take what the bus delivers; `desk` serves the operators of the cache. `queued` tells whether jobs may also lie in a
        durable queue, where others look for them."""
        self._pipeline = pipeline
        self._spawn = spawn
        self._desk = desk
        self._queued = queued
        self._overdraw = Overdraw()
        self.garbled_beats = 0
        self.strange_replies = 0

    @asynccontextmanager
    async def ears(self, bus: Bus) -> AsyncIterator[None]:
        """Hear devices, cancellations and who asks what runs, as long as a job does."""
        subjects = self._pipeline.subjects
        beats = await bus.subscribe(subjects.heartbeat("*"), self._heartbeat, pending=4096)
        control = [
            await bus.subscribe(subjects.control("*", "*", owner), self._asked(self._control)) for owner in (None, "*")
        ]
        questions = await bus.subscribe(subjects.peer_question("*"), self._asked(self._attach))
        looks = await bus.subscribe(subjects.running(), self._asked(self._look))
        try:
            yield
        finally:
            await looks.unsubscribe()
            await beats.unsubscribe()
            for one in control:
                await one.unsubscribe()
            await questions.unsubscribe()

    @asynccontextmanager
    async def open(self, bus: Bus) -> AsyncIterator[None]:
        """Take jobs."""
        subjects = self._pipeline.subjects
        work = [
            await bus.subscribe(subjects.work(kind, "*"), self._asked(self._job), queue=QUEUE_DISPATCH)
            for kind in (CHAT, EMBED)
        ]
        asked = await bus.subscribe(subjects.work("route", "*"), self._asked(self._explain), queue=QUEUE_DISPATCH)
        lookups = [
            await bus.subscribe(subjects.control("*", "why", owner), self._asked(self._why)) for owner in (None, "*")
        ]
        # Not by turns: each dispatcher may keep answers of its own.
        cached = [await bus.subscribe(subjects.cache("*", tenant), self._asked(self._cached)) for tenant in (None, "*")]
        try:
            yield
        finally:
            for one in (*cached, *lookups):
                await one.unsubscribe()
            await asked.drain()
            for one in work:
                await one.drain()

    def _asked(self, handler: Handler) -> Handler:
        """Have `handler` hear only what may be answered where it says."""

        def heard(delivery: Delivery) -> None:
            if not delivery.reply or is_inbox(delivery.reply):
                handler(delivery)
                return
            self.strange_replies += 1
            if self.strange_replies == 1:
                log.warning("reply.strange", subject=delivery.subject, reply=delivery.reply)

        return heard

    def _job(self, delivery: Delivery) -> None:
        self._pipeline.take(delivery, self._spawn)

    def _explain(self, delivery: Delivery) -> None:
        """Tell where a request would go; nothing is run."""
        if delivery.reply:
            self._spawn(self._explained(delivery))

    async def _explained(self, delivery: Delivery) -> None:
        try:
            told = await self._pipeline.explain(delivery)
        except FleetError as error:
            told = {"error": error.to_wire()}
        except Exception:
            log.exception("explain.crashed", size_bytes=len(delivery.data))
            bug = InternalError("the request could not be explained: the dispatcher's log says why")
            told = {"error": bug.to_wire()}
        await _send(self._pipeline.bus, delivery.reply, codec.encode(told))

    def _cached(self, delivery: Delivery) -> None:
        """Take what an operator asks of the cache."""
        *tenant, verb = self._pipeline.subjects.tokens(delivery.subject)[1:]
        if delivery.reply or verb == "bar":
            self._spawn(self._served(delivery, verb, tenant[0] if tenant else None))

    async def _served(self, delivery: Delivery, verb: str, tenant: str | None) -> None:
        try:
            told = await self._desk.serve(verb, tenant, codec.decode_request(delivery.data) if delivery.data else {})
            await self._pass_on(told)
        except FleetError as error:
            told = {"dispatcher": self._desk.dispatcher, "error": error.to_wire()}
        except Exception:
            log.exception("cache.crashed", verb=verb)
            bug = InternalError("the cache could not do that: the dispatcher's log says why")
            told = {"dispatcher": self._desk.dispatcher, "error": bug.to_wire()}
        if delivery.reply:
            await _send(self._pipeline.bus, delivery.reply, codec.encode(told))

    async def _pass_on(self, told: dict[str, object]) -> None:
        """Have all dispatchers know of a wrong answer: the next question may come to any of them."""
        keys, tenant = told.pop("bar", None), told.get("tenant")
        if keys is not None and isinstance(tenant, str):
            subject = self._pipeline.subjects.cache("bar", tenant)
            await _send(self._pipeline.bus, subject, codec.encode({"keys": keys}))

    def _why(self, delivery: Delivery) -> None:
        """Tell why a job went where it went, if it was here lately."""
        _, job, _, *owner = self._pipeline.subjects.tokens(delivery.subject)
        tenant = owner[0] if owner else _text(_body(delivery.data), "tenant")
        told = self._reasons(job, tenant)
        if told is not None:
            self._reply(delivery, told)
        elif delivery.reply:
            self._spawn(self._why_later(delivery.reply, job, tenant))

    async def _why_later(self, reply: str, job: str, tenant: str | None) -> None:
        """Look once more before it is unknown: an answer is out a moment before it is noted."""
        await asyncio.sleep(OTHERS_FIRST_S)
        await _send(self._pipeline.bus, reply, codec.encode(self._reasons(job, tenant) or unknown(job)))

    def _reasons(self, job: str, tenant: str | None) -> dict[str, object] | None:
        told = self._pipeline.router.explained(job, tenant) or self._pipeline.cache.explained(job, tenant)
        return None if told is None else {"job": job, **told}

    def _look(self, delivery: Delivery) -> None:
        """Tell which jobs are here."""
        pipeline = self._pipeline
        name = pipeline.courier.dispatcher
        try:
            body = running_now(delivery, pipeline.register, pipeline.courier.line, name)
        except BadRequest as error:
            body = {"dispatcher": name, "error": error.to_wire()}
        self._reply(delivery, body)

    def _heartbeat(self, delivery: Delivery) -> None:
        try:
            beat = read_heartbeat(delivery, self._pipeline.subjects)
        except BadRequest as error:
            self.garbled_beats += 1
            if self.garbled_beats == 1:
                log.warning("heartbeat.garbled", subject=delivery.subject, error=error.message)
            return
        self._overdraw.look(beat)
        self._pipeline.roster.observe(beat, self._pipeline.clock.monotonic())

    def _control(self, delivery: Delivery) -> None:
        """Take an order for one job; `cancel` with a `reply` lets that one party go, and nobody else.

        What neither waits for an answer nor names a party is no order: a stream's answer to somebody who gave this subject as its
        reply looks so, and the server asks no one's rights for it.
        """
        _, job, verb, *owner = self._pipeline.subjects.tokens(delivery.subject)
        body = _body(delivery.data)
        tenant = owner[0] if owner else _text(body, "tenant")
        party = _text(body, "reply") if verb == "cancel" else None
        if not delivery.reply and party is None:
            return
        match verb:
            case "cancel" if party is not None:
                self._pipeline.leave(job, party, tenant=tenant, keep_s=_seconds(body, "keep_s"))
            case "cancel":
                known = self._pipeline.cancel(job, ON_REQUEST, tenant=tenant)
                if known or not self._queued():  # else whoever has looked through the queue says how it is
                    self._answer(delivery, job, {"job": job, "cancelled": True} if known else None)
            case "status":
                self._answer(delivery, job, self._status(job, tenant))
            case "feedback":
                self._rated(delivery, job, tenant, body)
            case _:
                return

    def _rated(self, delivery: Delivery, job: str, tenant: str | None, body: dict[str, object]) -> None:
        """Take what somebody says of an answer; what can't be read is told by whoever knows the job. It is kept too, unless its
        sender sees to that."""
        try:
            rating = read_rating(body)
            said = self._pipeline.router.feedback.rate(job, tenant, rating)
        except BadRequest as error:
            self._reply(delivery, {"job": job, "error": error.to_wire()})
            return
        if said is None or not rating.keep:
            self._answer(delivery, job, said)
        else:
            self._spawn(self._kept(delivery.reply, said, rating))

    async def _kept(self, reply: str, said: dict[str, object], rating: Rating) -> None:
        bus = self._pipeline.bus
        await _send(bus, reply, codec.encode(await kept(bus, self._pipeline.subjects, said, rating)))

    def _status(self, job: str, tenant: str | None) -> dict[str, object] | None:
        try:
            return self._pipeline.status(job, tenant=tenant)
        except UnknownJob:
            return None

    def _answer(self, delivery: Delivery, job: str, body: dict[str, object] | None) -> None:
        """Answer for a job that is here at once, and for one that is not a little later, if others might have it: the first
        answer is the one that counts."""
        if body is not None:
            self._reply(delivery, body)
        elif delivery.reply:
            wait_s = OTHERS_FIRST_S if self._pipeline.sharing.peers.others else 0.0
            self._spawn(self._unknown(delivery.reply, job, wait_s))

    async def _unknown(self, reply: str, job: str, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        await _send(self._pipeline.bus, reply, codec.encode(unknown(job)))

    def _attach(self, delivery: Delivery) -> None:
        """Take another dispatcher's question; whoever is no dispatcher gets no answer."""
        peers = self._pipeline.sharing.peers
        asker = self._pipeline.subjects.tokens(delivery.subject)[1]
        if not delivery.reply or asker == peers.me:
            return
        if asker not in peers.others:
            log.warning("attach.stranger", asker=asker)
            return
        try:
            order = self._pipeline.sharing.read(asker, _body(delivery.data))
        except BadRequest as error:
            log.warning("attach.garbled", asker=asker, error=error.message)
            return
        # Now, not in its own turn: of two questions that cross, each is judged by what runs when it comes.
        self._spawn(self._lend(self._pipeline.offer(order), order, delivery.reply))

    async def _lend(self, offer: Offer, order: AttachRequest, reply: str) -> None:
        if await self._pipeline.sharing.peers.say(offer.word, reply):
            self._pipeline.lend(order, offer, self._spawn)

    def _reply(self, delivery: Delivery, body: dict[str, object]) -> None:
        if delivery.reply:
            self._spawn(_send(self._pipeline.bus, delivery.reply, codec.encode(body)))


async def _send(bus: Bus, subject: str, payload: bytes) -> None:
    try:
        await bus.publish(subject, payload)
    except FleetError as error:
        log.warning("reply.unsent", error=error.code)


def _body(payload: bytes) -> dict[str, object]:
    """Read an order's body, which operators leave out; one that can't be read says nothing."""
    try:
        return codec.decode_request(payload)
    except BadRequest:
        return {}


def _text(body: dict[str, object], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) else None


def _seconds(body: dict[str, object], name: str) -> float:
    value = body.get(name)
    return min(float(value), MOST_KEEP_S) if isinstance(value, int | float) and value > 0 else 0.0
