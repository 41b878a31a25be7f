"""Admission: may this job go on? A pure function of the job and of how full the house is."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import QueueFull
from dispatcher.outcomes import Admission, Admitted, Job, Rejected

RETRY_AFTER_S = 5.0
"""A guess until the queue knows its own speed: long enough to matter, short enough to be honoured by openai-python (<= 120 s)."""


@dataclass(frozen=True, slots=True)
class House:
    """How full the dispatcher is."""

    waiting: int
    queue_limit: int


def admit(job: Job, house: House) -> Admission:
    """Decide. 1. The queue is full: refused. 2. Otherwise admitted."""
    if house.waiting >= house.queue_limit:  # 1
        return Rejected(
            QueueFull(
                f"{house.waiting} jobs wait already (limit {house.queue_limit}): try again later",
                retry_after_s=RETRY_AFTER_S,
                job=job.id,
            )
        )
    return Admitted()  # 2
