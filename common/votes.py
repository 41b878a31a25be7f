"""What people say of answers, as it is kept: thumbs of one, and votes among several; and what it adds up to. It knows no database.

Under `llm.v1.ledger.` the verb `vote` takes a `Vote`, `thumb` a `Thumb`, and `votes` a `VotesQuery`, which `Votes` answers. Whose
word it is stands in `voter`, the mark by which that user's jobs end: empty where nobody is told apart. Reasons are not kept. Words
on jobs that were answered just now have `wait_s`: so long the ledger waits for the records, which come a moment behind the answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import ConfigDict, FailFast

from common.codec import digest
from common.ledger import Span
from common.messages import Count, Number, Token
from common.ratings import MOST_COMPARED

MARK_CHARS = 16
MOST_VOTES_OF_JOB = 16
"""Comparisons that one user has one job in: a job answers one prompt, and each is asked of a few others."""

MOST_COUNTED = 20_000
"""Of what was said, the newest so many are counted."""

MOST_CONTENDERS = 50

RECORD_S = 3.0
"""So long a word waits for the records of its jobs at most: they come some tens of milliseconds behind the answers, and later where
NATS or the database has much to do."""

Voter = Annotated[str, MaxLen(64)]


def mark_of(tenant: str, user: str) -> str:
    """Give the mark of a user, by which its jobs and its votes are told; empty where nobody is told apart."""
    return digest({"tenant": tenant, "user": user}, MARK_CHARS) if user else ""


class Contest(StrEnum):
    """Between what votes decide."""

    DEVICE = "device"
    MODEL = "model"
    STRATEGY = "strategy"


class Place(StrEnum):
    """How an answer came out of a vote."""

    WON = "won"
    LOST = "lost"
    TIED = "tied"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    tenant: Token
    voter: Voter = ""
    wait_s: Annotated[float, Ge(0), Le(RECORD_S)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumb(_Word):
    """What somebody says of one answer, from 0 to 1; said again it replaces what was said before, and without a score takes it
    back."""

    job: Token
    score: Annotated[float, Ge(0), Le(1)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote(_Word):
    """Which of several answers somebody prefers; without a winner they are as good. Said again of the same jobs it replaces what
    was said before."""

    jobs: Annotated[tuple[Token, ...], FailFast(), MinLen(2), MaxLen(MOST_COMPARED)]
    winner: Token | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Whether something is there now: what is taken back is not."""

    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VotesQuery(Span):
    """Asks what was said of a tenant's answers, by all of it or by one `voter`, within a span of when it was said."""

    tenant: Token
    by: Contest = Contest.DEVICE
    voter: Voter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """How one device, model or strategy came out. `wins` and `losses` are over each other contender of a vote, `votes` how many of
    them it was in. `win_share` is wins of wins and losses, absent where there are none, with its 95 % interval by Wilson over
    votes: what one vote says of several is no independent fact. `up` and `down` are thumbs: scores above a half, and below."""

    key: str
    votes: Count = 0
    wins: Count = 0
    losses: Count = 0
    ties: Count = 0
    win_share: Number | None = None
    win_share_low: Number | None = None
    win_share_high: Number | None = None
    up: Count = 0
    down: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """How `one` came out beside `other`."""

    one: str
    other: str
    wins: Count = 0
    losses: Count = 0
    ties: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """What was said adds up to this; the most often compared contenders first. `votes` are those that decided between
    contenders, or found them even; `more` tells that older ones, or further contenders, are left out."""

    by: Contest
    contenders: tuple[Contender, ...] = ()
    pairs: tuple[Pair, ...] = ()
    votes: Count = 0
    thumbs: Count = 0
    more: bool = False
