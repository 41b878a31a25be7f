"""Admission: may this job go on? A pure function of the job and of how full the house is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from common.errors import DuplicateJob, QueueFull
from dispatcher.outcomes import Admission, Admitted, Job, Rejected

RETRY_AFTER_S = 5.0
"""A guess until the queue knows its own speed: long enough to matter, short enough to be honoured by openai-python (<= 120 s)."""


@dataclass(frozen=True, slots=True)
class House:
    """How full the dispatcher is."""

    waiting: int
    queue_limit: int
    running: Collection[tuple[str, str]]


def admit(job: Job, house: House) -> Admission:
    """Decide. 1. The same id runs already: refused. 2. The queue is full: refused. 3. Otherwise admitted."""
    if (job.tenant, job.id) in house.running:  # 1
        return Rejected(DuplicateJob(f"job {job.id} is running already: wait for it, or send another id", job=job.id))
    if house.waiting >= house.queue_limit:  # 2
        return Rejected(
            QueueFull(
                f"{house.waiting} jobs wait already (limit {house.queue_limit}): try again later",
                retry_after_s=RETRY_AFTER_S,
                job=job.id,
            )
        )
    return Admitted()  # 3
