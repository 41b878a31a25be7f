"""How often a key may ask, and how many jobs it may have at once; plain counting, with the clock as an argument.

Each bridge counts for itself: behind several of them a key has as many times its limit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from common.errors import TooMany, rounded_up
from common.keys import Budget, Grant, Period, Unit

MOST_KEYS = 10_000
"""So many keys are counted for; one that has not asked for long makes room, and begins anew."""

MINUTE_S = 60.0
PARALLEL_RETRY_S = 1.0

NOISE = 1e-9
"""What sums of floats are wrong by: who waited as long as told has a whole request again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a key stands: of `limit` requests or tokens there are `remaining`, and all of them again in `reset_s`; None, never."""

    limit: int
    remaining: int
    reset_s: float | None


@dataclass(slots=True)
class _Bucket:
    """What is left, and when that was so."""

    left: float
    at_s: float


class Limiter:
    """A bucket for each key, which fills evenly and holds one minute's worth."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._running: dict[str, int] = {}
        self._budgets: OrderedDict[str, tuple[Budget, ...]] = OrderedDict()

    def take(self, grant: Grant, now_s: float) -> None:
        """Count a request. Raises `TooMany`, with the time until there is room."""
        limit = grant.requests_per_minute
        if limit is None:
            return
        bucket = self._filled(grant.key, limit, now_s)
        if bucket.left < 1.0 - NOISE:
            wait_s = (1.0 - bucket.left) * MINUTE_S / limit
            raise TooMany(
                f"key {grant.name!r} may ask {limit} times a minute: wait {rounded_up(wait_s, 1):g} s, or have its limit raised",
                retry_after_s=wait_s,
            )
        bucket.left -= 1.0

    def requests(self, grant: Grant, now_s: float) -> Standing | None:
        """Say how a key stands with its requests; None where it has no limit."""
        limit = grant.requests_per_minute
        if limit is None:
            return None
        left = self._filled(grant.key, limit, now_s).left
        return Standing(limit=limit, remaining=int(left + NOISE), reset_s=(limit - left) * MINUTE_S / limit)

    def note(self, key: str, budgets: tuple[Budget, ...]) -> None:
        """Remember what the ledger has said last of a key's budgets."""
        self._budgets[key] = budgets
        self._budgets.move_to_end(key)
        if len(self._budgets) > MOST_KEYS:
            self._budgets.popitem(last=False)

    def tokens(self, grant: Grant, now_unix_s: float) -> Standing | None:
        """Say how a key stands with its tokens, by the budget that has the fewest left; None where it has none of them."""
        noted = self._budgets.get(grant.key, ())
        # What was said last is of another time where the owner has changed a limit since, or taken it away.
        known = noted if _limits(noted) == _limits(grant.budgets) else grant.budgets
        counted = [one for one in known if one.unit is Unit.TOKENS]
        if not counted:
            return None
        least = min(counted, key=_left)
        reset_s = None if least.resets_unix_s is None else max(0.0, least.resets_unix_s - now_unix_s)
        return Standing(limit=least.limit, remaining=_left(least), reset_s=reset_s)

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
        self._running[grant.key] = now + 1
        try:
            yield
        finally:
            left = self._running[grant.key] - 1
            if left:
                self._running[grant.key] = left
            else:
                del self._running[grant.key]

    def _filled(self, key: str, limit: int, now_s: float) -> _Bucket:
        bucket = self._buckets.setdefault(key, _Bucket(float(limit), now_s))
        self._buckets.move_to_end(key)
        if len(self._buckets) > MOST_KEYS:
            self._buckets.popitem(last=False)
        bucket.left = min(float(limit), bucket.left + (now_s - bucket.at_s) * limit / MINUTE_S)
        bucket.at_s = now_s
        return bucket


def _limits(budgets: tuple[Budget, ...]) -> set[tuple[Unit, Period, int]]:
    return {(one.unit, one.period, one.limit) for one in budgets}


def _left(budget: Budget) -> int:
    return max(0, budget.limit - budget.spent - budget.reserved)
