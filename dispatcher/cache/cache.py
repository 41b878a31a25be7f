"""The cache of answers: what all jobs share of it. It knows neither the bus nor how a job runs; one job's way is `serving`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from common.clock import Clock
from common.lifecycle import Spawn
from common.logs import get_logger
from dispatcher.cache.finding import Barred, Finder, Found, Look, MayUse
from dispatcher.cache.flights import Flights
from dispatcher.cache.guard import Judge
from dispatcher.cache.keys import place
from dispatcher.cache.plan import Plan, plan
from dispatcher.cache.receipts import looked
from dispatcher.cache.serving import Serving
from dispatcher.cache.shadow import Shadow
from dispatcher.cache.store import Asking, Shelter
from dispatcher.cache.tally import Given, Tallies, Tally
from dispatcher.cache.values import Place
from dispatcher.embed import Embedded, EmbeddingService
from dispatcher.fleet import Fleet, canonical
from dispatcher.outcomes import Cached, CacheOutcome, Candidate, Job
from dispatcher.settings import CacheSection

log = get_logger("cache")

EMBED_S = 0.25
"""A question whose vector takes longer runs: the embedder has a queue before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the owner wants it: see `CacheSection`, which has the defaults."""

    mode: str
    tenants: dict[str, str] = field(default_factory=dict)
    epoch: str
    max_temperature: float
    replay_chars_s: float
    share_s: float

    def mode_of(self, tenant: str) -> str:
        """Give a tenant's mode."""
        return self.tenants.get(tenant, self.mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the cache knows of the dispatcher around it: the fleet as it is now, how a job's device is chosen, and whether it may
    use a device and a model. `spawn` starts what nobody waits for."""

    fleet: Callable[[], Fleet]
    strategy: Callable[[Job], str]
    may_use: Callable[[Job, str, str], bool]
    clock: Clock
    spawn: Spawn


class Cache:
    """Answers jobs from what was answered before. Open one with `running_cache`."""

    def __init__(
        self, shelter: Shelter, rules: Rules, house: House, *, embedding: EmbeddingService, judge: Judge, shadow: Shadow
    ) -> None:
        self.shelter = shelter
        self.rules = rules
        self.clock = house.clock
        self.spawn = house.spawn
        self.shadow = shadow
        self.tallies = Tallies()
        self.barred = Barred()
        self.flights = Flights()
        self.tune: Callable[[CacheSection], Callable[[], None]] | None = None
        """Gives what has it go by other settings, of those that a running cache can; set by who opened it."""
        self.waiting = 0
        """Jobs that wait for the answer of another one: they want no slot."""
        self.finder = Finder(embed=self.embed, judge=judge, digests=self._digests, barred=self.barred)
        self._house = house
        self._embedding = embedding

    def serving(self, job: Job) -> Serving:
        """Begin to serve a job."""
        return Serving(self, job)

    def wanted(self, job: Job) -> tuple[Plan | None, Place | None]:
        """Give what a job may have, and where: no plan where there is no cache for it, and no place where it must do without."""
        mode = self.rules.mode_of(job.tenant)
        if mode == "off":
            return None, None
        wanted = plan(job, mode, max_temperature=self.rules.max_temperature)
        if not wanted.exact and not wanted.keeps:
            return wanted, None
        try:
            return wanted, place(job, strategy=self._house.strategy(job), epoch=self.rules.epoch)
        except TypeError:  # MessagePack may hold what has no form in JSON
            return Plan(why="the request has no form in JSON"), None

    async def look(self, job: Job, where: Place, wanted: Plan, within: Asking) -> Look:
        """Look for an answer; a bug on the way costs the answer, and no job."""
        try:
            return await self.finder.look(where, wanted, within, asker=job.asker, may_use=self._open_to(job))
        except Exception:
            log.exception("cache.crashed", job=job.id)
            return Look(
                place=where,
                plan=wanted,
                may_use=self._open_to(job),
                why="the look failed: the dispatcher's log says why",
                reason="bug",
            )

    async def exactly(self, job: Job, where: Place, within: Asking) -> Found | None:
        """Look for an answer to the very same request; a bug is as above."""
        try:
            return await self.finder.exactly(where, within, self._open_to(job))
        except Exception:
            log.exception("cache.crashed")
            return None

    async def tidy(self, look: Look) -> None:
        """Forget what a look has found to be gone, or of another model."""
        if look.gone:
            await self.shelter.unlink(look.place.tenant, look.place.scope, look.gone)
        if look.stale:
            await self.shelter.forget(look.place.tenant, look.stale)

    async def embed(self, text: str, asker: str) -> Embedded:
        """Give a text's vector, or why there is none in time."""
        try:
            async with asyncio.timeout(EMBED_S):
                return await self._embedding.embed(text, of=asker)
        except TimeoutError:
            lacks = f"it took longer than {EMBED_S:g} s"
            return Embedded(vector=None, lacks=lacks, identity=self._embedding.identity)

    # -- what is told --------------------------------------------------------------------------------------------

    async def explain(self, job: Job) -> dict[str, Any] | None:
        """Tell what a job would get, without a trace; None where there is no cache for it."""
        wanted, where = self.wanted(job)
        if wanted is None:
            return None
        if where is None:
            return Cached(outcome=CacheOutcome.BYPASS, why=wanted.why).brief()
        look = await self.look(job, where, wanted, self.shelter.request())
        return looked(look, self.clock.unix_s()).brief()

    def explained(self, job_id: str, tenant: str | None) -> dict[str, Any] | None:
        """Tell whose answer a job got that was not run; None for others. Nobody was chosen for it."""
        found = self.tallies.find(tenant, job_id)
        if found is None or not found.told:
            return None
        return {"tenant": found.asked.tenant, "options": [], "cache": dict(found.told)}

    def state(self) -> dict[str, Any]:
        """Say how it is, for whoever looks after the house."""
        return {"mode": self.rules.mode, "store": self.shelter.kind, "state": self.shelter.state}

    # -- what is counted -----------------------------------------------------------------------------------------

    def count(self, job: Job, outcome: CacheOutcome, reason: str) -> None:
        """Count a job that is run."""
        self._each(job, lambda tally: tally.made(outcome, reason))

    def count_hit(self, job: Job, told: Cached) -> None:
        """Count one that is not."""
        self._each(job, lambda tally: tally.hit(told))

    def count_kept(self, job: Job, why_not: str) -> None:
        """Count an answer that is kept, or why it is not."""
        self._each(job, lambda tally: tally.keeps(why_not))

    def gave(self, job: Job, given: Given) -> None:
        """Remember which answer a job got, or made, for whoever finds it wrong."""
        self.tallies.gave(job.tenant, job.id, given)

    @contextmanager
    def waits(self) -> Iterator[None]:
        """Count a job that wants no slot meanwhile."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    def _each(self, job: Job, count: Callable[[Tally], None]) -> None:
        for tally in self.tallies.both(job.tenant):
            count(tally)

    # -- the models of the fleet ---------------------------------------------------------------------------------

    def digest(self, chosen: Candidate) -> str | None:
        """Give the digest of the model that answered; None when its device is not known any more."""
        device = self._house.fleet().devices.get(chosen.device)
        model = None if device is None else device.models.get(canonical(chosen.model))
        return None if model is None else model.digest or ""

    def _open_to(self, job: Job) -> MayUse:
        return partial(self._house.may_use, job)

    def _digests(self, model: str) -> frozenset[str]:
        name = canonical(model)
        known = (device.models.get(name) for device in self._house.fleet().devices.values())
        return frozenset(one.digest or "" for one in known if one is not None)
