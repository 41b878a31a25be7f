"""Admission: may this job go on? A pure function of the job and of the house.

Whether there is room to wait is for the line to say: a job for which a device has a free slot needs none.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from common.errors import DuplicateJob
from dispatcher.outcomes import Admission, Admitted, Job, Rejected


@dataclass(frozen=True, slots=True)
class House:
    """Which jobs the dispatcher has: tenant and id."""

    running: Collection[tuple[str, str]]


def admit(job: Job, house: House) -> Admission:
    """Decide. 1. The same id runs already: refused. 2. Otherwise admitted."""
    if (job.tenant, job.id) in house.running:  # 1
        return Rejected(DuplicateJob(f"job {job.id} is running already: wait for it, or send another id", job=job.id))
    return Admitted()  # 2
