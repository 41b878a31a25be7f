"""What is asked about keys, as it travels; it knows neither a bus nor a database.

`which` is the id of a key, or its name where only one that lives has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import ConfigDict

from common.keys import (
    MOST_NAME_CHARS,
    Budget,
    Digest,
    Grant,
    KeyId,
    Parallel,
    Period,
    PerMinute,
    Scope,
    Unit,
)
from common.labels import Shown
from common.messages import MOST_PATTERNS, Count, Number, Token

MOST_KEYS = 10_000
"""Keys that live, at most, and those that a list tells of."""

MOST_LISTED = 1000
"""Keys of one page."""

MOST_BUDGETS = 9
"""One for each unit and period."""

MOST_AMOUNT = 10**13
"""Of any unit, for a budget or a job: the sum over as many as there may be is one that SQLite can add up."""

LONGEST_SESSION_S = 30 * 86_400.0
LONGEST_OVERLAP_S = 30 * 86_400.0

Name = Annotated[str, MinLen(1), MaxLen(MOST_NAME_CHARS)]
NewName = Annotated[Name, Shown]
Party = Annotated[Token, Shown]
Pattern = Annotated[str, MinLen(1), MaxLen(200)]
# Without FailFast, which no union can hold; there are few of each.
Patterns = Annotated[tuple[Pattern, ...], MaxLen(MOST_PATTERNS)]
Scopes = Annotated[tuple[Scope, ...], MinLen(1), MaxLen(4)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Closed:
    """No other fields are taken."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(_Closed):
    """A budget to have, without what is spent of it."""

    unit: Unit
    limit: Annotated[Count, Ge(1), Le(MOST_AMOUNT)]
    period: Period = Period.EVER


Limits = Annotated[tuple[Limit, ...], MaxLen(MOST_BUDGETS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckKey(_Closed):
    """`check` and `logout`: what was shown. Whoever has the digest of a session ends it."""

    key: KeyId
    key_digest: Digest = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginKey(CheckKey):
    """`login`."""

    ttl_s: Annotated[Number, Ge(1), Le(LONGEST_SESSION_S)] = 43_200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseJob(_Closed):
    """`release`: a job that no dispatcher has, or will have, by whoever reserved it."""

    key: KeyId
    job: Token
    holder: Token


@dataclass(frozen=True, slots=True, kw_only=True)
class AddKey(_Closed):
    """`add`. Without `user` the key's own id stands for one."""

    name: NewName
    tenant: Party = "default"
    user: Party | None = None
    scopes: Scopes = (Scope.CHAT,)
    models: Patterns = ()
    devices: Patterns = ()
    requests_per_minute: PerMinute | None = None
    parallel: Parallel | None = None
    budgets: Limits = ()
    expires_unix_s: Annotated[Number, Gt(0)] | None = None


class Liftable(StrEnum):
    """What a key may be without."""

    REQUESTS = "requests_per_minute"
    PARALLEL = "parallel"
    EXPIRY = "expires_unix_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeKey(_Closed):
    """`change`: what is absent stays. Patterns and budgets replace all there are; a budget that goes on keeps what is spent of it.
    What is in `lift` is taken away."""

    which: Name
    name: NewName | None = None
    scopes: Scopes | None = None
    models: Patterns | None = None
    devices: Patterns | None = None
    requests_per_minute: PerMinute | None = None
    parallel: Parallel | None = None
    budgets: Limits | None = None
    expires_unix_s: Annotated[Number, Gt(0)] | None = None
    lift: Annotated[tuple[Liftable, ...], MaxLen(3)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WhichKey(_Closed):
    """`revoke`, `refill` and `adopt`."""

    which: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKey(WhichKey):
    """`rotate`: the secret that was there lives on for the overlap."""

    overlap_s: Annotated[Number, Ge(0), Le(LONGEST_OVERLAP_S)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKeys(_Closed):
    """`list`: in the order of their ids; `after` is the `next` of the page before. Sessions are not told."""

    which: Name | None = None
    tenant: Token | None = None
    all: bool = False
    """Also those that are revoked or expired."""
    after: Annotated[str, MaxLen(64)] | None = None
    limit: Annotated[int, Ge(1), Le(MOST_LISTED)] = MOST_LISTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A page of keys."""

    keys: tuple[Grant, ...] = ()
    next: Annotated[str, MaxLen(64)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What `adopt` answers: the key, and how many conversations its user got."""

    grant: Grant
    conversations: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A key with its secret, which nobody is told again."""

    grant: Grant
    secret: str = field(repr=False)


def limits(budgets: tuple[Budget, ...]) -> tuple[Limit, ...]:
    """Give what budgets allow, without what is spent."""
    return tuple(Limit(unit=one.unit, limit=one.limit, period=one.period) for one in budgets)
