"""Looks for an answer that was given before: the very same request first, then, where likeness will do, a question that means the
same. It gives nothing to anybody, and keeps nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from dispatcher.cache.guard import Judge, Judgement
from dispatcher.cache.guard.refusals import unfit
from dispatcher.cache.guard.together import Alike, judged, neighbours
from dispatcher.cache.keys import plain_text
from dispatcher.cache.plan import Plan
from dispatcher.cache.store import Asking
from dispatcher.cache.values import Entry, Kind, Near, Place
from dispatcher.embed import Embedded
from dispatcher.outcomes import CacheOutcome

COMPARED = 4
"""Entries that are judged for one question: a right answer stands among the nearest, and each costs a judgement."""

MOST_BARRED = 1000

Embed = Callable[[str, str], Awaitable[Embedded]]
"""Gives a text's vector, on behalf of somebody."""

Digests = Callable[[str], frozenset[str]]
"""Gives the digests under which the fleet has a model now; empty for a model that it has not."""

MayUse = Callable[[str, str], bool]
"""Tells whether who asks may use a device and a model, by their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An entry that answers a request."""

    entry: Entry
    kind: Kind
    similarity: float = 1.0
    judgement: Judgement | None = None


@dataclass(slots=True, kw_only=True)
class Look:
    """What a look came to. `found` is given where `serves` says so, else it is what likeness would have given. `why` is for whoever
    asked, and may quote words; `reason` is one of a few. `embedded` is the question's vector, where one was needed."""

    place: Place
    plan: Plan
    may_use: MayUse
    found: Found | None = None
    serves: bool = True
    outcome: CacheOutcome = CacheOutcome.MISS
    why: str = ""
    reason: str = ""
    embedded: Embedded | None = None
    gone: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    """Keys that are found by likeness and are not there, and those whose model was replaced."""

    def refuse(self, why: str, reason: str = "") -> None:
        """Note why likeness will not do; the first reason counts."""
        if self.outcome is not CacheOutcome.REFUSED:
            self.outcome, self.why, self.reason = CacheOutcome.REFUSED, why, reason or why


class Barred:
    """Questions that are not answered by likeness any more, nor answer others: somebody has said that it went wrong. Until this
    process ends."""

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def __contains__(self, place: Place) -> bool:
        return place.exact in self._tenants.get(place.tenant, {})

    def __len__(self) -> int:
        return sum(map(len, self._tenants.values()))

    def add(self, tenant: str, exact: str) -> None:
        """Bar one; where there are too many a tenant's own oldest goes, and of tenants the one that barred none for longest."""
        keys = self._tenants.setdefault(tenant, OrderedDict())
        self._tenants.move_to_end(tenant)
        keys[exact] = None
        keys.move_to_end(exact)
        for many in (keys, self._tenants):
            if len(many) > MOST_BARRED:
                many.popitem(last=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finder:
    """Looks for answers."""

    embed: Embed
    judge: Judge
    digests: Digests
    barred: Barred

    async def look(self, place: Place, plan: Plan, within: Asking, *, asker: str, may_use: MayUse) -> Look:
        """Look for an answer, within what is left of a request's time; never raises for what the store does."""
        look = Look(place=place, plan=plan, may_use=may_use, why=plan.why)
        if plan.exact:
            look.found = await self.exactly(place, within, may_use, look)
        if look.found is None and plan.semantic:
            await self._alike(look, within, asker)
        if look.found is not None and look.serves:
            look.outcome = CacheOutcome.HIT
        elif look.found is not None:
            look.outcome = CacheOutcome.MISS
        return look

    async def exactly(self, place: Place, within: Asking, may_use: MayUse, look: Look | None = None) -> Found | None:
        """Look for an answer to the very same request."""
        [entry] = await within.get(place.tenant, [place.exact])
        if entry is None or not _open_to(entry, may_use) or not self._holds(entry, look):
            return None
        return Found(entry=entry, kind=Kind.EXACT)

    async def _alike(self, look: Look, within: Asking, asker: str) -> None:
        """Look for an answer to a question that means the same, or say why not."""
        place = look.place
        why = "somebody reported such an answer" if place in self.barred else unfit(place.question)
        if why:
            look.refuse(why)
            return
        embedded = look.embedded = await self.embed(plain_text(place.question), asker)
        if embedded.vector is None or embedded.identity is None:
            look.refuse(f"there is no vector: {embedded.lacks}", "there is no vector")
            return
        count = neighbours(self.judge, most=COMPARED)
        near = await within.nearest(place.tenant, place.scope, embedded.identity, embedded.vector, count=count)
        if near and near[0].similarity >= self.judge.least_similarity:
            await self._judged(look, near, within)

    async def _judged(self, look: Look, near: list[Near], within: Asking) -> None:
        """Take the one that is judged to mean the same: the surest, where several are."""
        place = look.place
        entries = await within.get(place.tenant, [one.exact for one in near])
        look.gone += [one.exact for one, entry in zip(near, entries, strict=True) if entry is None]
        # The scope is compared once more: a store is not believed.
        there = [
            (one, entry)
            for one, entry in zip(near, entries, strict=True)
            if entry is not None and entry.place.scope == place.scope and entry.place not in self.barred
        ]
        alike = [Alike(question=entry.place.question, similarity=one.similarity) for one, entry in there]
        said = judged(self.judge, place.question, alike, most=COMPARED)
        fit = [
            (judgement, one, entry)
            for judgement, (one, entry) in zip(said, there, strict=False)
            if one.similarity >= self.judge.least_similarity
        ]
        same = [one for one in fit if one[0].same]
        for judgement, one, entry in sorted(
            same, key=lambda found: -(found[0].chance or 0.0)
        ):  # stable: else the nearest
            if _open_to(entry, look.may_use) and self._holds(entry, look):
                look.found = Found(entry=entry, kind=Kind.SEMANTIC, similarity=one.similarity, judgement=judgement)
                look.serves = look.plan.serves
                return
        for judgement, one, _ in fit:
            if not judgement.same:
                look.refuse(f"one {one.similarity:.2f} alike was refused: {judgement.why}", "another question")

    def _holds(self, entry: Entry, look: Look | None) -> bool:
        """True when the fleet has the model still, and the same weights under its name."""
        digests = self.digests(entry.receipt.model)
        if digests and entry.receipt.digest not in digests and look is not None:
            look.stale.append(entry.place.exact)
        return entry.receipt.digest in digests


def _open_to(entry: Entry, may_use: MayUse) -> bool:
    """True when whoever asks may use what has answered: names hold what was asked for, and rules may have changed since."""
    return may_use(entry.receipt.device, entry.receipt.model)
