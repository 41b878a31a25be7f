"""What is said of a job that nobody knows, and when; it looks for none."""

from __future__ import annotations

from common.errors import UnknownJob

OTHERS_FIRST_S = 0.3
"""A dispatcher that owns a job answers within milliseconds; after this long those that don't know it say so."""


def unknown(job: str) -> dict[str, object]:
    """Give the answer to an order for a job that was found nowhere."""
    error = UnknownJob(
        f"no dispatcher knows the job {job}: it is over, or never was, or several tenants have one of that name"
    )
    return {"job": job, "cancelled": False, "state": "unknown", "error": error.to_wire()}
