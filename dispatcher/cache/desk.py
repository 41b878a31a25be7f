"""What operators ask of the cache: figures, entries, to forget them, to report a wrong one; it knows no subject, and serves no job.

Unlike jobs, operators are told when the store can't be had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from common import codec
from common.clock import Clock
from common.errors import BadRequest, CacheUnavailable, UnknownJob
from dispatcher.cache.cache import Cache
from dispatcher.cache.keys import DIGEST_CHARS, plain_text
from dispatcher.cache.values import Entry, Place, Summary
from dispatcher.embed import EmbeddingService

MOST_LISTED = 1000
MOST_SEARCHED = 1_000_000
MOST_LIKE = 200
"""Entries like a wrong one that are forgotten with it, at most."""

MOST_KEYS = 16

LEAST_ID_CHARS = 6


class CacheDesk:
    """Serves the operators of one dispatcher's cache."""

    def __init__(self, cache: Cache, *, dispatcher: str, embedding: EmbeddingService, clock: Clock) -> None:
        self._cache = cache
        self.dispatcher = dispatcher
        self._embedding = embedding
        self._clock = clock

    async def serve(self, verb: str, tenant: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        """Do what is asked, for a tenant or for all. Raises `BadRequest`, `UnknownJob`, `CacheUnavailable`."""
        match verb:
            case "stats":
                told = await self._stats(tenant)
            case "show":
                told = await self._show(tenant, body)
            case "purge":
                told = {"removed": await self._cache.shelter.purge(tenant)}
            case "report":
                told = await self._report(tenant, body)
            case "bar" if tenant is not None:
                told = self._bar(tenant, body)
            case _:
                raise BadRequest(f"{verb[:40]!r} is nothing that a cache does: ask stats, show, purge or report")
        return {"dispatcher": self.dispatcher, "store": self._cache.shelter.kind} | told

    async def _stats(self, tenant: str | None) -> dict[str, Any]:
        """Give all figures, or what a tenant may know: its own. What the store can't say now is told as its state, and is no error:
        that is what one asks for."""
        cache, identity = self._cache, self._embedding.identity
        parts = [asdict(one) for one in await cache.shelter.stats()]
        told = {
            "mode": cache.rules.mode if tenant is None else cache.rules.mode_of(tenant),
            "judge": cache.finder.judge.name,
            "embedder": None if identity is None else str(identity),
            **cache.tallies.of(tenant).brief(),
        }
        if tenant is None:
            index = parts[-1] if len(parts) > 1 else None
            return {**told, "tenants": dict(cache.rules.tenants), "store": parts[0], "index": index}
        return {**told, "store": {"kind": parts[0]["kind"], "state": parts[0]["state"], **await self._held(tenant)}}

    async def _held(self, tenant: str) -> dict[str, int]:
        """Count what is kept of a tenant."""
        try:
            mine = await self._cache.shelter.listed(tenant, limit=MOST_SEARCHED)
        except CacheUnavailable:
            return {}
        return {"entries": len(mine), "size_bytes": sum(one.size_bytes for one in mine)}

    async def _show(self, tenant: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        wanted = body.get("id")
        if wanted is None:
            listed = await self._cache.shelter.listed(tenant, limit=_limit(body))
            return {"entries": [self._line(one) for one in listed]}
        found = await self._search(tenant, _id(wanted))
        told: dict[str, Any] = {"entries": [self._line(one) for one in found[:MOST_LISTED]]}
        entry = await self._entry(found[0]) if len(found) == 1 else None
        if entry is not None:
            told |= {"text": entry.text, "receipt": codec.plain(entry.receipt)}
        return told

    async def _report(self, tenant: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        """Forget a wrong answer and those like it, and bar both questions from likeness: else the new answer to one of them would
        be the other one's."""
        which = _id(body.get("id"))
        given = self._cache.tallies.find(tenant, which)
        if given is not None:
            return await self._forget(given.kept, given.asked)
        found = await self._search(tenant, which)
        if len(found) > 1:
            raise BadRequest(f"{len(found)} entries have an id that begins so: give more of it", param="id")
        entry = await self._entry(found[0])
        if entry is None:
            raise UnknownJob("that entry has just gone")
        return await self._forget(entry.place, entry.place)

    def _bar(self, tenant: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Do as another dispatcher has done that was told of a wrong answer."""
        keys = body.get("keys")
        if not isinstance(keys, list) or len(keys) > MOST_KEYS or not all(isinstance(one, str) for one in keys):
            raise BadRequest(
                f"keys is {keys!r:.40}: send a list of at most {MOST_KEYS} names of requests", param="keys"
            )
        for key in keys:
            self._cache.barred.add(tenant, key[:DIGEST_CHARS])
        return {"barred": len(keys)}

    async def _forget(self, place: Place, asked: Place) -> dict[str, Any]:
        shelter, barred = self._cache.shelter, sorted({place.exact, asked.exact})
        self._bar(place.tenant, {"keys": barred})
        like = await self._like(place)
        gone = [place.exact, *(one for one in like if one != place.exact)]
        known = [one for one in await shelter.found(place.tenant, gone) if one is not None]
        await shelter.remove_vectors(place.tenant, place.scope, gone)
        await shelter.remove(place.tenant, gone)
        for tally in self._cache.tallies.both(place.tenant):
            tally.reported += 1
        return {"removed": [one.id for one in known], "tenant": place.tenant, "bar": barred}

    async def _like(self, place: Place) -> list[str]:
        """Give the keys of entries whose questions are like this one: what is wrong for one of them may be so for the others."""
        if not place.scope:
            return []
        embedded = await self._embedding.embed(plain_text(place.question), of=place.tenant)
        if embedded.vector is None or embedded.identity is None:
            return []
        near = await self._cache.shelter.alike(
            place.tenant, place.scope, embedded.identity, embedded.vector, count=MOST_LIKE
        )
        return [one.exact for one in near if one.similarity >= self._cache.finder.judge.least_similarity]

    async def _search(self, tenant: str | None, prefix: str) -> list[Summary]:
        """Give the entries whose id begins so. Raises `UnknownJob` where there is none."""
        listed = await self._cache.shelter.listed(tenant, limit=MOST_SEARCHED)
        found = [one for one in listed if one.exact.startswith(prefix)]
        if not found:
            raise UnknownJob(
                f"no entry's id begins with {prefix!r:.80}, and no job of that name was answered from here lately"
            )
        return found

    async def _entry(self, summary: Summary) -> Entry | None:
        [entry] = await self._cache.shelter.found(summary.tenant, [summary.exact])
        return entry

    def _line(self, one: Summary) -> dict[str, Any]:
        age_s = max(0.0, self._clock.unix_s() - one.created_unix_s)
        return {
            "id": one.id,
            "tenant": one.tenant,
            "question": one.question,
            "model": one.model,
            "device": one.device,
            "age_s": round(age_s, 1),
            "size_bytes": one.size_bytes,
            "hits": one.hits,
            "semantic": one.semantic,
        }


def _limit(body: Mapping[str, Any]) -> int:
    limit = body.get("limit", 50)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_LISTED:
        raise BadRequest(f"limit is {limit!r:.40}: send 1 to {MOST_LISTED}", param="limit")
    return limit


def _id(value: object) -> str:
    if not isinstance(value, str) or not LEAST_ID_CHARS <= len(value) <= 64:
        raise BadRequest(
            f"id is {value!r:.40}: send at least {LEAST_ID_CHARS} characters of an entry's id, or a job's", param="id"
        )
    return value
