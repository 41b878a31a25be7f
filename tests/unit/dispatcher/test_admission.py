"""Admission: may a job go on?"""

from __future__ import annotations

import pytest

from common.errors import DuplicateJob
from dispatcher.admission import Known, admit
from dispatcher.outcomes import Admitted, Joins, Rejected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, Admitted),
        (Known(fingerprint="f", shared=True), Joins),
        (Known(fingerprint="other", shared=True), Rejected),
        (Known(fingerprint="f", shared=False), Rejected),  # a durable job, or an id that the dispatcher made
    ],
)
def test_admission(known: Known | None, expected: type) -> None:
    """1. A new id: admitted. 2. Another meaning, or nobody else's to hear: refused. 3. The same again: it joins."""
    assert expected is type(admit("j", "f", known))


def test_a_refusal_names_the_job_and_the_way_out() -> None:
    """A refused job is told which job it was, and that sending it again as it is would not help."""
    verdict = admit("j", "f", Known(fingerprint="g", shared=True))
    assert isinstance(verdict, Rejected)

    assert (DuplicateJob, False, {"job": "j"}, True) == (
        type(verdict.error),
        verdict.error.retryable,
        verdict.error.details,
        "under an id of its own" in verdict.error.message,
    )
