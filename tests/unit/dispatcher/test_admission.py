"""Admission: may a job go on?"""

from __future__ import annotations

import pytest

from common.errors import QueueFull
from dispatcher.admission import House, admit
from dispatcher.outcomes import Admitted, Rejected
from tests.unit.dispatcher.builders import job

JOB = job(name="j", tenant="t")


@pytest.mark.parametrize(
    ("waiting", "limit", "expected"), [(0, 10, None), (9, 10, None), (10, 10, QueueFull), (11, 10, QueueFull)]
)
def test_admission(waiting: int, limit: int, expected: type | None) -> None:
    """1. The queue is full: refused. 2. Otherwise admitted."""
    verdict = admit(JOB, House(waiting, limit))

    assert expected == (type(verdict.error) if isinstance(verdict, Rejected) else None)


def test_admitted_is_a_value() -> None:
    """Admission is told by a value, and performs nothing."""
    assert Admitted() == admit(JOB, House(0, 1))


def test_a_refusal_names_the_job_and_the_way_out() -> None:
    """A refused job is told whether, and when, to come again, and which job it was."""
    verdict = admit(JOB, House(7, 7))
    assert isinstance(verdict, Rejected)

    assert (True, True, {"job": "j"}, True) == (
        verdict.error.retryable,
        verdict.error.retry_after_s is not None,
        verdict.error.details,
        "7 jobs wait already (limit 7)" in verdict.error.message,
    )
