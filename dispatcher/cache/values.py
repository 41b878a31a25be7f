"""What the parts of the cache hand to one another; immutable, and without I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from common.messages import Usage

ID_CHARS = 16
"""Characters of an entry's id: the head of its key. A tenant has some thousands of entries, so two never share one."""


class Kind(StrEnum):
    """How an answer was found."""

    EXACT = "exact"  # the very same request was answered before
    SEMANTIC = "semantic"  # one that means the same was
    ATTACHED = "attached"  # the very same request was just being answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a request's answers are kept. `exact` names the whole request, `scope` the request with its last user text blanked:
    both are SHA-256 in hex, and hold the tenant, so that no two tenants ever share one. Of a request that must not be answered by
    likeness, whatever the reason, `scope` is empty.

    `tenant` is whose it is, by name; `question` is the last user text as it was asked, whole.
    """

    tenant: str
    exact: str
    scope: str
    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What an answer took when a device gave it, and so what giving it again saves. `energy_j` is that of all attempts, above what
    their devices draw idle."""

    job: str
    device: str
    model: str
    digest: str = ""
    """Of the model's weights, as its device told; empty where it tells none."""
    usage: Usage = Usage()
    total_s: float = 0.0
    energy_j: float | None = None
    energy_estimated: bool = True
    cost_usd: float | None = None
    cost_estimated: bool = False
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An answer that was complete when it was kept: nothing else ever becomes one."""

    place: Place
    text: str
    receipt: Receipt
    created_unix_s: float

    @property
    def id(self) -> str:
        """What people call it by."""
        return self.place.exact[:ID_CHARS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """An entry as operators see it, without its answer. `size_bytes` is what it takes in the store."""

    exact: str
    tenant: str
    question: str
    model: str
    device: str
    created_unix_s: float
    size_bytes: int
    hits: int
    semantic: bool

    @property
    def id(self) -> str:
        """What people call it by."""
        return self.exact[:ID_CHARS]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """What a store holds, over all tenants. `state` is `open`, or says in a word what is wrong (`away`, `full`)."""

    kind: str
    state: str = "open"
    entries: int = 0
    size_bytes: int = 0
    evicted: int = 0
    expired: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """An entry whose question is like another one: `similarity` is the cosine of their vectors, in [-1, 1]."""

    exact: str
    similarity: float
