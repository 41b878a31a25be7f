"""Who asks, as the routes see it: a key's grant, or whoever reaches a bridge without keys; it knows no header.

The id of a job that a key's user has begun ends in a mark of that user. So whose a job is can be told from its id alone, live,
durable or over; one user's names are never another's; and what somebody else's id would name for oneself, nobody has begun.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from common.codec import digest
from common.errors import NoDispatcher, NotAllowed, UnknownJob
from common.keys import Grant, Presented, Scope
from common.messages import ChatRequest
from common.subjects import as_token, is_token
from common.votes import MARK_CHARS, mark_of

T = TypeVar("T")

EVERYTHING = frozenset(Scope)

MOST_USER = 256
"""Characters of a user's name on the bus; a longer one goes by its digest."""

MOST_NAME = 39
"""Characters of a job's name before the mark: with it an id has 56 at most, and eight are left to number the parts of one."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """Some jobs: a tenant's, and of these perhaps those whose ids end so; all where nothing is said."""

    tenant: str | None = None
    ending: str | None = None

    def has(self, tenant: str, job: str) -> bool:
        """Tell whether a job is one of them."""
        return self.tenant in {None, tenant} and (self.ending is None or job.endswith(self.ending))


@dataclass(frozen=True, slots=True)
class Part:
    """Patterns of the models and devices that somebody sees; empty ones fit all."""

    models: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose request it is. `user` owns conversations; `grant` is None where no keys are asked for, and then all is
    allowed; else `shown` is what it hangs on."""

    tenant: str
    user: str = ""
    scopes: frozenset[Scope] = EVERYTHING
    grant: Grant | None = None
    shown: Presented | None = None

    def may(self, scope: Scope) -> bool:
        """Tell whether this is allowed; an administrator may all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def sees_all(self) -> bool:
        """Whether no part of the fleet is hidden from it: its key is for all of it, or an administrator's, who makes such keys."""
        grant = self.grant
        return grant is None or not (grant.models or grant.devices) or self.may(Scope.ADMIN)

    @property
    def oversees(self) -> bool:
        """Whether it is told what everybody does: it may see the fleet (read:fleet), and all of it. Who sees a part is told of its
        own user's jobs: others' tell of the rest, by what they wait for and where they were tried."""
        return self.sees_all and self.may(Scope.FLEET)

    @property
    def part(self) -> Part | None:
        """What of the fleet it sees; None for all."""
        return None if self.grant is None or self.sees_all else Part(self.grant.models, self.grant.devices)

    @property
    def mark(self) -> str:
        """How the ids of this user's jobs end; empty where nobody is told apart."""
        return f"-{mark_of(self.tenant, self.user)}" if self.user else ""

    @property
    def jobs_listed(self) -> Jobs:
        """Whose jobs it is told of in lists: everybody's, or its own user's."""
        return Jobs() if self.oversees else Jobs(self.tenant, self.mark or None)

    def job(self, name: str) -> str:
        """Give the id of this user's own job of a name; an id of its own is its own name."""
        mark = self.mark
        if not mark or (name.endswith(mark) and is_token(name)):
            return name
        if len(name) > MOST_NAME or not is_token(name):
            begin, known = as_token(name)[: MOST_NAME - 1 - MARK_CHARS], hashlib.sha256(name.encode()).hexdigest()
            name = f"{begin}-{known[:MARK_CHARS]}"
        return name + mark

    def jobs_to_see(self, name: str) -> tuple[str, ...]:
        """Give the ids that may be meant by a job to be looked at: its own of that name, and behind it any of its tenant's for who
        is told of those."""
        return self._meant(name, others=self.oversees)

    def jobs_to_change(self, name: str) -> tuple[str, ...]:
        """Give the ids that may be meant by a job to be cancelled or judged: its own of that name, and behind it any of its
        tenant's for an administrator."""
        return self._meant(name, others=self.may(Scope.ADMIN))

    def _meant(self, name: str, *, others: bool) -> tuple[str, ...]:
        own = self.job(name)
        return (own, name) if others and own != name else (own,)


def listed(caller: Caller, tenant: str | None) -> Jobs:
    """Say whose jobs a caller is told of who asks for those of a tenant, or of all. Raises `NotAllowed` for another's."""
    seen = caller.jobs_listed
    if tenant is None or tenant == seen.tenant:
        return seen
    if seen.tenant is not None:
        raise NotAllowed(f"this key sees its own jobs: {why_own(caller)}", param="tenant")
    return Jobs(tenant)


def why_own(caller: Caller) -> str:
    """Say why a caller is told of its own alone."""
    if caller.may(Scope.FLEET):
        return "it is for a part of the fleet, and others' are told to keys that are for all of it"
    return "it lacks the scope read:fleet"


async def first_known(ids: Sequence[str], ask: Callable[[str], Awaitable[T]]) -> T:
    """Ask about ids of a job, one after the other, until one is known, and give what is said of that. Raises what `ask` does, but
    that nobody knows a job, or is there to be asked, of the last one only."""
    *before, last = ids
    for one in before:
        with suppress(UnknownJob, NoDispatcher):
            return await ask(one)
    return await ask(last)


def granted(grant: Grant, shown: Presented | None = None) -> Caller:
    """Give the caller that a key stands for."""
    return Caller(tenant=grant.tenant, user=grant.user, scopes=frozenset(grant.scopes), grant=grant, shown=shown)


def on_behalf(caller: Caller, chat: ChatRequest) -> ChatRequest:
    """Write into a request for whom it is: what one user of a tenant was answered goes to no other from the cache. Whom the
    caller names besides is a part of its own user."""
    if not caller.user:
        return chat
    named = caller.user if chat.user is None else f"{caller.user}/{chat.user}"
    return replace(chat, user=named if len(named) <= MOST_USER else f"sha256:{digest({'user': named}, 64)}")
