"""Keys of the HTTP door: what one may do, what is set aside for a job, and how the ledger is asked; it knows no database.

A key is `dr_<id>_<secret>`, a session of a browser `drs_<id>_<secret>`: the id may be shown, of the whole only the digest is kept.
Verbs stand under `llm.v1.keys.`: `check`, `reserve`, `release`, `login`, `logout` and `state` are for the bridge, the others for
operators; `common.key_client` asks.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import StringConstraints

from common.errors import Unauthorized
from common.messages import MOST_PATTERNS, Count, Number, Texts, Token

MOST_SECRET_CHARS = 64
"""Longer than any key: what is longer is not looked at."""

_SECRET = re.compile(r"drs?_([a-z0-9]{8})_[A-Za-z0-9_-]{43}", re.ASCII)
_ID_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789"

KeyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{8}$", max_length=8)]
"""What names a key, or a session; it may be shown."""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]


MOST_NAME_CHARS = 100
PerMinute = Annotated[int, Ge(1), Le(1_000_000)]
Parallel = Annotated[int, Ge(1), Le(100_000)]


def new_id() -> str:
    """Draw an id: nobody's yet, but for one chance in a million million."""
    return "".join(secrets.choice(_ID_CHARS) for _ in range(8))


class Scope(StrEnum):
    """What a key may do."""

    CHAT = "chat"  # ask, and keep conversations
    ROUTE = "route"  # be told where a question would go, and why one went where it went
    FLEET = "read:fleet"  # see devices, everybody's jobs and what they took; with a key for a part of the fleet, of that alone
    ADMIN = "admin"  # all of it, and keys of all tenants, draining and settings: whoever has it owns the whole fleet


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
class Presented:
    """What a caller has shown, without its secret: nobody behind the door needs more."""

    id: KeyId
    key_digest: Digest = field(repr=False)
    session: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a key is for. `tenant` is whom its jobs count for, `user` whose conversations it opens; empty `models` and `devices`
    allow all, else patterns of which one must fit. Without `requests_per_minute` or `parallel` there is no such limit; of requests
    those count that give the fleet work, and who only reads uses up none.

    `session` tells that it was given to a browser for a while, in exchange for the key that `key` names: rights, limits and budgets
    are that key's. Of a session `expires_unix_s` is when its browser has to log in again, and `key_expires_unix_s` when the
    key ends, if ever.
    """

    key: Token
    name: Annotated[str, MaxLen(MOST_NAME_CHARS)]
    tenant: Token
    user: Token
    scopes: tuple[Scope, ...] = (Scope.CHAT,)
    models: Annotated[Texts, MaxLen(MOST_PATTERNS)] = ()
    devices: Annotated[Texts, MaxLen(MOST_PATTERNS)] = ()
    requests_per_minute: PerMinute | None = None
    parallel: Parallel | None = None
    budgets: tuple[Budget, ...] = ()
    created_unix_s: Number = 0.0
    expires_unix_s: Number | None = None
    last_used_unix_s: Number | None = None
    revoked: bool = False
    session: bool = False
    key_expires_unix_s: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a job may use at most. Its record settles it, however it ends; one without a record counts as spent after
    `expires_s`, unless the ledger has it that the job was answered lately: then that was told again, and nothing ran.

    Where `least_tokens` would do, and `tokens` are not left, as many as there are are set aside, and of joules in proportion.

    It is given back for one reason alone: whoever made it, `holder`, knows that no dispatcher has the job, and nobody else has come
    under the same id. A hang-up is no reason, nor an error behind which the job may run."""

    key: Token
    tenant: Token
    job: Token
    tokens: Count
    micro_usd: Count = 0
    least_tokens: Count | None = None
    expires_s: Annotated[Number, Gt(0), Le(7 * 86_400)] = 900.0
    holder: Token = field(default_factory=new_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """What was set aside; `budgets` are all of the key's, with it, and `tokens` and `micro_usd` what the job may use, None where
    nothing bounds it: of the same request that came before it is what that one was given.
    Without `anew` another request had reserved the job under the same id: from then on nobody can release it."""

    budgets: tuple[Budget, ...] = ()
    anew: bool = True
    tokens: Count | None = None
    micro_usd: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A secret that a browser may have instead of its key: it can do what the key can, until then at most."""

    secret: str = field(repr=False)
    expires_unix_s: Number


def parse(text: str) -> Presented:
    """Read a key, or a session's secret. Raises `Unauthorized`, which quotes nothing of it."""
    found = _SECRET.fullmatch(text) if len(text) <= MOST_SECRET_CHARS else None
    if found is None:
        raise Unauthorized("this is no key of Drover's: one begins with dr_ and has 55 characters")
    return Presented(id=found[1], key_digest=digest(text), session=text.startswith("drs_"))


def new_secret(key: str, *, session: bool = False) -> str:
    """Draw a secret for an id, of 256 random bits."""
    return f"{'drs' if session else 'dr'}_{key}_{secrets.token_urlsafe(32)}"


def digest(secret: str) -> str:
    """Name a secret without telling it. It has 256 random bits, so a slow hash would protect nothing more."""
    return hashlib.sha256(secret.encode()).hexdigest()
