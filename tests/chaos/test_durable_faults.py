"""The faults that a durable job must survive, with small numbers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.chaos.durable_load import POISON
from tests.chaos.faults import durable
from tests.chaos.outcome import SMALL, Outcome, Size
from tests.chaos.verdict import NOTHING, bad

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

_DURABLE = (durable.dispatchers_killed, durable.agents_killed, durable.broker_killed, durable.submitted_twice)


@pytest.mark.parametrize("fault", _DURABLE, ids=lambda fault: fault.__name__)
async def test_a_durable_job_has_one_result_whatever_dies(fault: Callable[[Size], Awaitable[Outcome]]) -> None:
    """F2, F3, F6, F7 in the durable lane: one final note for each, the unreadable are dead letters, and the queue is empty."""
    row = await fault(SMALL)

    assert bad(row) == NOTHING
    assert (row.account.answered, row.value("left in the queue")) == (SMALL.jobs - SMALL.jobs // POISON, 0)
