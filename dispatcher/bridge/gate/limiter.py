"""How often a key may ask and come, and how many jobs it may have at once; plain counting, with the clock as an argument.

Each bridge counts for itself: behind several of them a key has as many times its limit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from common.errors import TooMany, rounded_up
from common.keys import Budget, Grant, Period, Unit

MOST_KEYS = 10_000
"""So many keys are counted for; one that has not asked for long makes room, and begins anew."""

MINUTE_S = 60.0

COMES_FOR_EACH = 10
"""Where a key may ask so often a minute, it may come so many times as often, for whatever: who asks looks for the answer too, and
at what else the fleet does."""

FEWEST_COMES = 600
"""So often it may come at least: a few open pages read a few times a second, and not ten times."""

PARALLEL_RETRY_S = 1.0

MOST_FOLLOWED = 32
"""Streams of durable jobs that a key's programs and pages may follow at once: a job may lie in the queue for hours, and each stream
is a connection here and a consumer on the bus."""

NOISE = 1e-9
"""What sums of floats are wrong by: who waited as long as told has a whole request again."""

OF_NOW_S = 5.0
"""So long what was said of a budget is told: jobs that run beside it change it all the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a key stands: of `limit` requests or tokens there are `remaining`, None where nobody has said lately, and all of them
    again in `reset_s`; None, never."""

    limit: int
    remaining: int | None
    reset_s: float | None


@dataclass(slots=True)
class _Bucket:
    """What is left, and when that was so."""

    left: float
    at_s: float


@dataclass(frozen=True, slots=True)
class _Told:
    """What the ledger has said of a budget, and when it was asked."""

    budget: Budget
    at_s: float


class _Buckets:
    """A bucket for each key, which fills evenly and holds one minute's worth."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: str, limit: int, now_s: float) -> float:
        """Take one out; where there is none, nothing is taken, and this gives the seconds until there is one."""
        bucket = self.filled(key, limit, now_s)
        if bucket.left < 1.0 - NOISE:
            return (1.0 - bucket.left) * MINUTE_S / limit
        bucket.left -= 1.0
        return 0.0

    def filled(self, key: str, limit: int, now_s: float) -> _Bucket:
        """Give a key's bucket as it is now."""
        bucket = self._buckets.setdefault(key, _Bucket(float(limit), now_s))
        self._buckets.move_to_end(key)
        if len(self._buckets) > MOST_KEYS:
            self._buckets.popitem(last=False)
        bucket.left = min(float(limit), bucket.left + (now_s - bucket.at_s) * limit / MINUTE_S)
        bucket.at_s = now_s
        return bucket


class Limiter:
    """Counts for each key what it asks, and apart from that how often it comes at all: who may ask no more may still look why."""

    def __init__(self) -> None:
        self._asked = _Buckets()
        self._come = _Buckets()
        self._running: dict[str, int] = {}
        self._followed: dict[str, int] = {}
        self._budgets: OrderedDict[str, dict[tuple[Unit, Period], _Told]] = OrderedDict()

    def ask(self, grant: Grant, now_s: float) -> None:
        """Count a request that gives the fleet work. Raises `TooMany`, with the time until there is room."""
        limit = grant.requests_per_minute
        if limit is not None and (wait_s := self._asked.take(grant.key, limit, now_s)):
            raise TooMany(
                f"key {grant.name!r} may ask {limit} times a minute: wait {rounded_up(wait_s, 1):g} s, or have its limit raised",
                retry_after_s=wait_s,
            )

    def come(self, grant: Grant, now_s: float) -> None:
        """Count a request, whatever it is for, where the key may not ask as often as it likes. Raises `TooMany` as `ask`."""
        if grant.requests_per_minute is None:
            return
        most = max(FEWEST_COMES, COMES_FOR_EACH * grant.requests_per_minute)
        if wait_s := self._come.take(grant.key, most, now_s):
            raise TooMany(
                f"key {grant.name!r} may send {most} requests a minute, also of those that only read: look less often",
                retry_after_s=wait_s,
            )

    def requests(self, grant: Grant, now_s: float) -> Standing | None:
        """Say how a key stands with what it may ask; None where it has no limit."""
        limit = grant.requests_per_minute
        if limit is None:
            return None
        left = self._asked.filled(grant.key, limit, now_s).left
        return Standing(limit=limit, remaining=int(left + NOISE), reset_s=(limit - left) * MINUTE_S / limit)

    def note(self, key: str, budgets: Iterable[Budget], at_s: float) -> None:
        """Remember what the ledger has said of some of a key's budgets, which was asked at `at_s`."""
        known = self._budgets.setdefault(key, {})
        for one in budgets:
            before = known.get((one.unit, one.period))
            if before is None or before.at_s <= at_s:  # answers may overtake each other
                known[one.unit, one.period] = _Told(one, at_s)
        self._budgets.move_to_end(key)
        if len(self._budgets) > MOST_KEYS:
            self._budgets.popitem(last=False)

    def tokens(self, grant: Grant, at_s: float, now_s: float, now_unix_s: float) -> Standing | None:
        """Say how a key stands with its tokens, by the budget that has the fewest left; None where it has none of them. `at_s` is
        when the ledger was asked for the grant. What is left is told only while that is of now: else there are but the smallest
        limit, and when that begins anew."""
        counted = [one for one in grant.budgets if one.unit is Unit.TOKENS]
        if not counted:
            return None
        told = [self._last(grant.key, one, at_s) for one in counted]
        now = all(now_s - one.at_s <= OF_NOW_S for one in told)
        least = min((one.budget for one in told), key=_left) if now else min(counted, key=lambda one: one.limit)
        reset_s = None if least.resets_unix_s is None else max(0.0, least.resets_unix_s - now_unix_s)
        return Standing(limit=least.limit, remaining=_left(least) if now else None, reset_s=reset_s)

    def _last(self, key: str, budget: Budget, at_s: float) -> _Told:
        """Give what was said last of a budget. What was noted is of another time where the owner has changed its limit since."""
        noted = self._budgets.get(key, {}).get((budget.unit, budget.period))
        newer = noted is not None and noted.at_s >= at_s and noted.budget.limit == budget.limit
        return noted if noted is not None and newer else _Told(budget, at_s)

    @contextmanager
    def running(self, grant: Grant) -> Iterator[None]:
        """Count a job for as long as it runs; where nothing is limited, nothing is counted. Raises `TooMany` for one too many."""
        if grant.parallel is None:
            yield
            return
        now = self._running.get(grant.key, 0)
        if now >= grant.parallel:
            raise TooMany(
                f"key {grant.name!r} has {now} jobs at once, and may have {grant.parallel}: wait for one to end",
                retry_after_s=PARALLEL_RETRY_S,
            )
        with _one_more(self._running, grant.key):
            yield

    @contextmanager
    def following(self, grant: Grant) -> Iterator[None]:
        """Count a stream of a job's events for as long as somebody reads it. Raises `TooMany` for one too many."""
        now = self._followed.get(grant.key, 0)
        if now >= MOST_FOLLOWED:
            raise TooMany(
                f"key {grant.name!r} follows {now} jobs at once, and no key may follow more: close one, or look now and then "
                "how far it is (GET /api/v1/jobs/ID)",
                retry_after_s=PARALLEL_RETRY_S,
            )
        with _one_more(self._followed, grant.key):
            yield


@contextmanager
def _one_more(counts: dict[str, int], key: str) -> Iterator[None]:
    counts[key] = counts.get(key, 0) + 1
    try:
        yield
    finally:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]


def _left(budget: Budget) -> int:
    return max(0, budget.limit - budget.spent - budget.reserved)
