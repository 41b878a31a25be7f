"""Between requests and what keeps their answers: a store that is away, slow, full or unwilling costs a request some milliseconds at
most, and then nothing. It knows no store.

Requests get the answer that fits an empty store; operators, who want to know, get the error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from common.clock import Clock
from common.errors import CacheUnavailable
from common.logs import get_logger
from dispatcher.breaker import CLOSED, Breaker, BreakerState, aged, failed, succeeded
from dispatcher.cache.protocols import AnswerStore, VectorIndex
from dispatcher.cache.values import Entry, Near, StoreStats, Summary
from dispatcher.embed.protocol import EmbedderId, Vector

T = TypeVar("T")

log = get_logger("cache")

COOL_DOWN_S = 1.0
"""A Redis that was restarted is back within a second."""

LONGEST_S = 30.0

OPERATOR_S = 4.0
"""How long an operator's look may take, and `PURGE_S` how long to forget everything: less than they wait for this dispatcher."""

PURGE_S = 25.0
STATS_S = 0.25

SHARED = "redis"

OPEN, FULL, SLOW = "open", "full", "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a part is. `state` is `open`, `away`, `slow`, `full` or `refused`; `since_unix_s` is when that began, 0 at the start."""

    part: str
    state: str = OPEN
    since_unix_s: float = 0.0
    why: str = ""


class Shelter:
    """The answers, and the vectors if there are any, as requests see them. Without `vectors` nothing is ever alike.

    What a request asks before it runs goes by `request`. The others below wait for `budget_s` each.
    """

    def __init__(
        self, answers: AnswerStore, vectors: VectorIndex | None, *, kind: str, budget_s: float, clock: Clock
    ) -> None:
        self._answers = answers
        self._vectors = vectors
        self.kind = kind
        self.budget_s = budget_s
        self._clock = clock
        self._wards = {part: _Ward(part, kind, clock) for part in ("answers", "vectors")}

    @property
    def health(self) -> list[Health]:
        """Say how each part is, without asking it."""
        return [ward.health for part, ward in self._wards.items() if part == "answers" or self._vectors is not None]

    @property
    def shared(self) -> bool:
        """True when other dispatchers see what is kept here."""
        return self.kind == SHARED

    @property
    def state(self) -> str:
        """Say in a word how it is: what is wrong with either part, or `open`."""
        return next((one.state for one in self.health if one.state != OPEN), OPEN)

    def request(self) -> Asking:
        """Begin a request: all that it asks has one budget."""
        return Asking(self._answers, self._vectors, self._wards, self.budget_s, self._clock)

    async def put(self, entry: Entry) -> None:
        """Keep an answer."""
        await self._wards["answers"].ask(lambda: self._answers.put(entry), self.budget_s, None, writes=True)

    async def used(self, tenant: str, key: str) -> None:
        """Note that an answer was given."""
        await self._wards["answers"].ask(lambda: self._answers.used(tenant, key), self.budget_s, None, writes=True)

    async def renew(self, tenant: str, key: str, owner: str, lease_s: float) -> None:
        """Say that `owner` still makes an answer."""
        await self.request().claim(tenant, key, owner, lease_s)

    async def release(self, tenant: str, key: str, owner: str) -> None:
        """Give up a claim."""
        await self._wards["answers"].ask(lambda: self._answers.release(tenant, key, owner), self.budget_s, None)

    async def add(self, tenant: str, scope: str, embedder: EmbedderId, vector: Vector, exact: str) -> None:
        """Have an answer be found by likeness."""
        if (vectors := self._vectors) is not None:
            await self._wards["vectors"].ask(
                lambda: vectors.add(tenant, scope, embedder, vector, exact), self.budget_s, None, writes=True
            )

    async def unlink(self, tenant: str, scope: str, keys: Sequence[str]) -> None:
        """Have some answers, which turned out to be gone, not be found by likeness."""
        if (vectors := self._vectors) is not None:
            await self._wards["vectors"].ask(lambda: vectors.remove(tenant, scope, keys), self.budget_s, None)

    async def forget(self, tenant: str, keys: Sequence[str]) -> None:
        """Forget answers that do not hold any more."""
        await self._wards["answers"].ask(lambda: self._answers.remove(tenant, keys), self.budget_s, None)

    async def stats(self) -> list[StoreStats]:
        """Say what each part keeps, and how it is; one that does not say within a quarter of a second is told as it was last."""
        told = [await self._wards["answers"].stats(self._answers.stats)]
        if (vectors := self._vectors) is not None:
            told.append(await self._wards["vectors"].stats(vectors.stats))
        return told

    async def remove(self, tenant: str, keys: Sequence[str]) -> int:
        """Forget answers, for an operator; gives how many there were. Raises `CacheUnavailable`."""
        return await _certain(self._answers.remove(tenant, keys), OPERATOR_S)

    async def remove_vectors(self, tenant: str, scope: str, keys: Sequence[str]) -> None:
        """Have answers not be found by likeness, for an operator. Raises `CacheUnavailable`."""
        if self._vectors is not None:
            await _certain(self._vectors.remove(tenant, scope, keys), OPERATOR_S)

    async def alike(self, tenant: str, scope: str, embedder: EmbedderId, vector: Vector, *, count: int) -> list[Near]:
        """Give what is most alike, best first, for an operator. Raises `CacheUnavailable`."""
        if self._vectors is None:
            return []
        return await _certain(self._vectors.nearest(tenant, scope, embedder, vector, count=count), OPERATOR_S)

    async def listed(self, tenant: str | None, *, limit: int) -> list[Summary]:
        """Give the answers that were used last, for an operator. Raises `CacheUnavailable`."""
        return await _certain(self._answers.listed(tenant, limit=limit), OPERATOR_S)

    async def found(self, tenant: str, keys: Sequence[str]) -> list[Entry | None]:
        """Give answers, for an operator. Raises `CacheUnavailable`."""
        return await _certain(self._answers.get(tenant, keys), OPERATOR_S)

    async def purge(self, tenant: str | None) -> int:
        """Forget all of a tenant, or of all, for an operator; gives how many answers there were. Raises `CacheUnavailable`: then
        some may be left."""
        if self._vectors is not None:
            await _certain(self._vectors.purge(tenant), PURGE_S)
        return await _certain(self._answers.purge(tenant), PURGE_S)


class Asking:
    """What one request asks, all together within its budget: only the time that it waits here counts."""

    def __init__(
        self,
        answers: AnswerStore,
        vectors: VectorIndex | None,
        wards: dict[str, _Ward],
        budget_s: float,
        clock: Clock,
    ) -> None:
        self._answers = answers
        self._vectors = vectors
        self._wards = wards
        self._clock = clock
        self.left_s = budget_s
        """What is left of the budget."""

    async def get(self, tenant: str, keys: Sequence[str]) -> list[Entry | None]:
        """Give the answers under some keys, in their order; None for each that is not there, or can't be had now."""
        nothing: list[Entry | None] = [None] * len(keys)
        return await self._ask("answers", lambda: self._answers.get(tenant, keys), absent=nothing)

    async def claim(self, tenant: str, key: str, owner: str, lease_s: float) -> bool:
        """Say that `owner` makes an answer; False while another does. True as well where nobody can know: to make an answer twice
        is better than to wait for one that nobody makes."""
        return await self._ask("answers", lambda: self._answers.claim(tenant, key, owner, lease_s), absent=True)

    async def nearest(self, tenant: str, scope: str, embedder: EmbedderId, vector: Vector, *, count: int) -> list[Near]:
        """Give what is most alike, best first; nothing where that can't be known now."""
        vectors = self._vectors
        if vectors is None:
            return []
        return await self._ask(
            "vectors", lambda: vectors.nearest(tenant, scope, embedder, vector, count=count), absent=[]
        )

    async def _ask(self, part: str, question: Callable[[], Awaitable[T]], *, absent: T) -> T:
        started_s = self._clock.monotonic()
        try:
            return await self._wards[part].ask(question, self.left_s, absent)
        finally:
            self.left_s -= self._clock.monotonic() - started_s


class _Ward:
    """One part, with its breaker and what was said of it."""

    def __init__(self, part: str, kind: str, clock: Clock) -> None:
        self._part = part
        self._clock = clock
        self._breaker: Breaker = CLOSED
        self._trying = False
        self._full = ""
        self._last = StoreStats(kind=kind)
        self.health = Health(part=part)

    async def ask(self, question: Callable[[], Awaitable[T]], within_s: float, absent: T, *, writes: bool = False) -> T:
        """Put a question, unless the part is known not to answer or no time is left; gives `absent` when there is no answer."""
        self._breaker = aged(self._breaker, self._clock.monotonic())
        trial = self._breaker.state is BreakerState.HALF_OPEN
        if within_s <= 0 or self._breaker.state is BreakerState.OPEN or (trial and self._trying):
            return absent
        self._trying = self._trying or trial
        started_s = self._clock.monotonic()
        try:
            async with asyncio.timeout(within_s):
                answer = await question()
        except TimeoutError:
            self._late(within_s, self._clock.monotonic() - started_s)
        except CacheUnavailable as error:
            self._failed(str(error.details.get("state", "away")), error.message)
        else:
            self._worked(writes)
            return answer
        finally:
            if trial:
                self._trying = False
        return absent

    async def stats(self, question: Callable[[], Awaitable[StoreStats]]) -> StoreStats:
        """Say what the part keeps, as it was last known if need be."""
        if self._breaker.state is BreakerState.CLOSED:
            try:
                self._last = await _certain(question(), STATS_S)
            except CacheUnavailable as error:
                return replace(self._last, state=str(error.details.get("state", "away")), detail=error.message)
        health = self.health
        return self._last if health.state == OPEN else replace(self._last, state=health.state, detail=health.why)

    def _late(self, within_s: float, waited_s: float) -> None:
        # Where even the alarm came that late, it was this process that had no time, and the answer may have been there.
        if waited_s <= 2 * within_s:
            self._failed(SLOW, f"it did not answer within {within_s * 1000:.3g} ms")

    def _failed(self, state: str, why: str) -> None:
        if state == FULL:  # it is there, and may well be read
            self._worked(writes=False)
            if not self._full:
                log.warning("cache.full", part=self._part, why=why)
            self._full = why
            self._show(FULL, why)
            return
        now_s = self._clock.monotonic()
        before = self._breaker
        self._breaker = failed(before, why, now_s, cool_down_s=COOL_DOWN_S, longest_s=LONGEST_S)
        if self._breaker.state is not BreakerState.OPEN or before.state is BreakerState.OPEN:
            return
        if before.state is BreakerState.CLOSED:
            log.warning("cache.away", part=self._part, state=state, why=why)
        self._show(state, why)

    def _worked(self, writes: bool) -> None:
        if self._breaker.state is not BreakerState.CLOSED:
            away_s = self._clock.unix_s() - self.health.since_unix_s
            log.info("cache.back", part=self._part, away_s=round(away_s, 3))
        elif self._full and writes:
            log.info("cache.room", part=self._part)
        self._breaker = succeeded()
        if writes:
            self._full = ""
        self._show(FULL if self._full else OPEN, self._full)

    def _show(self, state: str, why: str) -> None:
        """Say how it is; a state that lasts keeps its beginning."""
        if state != self.health.state:
            self.health = Health(part=self._part, state=state, since_unix_s=self._clock.unix_s(), why=why)
        elif why != self.health.why:
            self.health = replace(self.health, why=why)


async def _certain(question: Awaitable[T], within_s: float) -> T:
    """Give the answer. Raises `CacheUnavailable`, also when it takes too long."""
    try:
        async with asyncio.timeout(within_s):
            return await question
    except TimeoutError as error:
        raise CacheUnavailable(
            f"the store of answers did not answer within {within_s:g} s: try again", state=SLOW
        ) from error
