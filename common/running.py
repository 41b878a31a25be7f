"""What dispatchers tell of the jobs that they have now, on `llm.v1.running`: the question, and the answer of each; it asks nobody.

What is over is none of it: the ledger has that, and events tell it as it happens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Le, MaxLen
from pydantic import FailFast

from common.frames import Phase
from common.messages import Count, Few, Name, Number, Priority, Token

MOST_JOBS = 500
"""Of one answer: some 150 kB."""

MOST_NAMES = 50
"""Models and devices that an answer counts by; the ones that most wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningQuery:
    """Which jobs are asked for: a tenant's, and of these perhaps the ones whose ids end so. `limit` 0 asks for the counts alone."""

    tenant: Token | None = None
    ending: Annotated[str, MaxLen(64)] | None = None
    limit: Annotated[int, Ge(0), Le(MOST_JOBS)] = MOST_JOBS

    def means(self, tenant: str, job: str) -> bool:
        """Tell whether a job is asked for."""
        return self.tenant in {None, tenant} and (self.ending is None or job.endswith(self.ending))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A job that waits or runs. `model` and `device` are where it runs, and absent while it waits; `asked_model` and `asked_device`
    what it asks for. `position` counts from 1, in the line of its dispatcher."""

    id: Token
    tenant: Token
    kind: Annotated[str, MaxLen(16)]
    state: Literal["queued", "running"]
    phase: Phase
    asked_model: Name
    queued_unix_s: Number
    priority: Priority = Priority.NORMAL
    asked_device: Token | None = None
    model: Name | None = None
    device: Token | None = None
    attempt: Count | None = None
    position: Count | None = None
    eta_s: Number | None = None


Counts = Annotated[dict[Name, Count], Few]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What one dispatcher has: `running` counts all its jobs, `waiting` those of them that wait for a slot, by the model and by the
    device that they ask for, where they ask for one. `more` tells that jobs are left out."""

    dispatcher: Token
    running: Count = 0
    waiting: Count = 0
    queue_limit: Count = 0
    waiting_by_model: Counts = field(default_factory=dict)
    waiting_by_device: Counts = field(default_factory=dict)
    jobs: Annotated[tuple[RunningJob, ...], FailFast(), MaxLen(MOST_JOBS)] = ()
    more: bool = False

    @property
    def at_work(self) -> int:
        """How many do not wait; never below 0, whatever the two numbers are."""
        return max(0, self.running - self.waiting)
