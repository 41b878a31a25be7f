"""The cache of answers in the life of a job: one that was given before is given again, else the job runs, and its answer is kept.

No job fails or waits for it: what can't be looked up in time is not there. It knows neither the bus nor how a job runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from common.clock import Clock, loop_s, seconds_text
from common.errors import DeadlineExceeded
from common.frames import End
from common.logs import get_logger
from common.messages import Usage
from dispatcher.cache.claim import Claim
from dispatcher.cache.finding import Barred, Finder, Found, Look
from dispatcher.cache.flights import Flight, Flights, Following, Leading
from dispatcher.cache.guard import Judge
from dispatcher.cache.guard.refusals import unfit
from dispatcher.cache.keys import place, plain_text
from dispatcher.cache.plan import Plan, plan, unsound
from dispatcher.cache.replay import replay
from dispatcher.cache.shadow import Shadow
from dispatcher.cache.store import Shelter
from dispatcher.cache.tally import Given, Tallies
from dispatcher.cache.values import Entry, Kind, Place, Receipt
from dispatcher.delivery.sink import AnswerSink
from dispatcher.embed import EmbeddingService
from dispatcher.fleet import Fleet, canonical
from dispatcher.outcomes import Cached, CacheOutcome, Candidate, Delivered, Job, Terms

log = get_logger("cache")

LOOK_AGAIN_S = 0.2
"""So often a job looks for the answer that another dispatcher makes."""

DEVICE = "cache"
"""Where an answer comes from that no device gives now."""

Run = Callable[[AnswerSink], Awaitable[Delivered]]
"""Runs the job on the fleet, with a sink of ours in front of its own; never raises a `FleetError`."""


class Impatient(Exception):
    """The answer that another job makes does not begin: it is not waited for any longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the owner wants it: see `CacheSection`."""

    mode: str = "exact"
    tenants: dict[str, str] = field(default_factory=dict)
    epoch: str = ""
    max_temperature: float = 1.0
    replay_chars_s: float = 0.0
    share_s: float = 120.0

    def mode_of(self, tenant: str) -> str:
        """Give a tenant's mode."""
        return self.tenants.get(tenant, self.mode)


class Cache:
    """Answers jobs from what was answered before."""

    def __init__(
        self,
        shelter: Shelter,
        rules: Rules,
        *,
        embedding: EmbeddingService,
        judge: Judge,
        fleet: Callable[[], Fleet],
        strategy: Callable[[Job], str],
        clock: Clock,
        shadow: Shadow,
    ) -> None:
        self.shelter = shelter
        self.rules = rules
        self.tallies = Tallies()
        self.barred = Barred()
        self.finder = Finder(
            shelter=shelter, embedding=embedding, judge=judge, digests=self._digests, barred=self.barred
        )
        self._embedding = embedding
        self._fleet = fleet
        self._strategy = strategy
        self._clock = clock
        self._shadow = shadow
        self._flights = Flights()

    # -- the life of a job ---------------------------------------------------------------------------------------

    async def answer(self, job: Job, out: AnswerSink, run: Run) -> Delivered:
        """Answer a job: with what is kept, with what is just being answered, or by running it."""
        wanted, where = self._wanted(job)
        if wanted is None:
            return await run(out)
        if where is None:
            self._count(job, CacheOutcome.BYPASS, wanted.why)
            return replace(await run(out), cached=Cached(outcome=CacheOutcome.BYPASS, why=wanted.why))
        look = await self.finder.look(where, wanted, self.shelter.request())
        if look.found is not None and look.serves:
            return await self._give(job, where, look.found, out)
        if wanted.exact:
            return await self._shared(job, look, out, run)
        return await self._made(job, look, out, run)

    def _wanted(self, job: Job) -> tuple[Plan | None, Place | None]:
        """Give what the job may have, and where: no plan where there is no cache for it, and no place where it must do without."""
        mode = self.rules.mode_of(job.tenant)
        if mode == "off":
            return None, None
        wanted = plan(job, mode, max_temperature=self.rules.max_temperature)
        if not wanted.exact and not wanted.keeps:
            return wanted, None
        try:
            return wanted, place(job, strategy=self._strategy(job), epoch=self.rules.epoch)
        except TypeError:  # MessagePack may hold what has no form in JSON
            return Plan(why="the request has no form in JSON"), None

    async def explain(self, job: Job) -> dict[str, Any] | None:
        """Tell what a job would get, without a trace; None where there is no cache for it."""
        wanted, where = self._wanted(job)
        if wanted is None:
            return None
        if where is None:
            return Cached(outcome=CacheOutcome.BYPASS, why=wanted.why).brief()
        look = await self.finder.look(where, wanted, self.shelter.request())
        return self._told(look).brief()

    def explained(self, job_id: str, tenant: str | None) -> dict[str, Any] | None:
        """Tell whose answer a job got that was not run; None for others. Nobody was chosen for it."""
        given = self.tallies.find(tenant, job_id)
        return None if given is None else {"tenant": given.asked.tenant, "options": [], "cache": dict(given.told)}

    def state(self) -> dict[str, Any]:
        """Say how it is, for whoever looks after the house."""
        return {"mode": self.rules.mode, "store": self.shelter.kind, "state": self.shelter.state}

    # -- an answer that is there ---------------------------------------------------------------------------------

    async def _give(self, job: Job, where: Place, found: Found, out: AnswerSink) -> Delivered:
        """Give a kept answer."""
        entry, note = found.entry, self._note(found)
        chosen = Candidate(
            device=DEVICE,
            model=entry.receipt.model,
            score=1.0,
            terms=Terms(0.0, 0.0, 0.0),
            reason=f"{note.kind}: {note.why}",
            warm=True,
            simulated=entry.receipt.simulated,
            predicted_first_token_s=0.0,
            predicted_total_s=0.0,
            cached=note,
        )
        await out.ack()
        await out.route(chosen, 0)
        first_token_s = self._clock.monotonic() - job.received_s
        await replay(out, entry.text, chars_s=self.rules.replay_chars_s, deadline_s=job.deadline_s)
        await self.shelter.used(entry.place.tenant, entry.place.exact)
        self._count_hit(job, note)
        self.tallies.gave(job.tenant, job.id, Given(where, entry.place, note.brief()))
        end = End(usage=entry.receipt.usage)
        return Delivered(chosen=chosen, end=end, cached=note, first_token_s=first_token_s)

    def _note(self, found: Found) -> Cached:
        entry, said = found.entry, found.judgement
        receipt = entry.receipt
        age_s = max(0.0, self._clock.unix_s() - entry.created_unix_s)
        same = "the same request" if found.kind is Kind.EXACT else f"a question {found.similarity:.2f} alike"
        return Cached(
            outcome=CacheOutcome.HIT,
            why=f"{same} was answered {age_s:.0f} s ago by {receipt.device}" + (f": {said.why}" if said else ""),
            kind=str(found.kind),
            id=entry.id,
            similarity=found.similarity,
            chance=None if said is None else said.chance,
            age_s=age_s,
            source={"job": receipt.job, "device": receipt.device, "model": receipt.model},
            saved=saved(receipt),
        )

    def _told(self, look: Look) -> Cached:
        """Give what a look came to, as it is told."""
        if look.found is None:
            return Cached(outcome=look.outcome, why=look.why)
        if look.serves:
            return self._note(look.found)
        would = self._note(look.found)
        shadow = {
            "id": would.id,
            "similarity": would.similarity,
            "chance": would.chance,
            "would": True,
            "why": would.why,
        }
        return Cached(outcome=look.outcome, why="shadow: likeness is looked at, and not given", shadow=shadow)

    # -- an answer that is to be made ----------------------------------------------------------------------------

    async def _shared(self, job: Job, look: Look, out: AnswerSink, run: Run) -> Delivered:
        """Hear the answer of another job that asks the same, or make it for all that do."""
        key = look.place.exact
        while (flight := self._flights.find(key, job, out)) is not None:
            try:
                followed = await self._follow(job, flight, out)
            except Impatient:
                return await self._made(job, look, out, run)
            if followed is not None:
                return followed
            found = None if out.visible_chars else await self.finder.exactly(look.place, self.shelter.request())
            if found is not None:
                return await self._give(job, look.place, found, out)
        flight = self._flights.begin(key, job, out)
        claim = Claim(self.shelter, look.place, job.id)
        delivered: Delivered | None = None
        try:
            found = await self._elsewhere(job, claim, out)
            if found is not None:
                return await self._give(job, look.place, found, out)
            delivered = await self._made(job, look, Leading(out, flight, claim.renew), run)
            return delivered
        finally:
            self._flights.end(key, flight, delivered)
            await claim.release()

    async def _elsewhere(self, job: Job, claim: Claim, out: AnswerSink) -> Found | None:
        """Wait for the answer while another dispatcher makes it; None when this one is to."""
        until_s = self._patience_s(job)
        while not await claim.take():
            await out.ack()
            await asyncio.sleep(LOOK_AGAIN_S)
            found = await self.finder.exactly(claim.place, self.shelter.request())
            if found is not None or loop_s() >= until_s:
                return found
        return None

    def _patience_s(self, job: Job) -> float:
        """Give until when a job waits for the answer to another one, on the loop's clock."""
        return min(job.deadline_s, loop_s() + self.rules.share_s)

    async def _made(self, job: Job, look: Look, out: AnswerSink, run: Run) -> Delivered:
        """Run the job, and keep its answer if it is whole."""
        delivered = await run(out)
        self._count(job, look.outcome, look.reason)
        if delivered.end is not None and look.plan.keeps:
            await self._keep(job, look, delivered, out.text)
        return replace(delivered, cached=self._told(look))

    async def _follow(self, job: Job, flight: Flight, out: AnswerSink) -> Delivered | None:
        """Hear the answer that another job makes; None when it came to nothing. Raises `Impatient`."""
        await out.ack()
        following = Following(flight, out, lambda candidate: announced(flight.job, candidate))
        try:
            async with asyncio.timeout_at(self._patience_s(job)) as patience:
                landed = await following.follow(patience, job.deadline_s)
        except TimeoutError:
            if loop_s() >= job.deadline_s:
                return Delivered(error=late(job), cached=attached(flight.job))
            raise Impatient from None
        if landed is None or landed.chosen is None or landed.end is None:
            return None
        total_s = self._clock.monotonic() - flight.job.received_s
        chosen = announced(flight.job, landed.chosen)
        took = receipt_of(flight.job, landed, landed.chosen, digest="", total_s=total_s)
        told = replace(chosen.cached or attached(flight.job), saved=saved(took))
        self._count_hit(job, told)
        # What was paid was paid by the one that ran.
        return Delivered(
            chosen=replace(chosen, cached=told),
            end=replace(landed.end, cost_usd=None, cost_estimated=False),
            cached=told,
            first_token_s=None if following.spoke_s is None else following.spoke_s - job.received_s,
        )

    async def _keep(self, job: Job, look: Look, delivered: Delivered, text: str) -> None:
        """Keep an answer, before its end is told: whoever asks the same then finds it."""
        chosen, why = delivered.chosen, unsound(job, delivered, text)
        digest = None if chosen is None else self._digest(chosen)
        if not why and digest is None:
            why = "its device is gone"
        if why or chosen is None:
            for tally in self.tallies.both(job.tenant):
                tally.not_kept[why] += 1
            return
        total_s = self._clock.monotonic() - job.received_s
        receipt = receipt_of(job, delivered, chosen, digest=digest or "", total_s=total_s)
        entry = Entry(place=look.place, text=text, receipt=receipt, created_unix_s=self._clock.unix_s())
        await self.shelter.put(entry)
        if look.plan.likens:
            await self._liken(look)
        for tally in self.tallies.both(job.tenant):
            tally.kept += 1
        if look.found is not None:
            await self._shadow.compare(look.found, look.place, text)

    async def _liken(self, look: Look) -> None:
        """Have an answer be found by likeness, if its question is one for that."""
        where = look.place
        if where.exact in self.barred or unfit(where.question):
            return
        embedded = look.embedded or await self._embedding.embed(plain_text(where.question), of=where.tenant)
        if embedded.vector is not None and embedded.identity is not None:
            await self.shelter.add(where.tenant, where.scope, embedded.identity, embedded.vector, where.exact)

    def _count(self, job: Job, outcome: CacheOutcome, reason: str) -> None:
        for tally in self.tallies.both(job.tenant):
            tally.made(outcome, reason)

    def _count_hit(self, job: Job, told: Cached) -> None:
        for tally in self.tallies.both(job.tenant):
            tally.hit(told)

    # -- whose answer it was -------------------------------------------------------------------------------------

    def _digests(self, model: str) -> frozenset[str]:
        name = canonical(model)
        known = (device.models.get(name) for device in self._fleet().devices.values())
        return frozenset(one.digest or "" for one in known if one is not None)

    def _digest(self, chosen: Candidate) -> str | None:
        """Give the digest of the model that answered; None when its device is not known any more."""
        device = self._fleet().devices.get(chosen.device)
        model = None if device is None else device.models.get(canonical(chosen.model))
        return None if model is None else model.digest or ""


def attached(leader: Job) -> Cached:
    """Say that an answer is another job's too."""
    return Cached(
        outcome=CacheOutcome.HIT,
        why=f"job {leader.id} asks the same, and is being answered",
        kind=str(Kind.ATTACHED),
        source={"job": leader.id},
    )


def announced(leader: Job, candidate: Candidate) -> Candidate:
    """Give a leader's candidate as its followers are told of it."""
    note = attached(leader)
    told = replace(note, source={**note.source, "device": candidate.device, "model": candidate.model})
    return replace(candidate, reason=f"{told.kind}: {told.why}", cached=told)


def late(job: Job) -> DeadlineExceeded:
    """Say that a job's time was over before the answer to the other one was complete."""
    return DeadlineExceeded(
        f"the answer was not complete within {seconds_text(job.deadline_s - job.received_s)}: allow more time (timeout_s), "
        "or try again later",
        retry_after_s=1.0,
    )


def receipt_of(job: Job, delivered: Delivered, chosen: Candidate, *, digest: str, total_s: float) -> Receipt:
    """Say what an answer took."""
    end = delivered.end
    return Receipt(
        job=job.id,
        device=chosen.device,
        model=chosen.model,
        digest=digest,
        usage=Usage() if end is None else delivered.answer_usage,
        total_s=total_s,
        energy_j=_energy_j(delivered, chosen),
        cost_usd=None if end is None else end.cost_usd,
        cost_estimated=end is not None and end.cost_estimated,
        simulated=chosen.simulated,
    )


def _energy_j(delivered: Delivered, chosen: Candidate) -> float | None:
    """Estimate what the answer took, by what its device was to draw and for how long it was at work; None where nobody knows."""
    if chosen.predicted_energy_j is None or chosen.predicted_work_s <= 0:
        return None
    worked_s = sum(one.total_s for one in delivered.attempts if one.outcome == "ok")
    return chosen.predicted_energy_j * worked_s / chosen.predicted_work_s


def saved(receipt: Receipt) -> dict[str, Any]:
    """Say what giving an answer again saves."""
    told: dict[str, Any] = {"s": round(receipt.total_s, 3), "tokens": receipt.usage.completion_tokens}
    if receipt.energy_j is not None:
        told |= {"energy_j": round(receipt.energy_j, 3), "energy_estimated": True}
    if receipt.cost_usd is not None:
        told |= {"cost_usd": receipt.cost_usd} | ({"cost_estimated": True} if receipt.cost_estimated else {})
    return told
