"""Who asks, as the routes see it: a key's grant, or whoever reaches a bridge without keys; it knows no header."""

from __future__ import annotations

from dataclasses import dataclass, replace

from common.codec import digest
from common.keys import Grant, Scope
from common.messages import ChatRequest

EVERYTHING = frozenset(Scope)

MOST_USER = 256
"""Characters of a user's name on the bus; a longer one goes by its digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose request it is. `user` owns conversations; `grant` is None where no keys are asked for, and then all is allowed."""

    tenant: str
    user: str = ""
    scopes: frozenset[Scope] = EVERYTHING
    grant: Grant | None = None

    def may(self, scope: Scope) -> bool:
        """Tell whether this is allowed; an administrator may all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def granted(grant: Grant) -> Caller:
    """Give the caller that a key stands for."""
    return Caller(tenant=grant.tenant, user=grant.user, scopes=frozenset(grant.scopes), grant=grant)


def on_behalf(caller: Caller, chat: ChatRequest) -> ChatRequest:
    """Write into a request for whom it is: what one user of a tenant was answered goes to no other from the cache. Whom the
    caller names besides is a part of its own user."""
    if not caller.user:
        return chat
    named = caller.user if chat.user is None else f"{caller.user}/{chat.user}"
    return replace(chat, user=named if len(named) <= MOST_USER else f"sha256:{digest({'user': named}, 64)}")
