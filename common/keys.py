"""Keys of the HTTP door: what one may do, what is set aside for a job, and how the ledger is asked; it knows no database.

A key is `dr_<id>_<secret>`: the id may be shown, of the secret only the digest is kept. Verbs stand under `llm.v1.keys.`: `check`,
`reserve` and `release` are for the bridge, the others for operators.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Gt, Le, MaxLen

from common.messages import Count, Number, Texts, Token


class Scope(StrEnum):
    """What a key may do."""

    CHAT = "chat"  # ask, and keep conversations
    ROUTE = "route"  # be told where a question would go, and why one went where it went
    FLEET = "read:fleet"  # see devices, everybody's jobs and what they took
    ADMIN = "admin"  # all of it, and keys, draining and settings


class Unit(StrEnum):
    """What a budget is counted in. On the wire and in tables amounts are whole: tokens, millionths of a US dollar, millijoules."""

    TOKENS = "tokens"
    MONEY = "micro_usd"
    ENERGY = "millijoules"


class Period(StrEnum):
    """When a budget begins anew, in UTC."""

    DAY = "day"
    MONTH = "month"
    EVER = "ever"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may be used in a period; `spent` and `reserved` are what has been in the one that runs, `resets_unix_s` its end."""

    unit: Unit
    limit: Count
    period: Period = Period.EVER
    spent: Count = 0
    reserved: Count = 0
    resets_unix_s: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a key is for. `tenant` is whom its jobs count for, `user` whose conversations it opens; empty `models` and `devices`
    allow all, else patterns of which one must fit. Without `requests_per_minute` or `parallel` there is no such limit.

    `session` tells that it was given to a browser for a while, in exchange for the key that `key` names.
    """

    key: Token
    name: Annotated[str, MaxLen(100)]
    tenant: Token
    user: Token
    scopes: tuple[Scope, ...] = (Scope.CHAT,)
    models: Annotated[Texts, MaxLen(100)] = ()
    devices: Annotated[Texts, MaxLen(100)] = ()
    requests_per_minute: Annotated[int, Ge(1), Le(1_000_000)] | None = None
    parallel: Annotated[int, Ge(1), Le(100_000)] | None = None
    budgets: tuple[Budget, ...] = ()
    created_unix_s: Number = 0.0
    expires_unix_s: Number | None = None
    last_used_unix_s: Number | None = None
    revoked: bool = False
    session: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a job may use at most. Its record settles it, however it ends; one without a record counts as spent after
    `expires_s`."""

    key: Token
    tenant: Token
    job: Token
    tokens: Count
    micro_usd: Count = 0
    expires_s: Annotated[Number, Gt(0), Le(7 * 86_400)] = 900.0


def digest(secret: str) -> str:
    """Name a secret without telling it. It has 256 random bits, so a slow hash would protect nothing more."""
    return hashlib.sha256(secret.encode()).hexdigest()
