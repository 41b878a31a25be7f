"""One job and the cache, from its look to what is kept of it. It knows neither the bus nor how a job runs.

A bug here, and whatever the store does, costs an answer from the cache and no job. What a request waits for is the look alone, all
of it within one budget; what is written comes after its end was told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from common.clock import loop_s
from common.frames import End
from common.logs import get_logger
from common.messages import Priority
from dispatcher.cache.claim import Claim
from dispatcher.cache.finding import Found, Look
from dispatcher.cache.flights import Flight, Following, Leading
from dispatcher.cache.guard.refusals import unfit
from dispatcher.cache.keys import plain_text
from dispatcher.cache.plan import unsound
from dispatcher.cache.receipts import attached, given, hit, late, looked, receipt_of, saved
from dispatcher.cache.replay import replay
from dispatcher.cache.tally import Given
from dispatcher.cache.values import Entry, Place
from dispatcher.delivery.sink import AnswerSink
from dispatcher.outcomes import Cached, CacheOutcome, Delivered, Job

if TYPE_CHECKING:
    from dispatcher.cache.cache import Cache

log = get_logger("cache")

LOOK_AGAIN_S = 0.2
"""So often a job looks for the answer that another dispatcher makes."""

Run = Callable[[AnswerSink], Awaitable[Delivered]]
"""Runs the job on the fleet, with a sink of ours in front of its own."""


class Serving:
    """One job. `answer` once, then `finish` when its end was told, and `close` whatever happened."""

    def __init__(self, house: Cache, job: Job) -> None:
        self._house = house
        self._job = job
        self._asking = house.shelter.request()
        self._look: Look | None = None
        self._found: Found | None = None
        self._flight: Flight | None = None
        self._claim: Claim | None = None

    async def answer(self, out: AnswerSink, run: Run) -> Delivered:
        """Answer the job: with what is kept, with what is just being made, or by running it."""
        wanted, where = self._house.wanted(self._job)
        if wanted is None:
            return await run(out)
        if where is None:
            self._house.count(self._job, CacheOutcome.BYPASS, wanted.why)
            told = Cached(outcome=CacheOutcome.BYPASS, why=wanted.why, reason=wanted.why)
            return replace(await run(out), cached=told)
        look = self._look = await self._house.look(self._job, where, wanted, self._asking)
        if look.found is not None and look.serves:
            return await self._give(look.found, out)
        if wanted.exact and wanted.shares:
            return await self._shared(look, out, run)
        return await self._run(look, out, run)

    async def finish(self, delivered: Delivered, text: str) -> None:
        """Keep what came of it, now that its end was told; never raises for what it does."""
        try:
            if self._found is not None:
                entry = self._found.entry
                await self._house.shelter.used(entry.place.tenant, entry.place.exact)
            elif self._look is not None:
                await self._house.tidy(self._look)
                if delivered.end is not None and self._look.plan.keeps and not _followed(delivered):
                    await self._keep(self._look, delivered, text)
        except Exception:
            log.exception("cache.crashed", job=self._job.id)

    async def close(self) -> None:
        """Let those go who wait for this one."""
        if self._flight is not None and self._look is not None:
            self._house.flights.end(self._look.place.exact, self._flight)
        if self._claim is not None:
            await self._claim.release()

    # -- an answer that is there ---------------------------------------------------------------------------------

    async def _give(self, found: Found, out: AnswerSink) -> Delivered:
        """Give a kept answer to somebody who has heard nothing yet."""
        job, self._found = self._job, found
        note = hit(found, self._house.clock.unix_s())
        chosen = given(found, note)
        out.restart()
        await out.ack()
        await out.route(chosen, 0)
        first_token_s = loop_s() - job.received_s
        await replay(out, found.entry.text, chars_s=self._house.rules.replay_chars_s, deadline_s=job.deadline_s)
        self._house.count_hit(job, note)
        if self._look is not None:
            self._house.gave(job, Given(self._look.place, found.entry.place, note.brief()))
        return Delivered(
            chosen=chosen, end=End(usage=found.entry.receipt.usage), cached=note, first_token_s=first_token_s
        )

    # -- an answer that is being made ----------------------------------------------------------------------------

    async def _shared(self, look: Look, out: AnswerSink, run: Run) -> Delivered:
        """Hear the answer of another job that asks the same, or make it for all that do."""
        job, flights, place = self._job, self._house.flights, look.place
        until_s = min(job.deadline_s, loop_s() + self._house.rules.share_s)
        out.restart()  # what nobody has seen is no beginning of another one's answer
        while (flight := flights.find(place.exact, job, out)) is not None:
            followed = await self._follow(flight, place, out, until_s)
            if followed is not None:
                return followed
            if flight.hopeless or not flight.lost:
                return await self._run(look, out, run)
            out.restart()
            found = None if out.visible_chars else await self._house.exactly(self._job, place, self._asking)
            if found is not None:
                return await self._give(found, out)
        self._flight = flights.begin(place.exact, job, out)
        found = None if out.visible_chars else await self._elsewhere(place, out, until_s)
        if found is not None:
            return await self._give(found, out)
        renew = (lambda: None) if self._claim is None else self._claim.renew
        delivered = await self._run(look, Leading(out, self._flight, renew), run)
        flights.land(self._flight, delivered)
        return delivered

    async def _follow(self, flight: Flight, place: Place, out: AnswerSink, until_s: float) -> Delivered | None:
        """Hear the answer that another job makes; None when it came to nothing, or did not begin in time."""
        job = self._job
        await out.ack()
        following = Following(flight, out, lambda candidate: attached(flight.job, candidate))
        try:
            with self._house.waits():
                async with asyncio.timeout_at(until_s) as patience:
                    landed = await following.follow(patience, job.deadline_s)
        except TimeoutError:
            return Delivered(error=late(job)) if loop_s() >= job.deadline_s else None
        if landed is None or landed.chosen is None or landed.end is None:
            return None
        told = attached(flight.job, landed.chosen)
        took = receipt_of(flight.job, landed, landed.chosen, digest="", total_s=loop_s() - flight.job.received_s)
        note = replace(told.cached or Cached(outcome=CacheOutcome.HIT), saved=saved(took))
        self._house.count_hit(job, note)
        self._house.gave(job, Given(place, place, note.brief()))
        # What was paid was paid by the one that ran.
        end = replace(landed.end, usage=landed.answer_usage, cost_usd=None, cost_estimated=False)
        spoke_s = following.spoke_s
        return Delivered(
            chosen=replace(told, cached=note),
            end=end,
            cached=note,
            first_token_s=None if spoke_s is None else spoke_s - job.received_s,
        )

    async def _elsewhere(self, place: Place, out: AnswerSink, until_s: float) -> Found | None:
        """Wait for the answer while another dispatcher makes it; None when this one is to. Somebody at a screen does not wait: how
        urgent the other one's job is nobody knows."""
        claim = self._claim = Claim(self._house.shelter, place, self._house.spawn)
        waited = False
        while not await claim.take(self._asking):
            if self._job.priority is Priority.INTERACTIVE:
                return None
            waited = True
            await out.ack()
            with self._house.waits():
                await asyncio.sleep(LOOK_AGAIN_S)
            self._asking = self._house.shelter.request()  # it waits on purpose
            found = await self._house.exactly(self._job, place, self._asking)
            if found is not None or loop_s() >= until_s:
                return found
        return await self._house.exactly(self._job, place, self._asking) if waited else None

    # -- an answer that is to be made ----------------------------------------------------------------------------

    async def _run(self, look: Look, out: AnswerSink, run: Run) -> Delivered:
        self._house.count(self._job, look.outcome, look.reason)
        return replace(await run(out), cached=looked(look, self._house.clock.unix_s()))

    async def _keep(self, look: Look, delivered: Delivered, text: str) -> None:
        """Keep an answer, if it is whole and its model is known still."""
        house, job, chosen = self._house, self._job, delivered.chosen
        why = unsound(job, delivered, text)
        digest = None if chosen is None else house.digest(chosen)
        if not why and digest is None:
            why = "its device is gone"
        house.count_kept(job, why)
        if why or chosen is None:
            return
        receipt = receipt_of(job, delivered, chosen, digest=digest or "", total_s=loop_s() - job.received_s)
        await house.shelter.put(
            Entry(place=look.place, text=text, receipt=receipt, created_unix_s=house.clock.unix_s())
        )
        house.gave(job, Given(look.place, look.place, {}))
        if look.plan.likens:
            await self._liken(look)
        if look.found is not None:
            house.spawn(house.shadow.compare(look.found, look.place, text, asker=job.asker))

    async def _liken(self, look: Look) -> None:
        """Have an answer be found by likeness, if its question is one for that."""
        where = look.place
        if where in self._house.barred or (look.embedded is None and unfit(where.question)):
            return
        embedded = look.embedded or await self._house.embed(plain_text(where.question), self._job.asker)
        if embedded.vector is not None and embedded.identity is not None:
            await self._house.shelter.add(where.tenant, where.scope, embedded.identity, embedded.vector, where.exact)


def _followed(delivered: Delivered) -> bool:
    return delivered.cached is not None and delivered.cached.hit
