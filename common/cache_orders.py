"""What operators ask of the caches of all dispatchers: figures, entries, to forget them, to report one; it knows no cache.

Each dispatcher is asked, since each may keep answers of its own. Those that share one Redis name the same entries: what is said of
several answers here counts them once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from common import codec
from common.bus import Bus
from common.errors import BadRequest, BusTimeout, FleetError, NoDispatcher, UnknownJob
from common.gathering import Gathered, gather
from common.subjects import Subjects, require_token

DISPATCHERS = "llm-dispatcher"
"""The name under which dispatchers answer discovery."""

ASK_S = 5.0
"""Looking takes milliseconds, also in Redis, whose answer is waited for some tens of them at most."""

PURGE_S = 30.0
"""Forgetting all of a large Redis may take seconds."""

SHARED = "redis"
LEAST_ID = 6

Json = Mapping[str, Any]


class CacheOrders:
    """The caches of a fleet, as their operator has them. With a `tenant`, all is about that one.

    Every method raises `NoDispatcher`, `BusTimeout` when dispatchers are there and none answers, `BusDisconnected`, or the error
    that all who answered gave.
    """

    def __init__(self, bus: Bus, subjects: Subjects, *, tenant: str | None = None) -> None:
        self._bus = bus
        self._subjects = subjects
        self._tenant = None if tenant is None else require_token("tenant", tenant)

    async def stats(self) -> Gathered:
        """Ask for the figures since each dispatcher's start."""
        return _useful(await self._asked("stats", {}))

    async def show(self, *, limit: int) -> Gathered:
        """Ask for the entries that were used last, at most so many of each store."""
        return _useful(await self._asked("show", {"limit": limit}))

    async def find(self, prefix: str) -> Gathered:
        """Ask for the entries whose id begins so; of a single one a dispatcher tells text and receipt too."""
        return _useful(await self._asked("show", {"id": prefix}))

    async def purge(self) -> Gathered:
        """Have all entries be forgotten."""
        return _useful(await self._asked("purge", {}, within_s=PURGE_S))

    async def report(self, which: str) -> Gathered:
        """Say that an answer was wrong: its entry and those like it go. `which` is the entry's id or at least six characters of it,
        or the job that was answered from it. Raises `UnknownJob` when no dispatcher knows it."""
        if len(which) < LEAST_ID:
            raise BadRequest(
                f"{which!r} is too short: give at least {LEAST_ID} characters of the entry's id", param="id"
            )
        return _useful(await self._asked("report", {"id": which}))

    async def _asked(self, verb: str, body: Json, *, within_s: float = ASK_S) -> Gathered:
        subject = self._subjects.cache(verb, self._tenant)
        found = await gather(
            self._bus, DISPATCHERS, subject, codec.encode(body), named_by="dispatcher", within_s=within_s
        )
        if found.answers:
            return found
        if found.silent and not found.nobody:
            raise BusTimeout(
                f"{', '.join(found.silent)} did not answer within {within_s:g} s: it hangs, or has too much to do; see its log"
            )
        if found.silent:
            raise NoDispatcher(
                f"{', '.join(found.silent)} knows no cache: it is of an older version, so update and restart it"
            )
        if not found.nobody:
            raise BusTimeout("a dispatcher hears this, and none has answered: it hangs, or is stopped; see its log")
        raise NoDispatcher("no dispatcher runs: start one (`drover dispatcher`), or `make up`")


def _useful(found: Gathered) -> Gathered:
    """Give it back when somebody did what was asked; else raise why not. Of several reasons the one that is not "I don't know it"
    says more."""
    if found.told or not found.errors:
        return found
    raise next((error for error in found.errors if not isinstance(error, UnknownJob)), found.errors[0])


def store_kind(answer: Json) -> str:
    """Give the kind of store that a dispatcher keeps its entries in; `stats` tells more of it than its name."""
    store = answer.get("store")
    return str(store.get("kind", "") if isinstance(store, Mapping) else store or "")


def entries(answers: Sequence[Json]) -> list[Json]:
    """Give the entries that answers tell of, each with the `dispatcher` that has it; empty where several share it. Those of one
    store stay in their order, the stores come by name."""
    found: dict[tuple[str, str, str], Json] = {}
    for answer in sorted(answers, key=lambda one: str(one.get("dispatcher", ""))):
        owner = "" if store_kind(answer) == SHARED else str(answer.get("dispatcher", ""))
        for entry in answer.get("entries") or ():
            found.setdefault(
                (owner, str(entry.get("tenant", "")), str(entry.get("id", ""))), {**entry, "dispatcher": owner}
            )
    return list(found.values())


def purged(answers: Iterable[Json]) -> int:
    """Give how many entries went. Those who share a store empty it side by side, and each counts what it removed itself."""
    counts = [answer.get("removed") for answer in answers]
    return sum(count for count in counts if isinstance(count, int))


def reported(answers: Sequence[Json]) -> list[str]:
    """Give the ids of the entries that went, each once."""
    return list(dict.fromkeys(str(one) for answer in answers for one in answer.get("removed") or ()))


def first_error(found: Gathered) -> FleetError | None:
    """Give what some of them could not do, where others could; that an entry is not theirs is no such thing."""
    return next((error for error in found.errors if not isinstance(error, UnknownJob)), None)
