"""Admission: may a job go on?"""

from __future__ import annotations

import pytest

from common.errors import DuplicateJob, QueueFull
from dispatcher.admission import House, admit
from dispatcher.outcomes import Admitted, Rejected
from tests.unit.dispatcher.builders import job

JOB = job(name="j", tenant="t")


@pytest.mark.parametrize(
    ("waiting", "limit", "running", "expected"),
    [
        (0, 10, set(), None),
        (9, 10, {("t", "other"), ("other", "j")}, None),  # the same id of another tenant is another job
        (10, 10, set(), QueueFull),
        (11, 10, set(), QueueFull),
        (0, 10, {("t", "j")}, DuplicateJob),
        (10, 10, {("t", "j")}, DuplicateJob),  # 1 before 2: waiting would not help
    ],
)
def test_admission(waiting: int, limit: int, running: set[tuple[str, str]], expected: type | None) -> None:
    """1. The same id runs already: refused. 2. The queue is full: refused. 3. Otherwise admitted."""
    verdict = admit(JOB, House(waiting, limit, running))

    assert expected == (type(verdict.error) if isinstance(verdict, Rejected) else None)


def test_admitted_is_a_value() -> None:
    """Admission is told by a value, and performs nothing."""
    assert Admitted() == admit(JOB, House(0, 1, set()))


@pytest.mark.parametrize(
    ("house", "retryable", "words"),
    [
        (House(7, 7, set()), True, "7 jobs wait already (limit 7)"),
        (House(0, 7, {("t", "j")}), False, "job j is running already"),
    ],
)
def test_a_refusal_names_the_job_and_the_way_out(house: House, retryable: bool, words: str) -> None:
    """A refused job is told whether, and when, to come again, and which job it was."""
    verdict = admit(JOB, house)
    assert isinstance(verdict, Rejected)

    assert (retryable, retryable, {"job": "j"}, True) == (
        verdict.error.retryable,
        verdict.error.retry_after_s is not None,
        verdict.error.details,
        words in verdict.error.message,
    )
