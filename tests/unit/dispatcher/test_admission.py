"""Admission: may a job go on?"""

from __future__ import annotations

import pytest

from common.errors import DuplicateJob
from dispatcher.admission import House, admit
from dispatcher.outcomes import Admitted, Rejected
from tests.unit.dispatcher.builders import job

JOB = job(name="j", tenant="t")


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        (set(), None),
        ({("t", "other"), ("other", "j")}, None),  # the same id of another tenant is another job
        ({("t", "j")}, DuplicateJob),
    ],
)
def test_admission(running: set[tuple[str, str]], expected: type | None) -> None:
    """1. The same id runs already: refused. 2. Otherwise admitted."""
    verdict = admit(JOB, House(running))

    assert expected == (type(verdict.error) if isinstance(verdict, Rejected) else None)


def test_admitted_is_a_value() -> None:
    """Admission is told by a value, and performs nothing."""
    assert Admitted() == admit(JOB, House(set()))


def test_a_refusal_names_the_job_and_the_way_out() -> None:
    """A refused job is told which job it was, and that sending it again as it is would not help."""
    verdict = admit(JOB, House({("t", "j")}))
    assert isinstance(verdict, Rejected)

    assert (False, {"job": "j"}, True) == (
        verdict.error.retryable,
        verdict.error.details,
        "job j is running already" in verdict.error.message,
    )
