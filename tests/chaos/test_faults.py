"""The fault suite with small numbers: what no fault excuses. How fast faults are found is measured by `make chaos`."""

from __future__ import annotations

import pytest

from tests.chaos.faults import broker, devices, dispatchers, hostile, pressure, rolling
from tests.chaos.outcome import SMALL
from tests.chaos.verdict import NOTHING, bad

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


async def test_every_job_is_answered_when_nothing_fails() -> None:
    """F1: each job has one answer, its own, and is executed once."""
    row = await dispatchers.undisturbed(SMALL)

    assert bad(row) == NOTHING
    assert (row.account.answered, row.value("executions per job")) == (SMALL.jobs, 1.0)


async def test_a_dispatcher_that_is_killed_loses_no_job() -> None:
    """F2: one of two dies with the jobs that it has; their producers get the answers from the other one."""
    row = await dispatchers.one_of_two_killed(SMALL)

    assert bad(row) == NOTHING
    assert row.account.answered == row.account.jobs


async def test_the_only_dispatcher_is_killed_and_replaced() -> None:
    """F2: until another one is up there is nobody; no job is lost."""
    row = await dispatchers.only_one_killed(SMALL)

    assert bad(row) == NOTHING
    assert row.account.answered == row.account.jobs


async def test_an_agent_that_is_killed_costs_no_answer() -> None:
    """F3: in the middle of a stream the text goes on elsewhere, and before the accept the job begins elsewhere."""
    row = await devices.killed(SMALL)

    assert bad(row) == NOTHING
    assert (row.account.answered, row.account.again) == (row.account.jobs, {})


async def test_what_a_frozen_agent_says_later_is_nobodys_answer() -> None:
    """F4: it is left for others, thawed, and finishes its streams for nobody; then it works again."""
    row = await devices.frozen(SMALL)

    assert bad(row) == NOTHING
    assert row.account.answered == row.account.jobs


async def test_a_broker_that_is_killed_and_comes_back_loses_no_job() -> None:
    """F6: producers, dispatchers and agents find it again by themselves, three times."""
    row = await broker.restarted(SMALL)

    assert bad(row) == NOTHING
    assert row.account.answered == row.account.jobs


async def test_a_job_that_is_submitted_again_and_again_has_one_answer() -> None:
    """F7: several producers at once, over two dispatchers, and once more when it is done: the same text for all."""
    row = await dispatchers.submitted_twice(SMALL)

    assert bad(row) == NOTHING
    assert row.account.answered == row.account.jobs


async def test_every_process_is_restarted_in_turn_and_no_request_fails() -> None:
    """F9: dispatchers, agents and bridges end on SIGTERM and come back, under producers on the bus and over HTTP."""
    row = await rolling.everything(SMALL)

    assert bad(row) == NOTHING
    assert row.account.answered == row.account.jobs


async def test_jobs_beyond_the_fleets_power_are_refused_by_name() -> None:
    """F10: without a device, and with a line that is full."""
    nobody = await pressure.no_device(SMALL)
    full = await pressure.all_busy(SMALL)

    assert (bad(nobody), bad(full)) == (NOTHING, NOTHING)
    assert nobody.account.errors == {"no_device": nobody.account.jobs}
    assert full.account.errors.keys() == {"queue_full"}


async def test_noise_on_every_subject_is_refused_and_harms_nobody() -> None:
    """F12: malformed requests get a typed error; what runs beside is answered."""
    row = await hostile.bad_input(SMALL)

    assert bad(row) == NOTHING
    assert row.account.errors == {"bad_request": 2 * len(hostile.REQUESTS), "too_large": 1}


async def test_clocks_an_hour_off_cost_no_answer_that_is_in_time() -> None:
    """F12: a deadline that has passed is refused by name, also where the clocks of two agents of three are wrong."""
    row = await hostile.wrong_clocks(SMALL)

    assert bad(row) == NOTHING
    assert (row.value("jobs in time and not answered"), row.value("jobs too late and not refused so")) == (0.0, 0.0)
