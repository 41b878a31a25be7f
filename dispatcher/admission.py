"""Admission: may this job go on? A pure function of the job and of what the house has under its id.

Whether there is room to wait is for the line to say: a job for which a device has a free slot needs none.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import DuplicateJob
from dispatcher.outcomes import Admission, Admitted, Joins, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A job that runs here, or was answered here lately. `shared` is an answer that others may hear, who ask
    the same: its id was chosen by a client, and its answer goes to whoever listens."""

    fingerprint: str
    shared: bool


def admit(job: str, fingerprint: str, known: Known | None) -> Admission:
    """Decide. 1. The id is new here: admitted. 2. It means another request, or one that nobody else may hear: refused.
    3. Otherwise it joins the one that is here."""
    if known is None:  # 1
        return Admitted()
    if not known.shared or known.fingerprint != fingerprint:  # 2
        return Rejected(reused(job))
    return Joins()  # 3


def reused(job: str) -> DuplicateJob:
    """Say that an id has a meaning already."""
    return DuplicateJob(
        f"job {job} is another request: the same id means the same request; send this one under an id of its own",
        job=job,
    )
