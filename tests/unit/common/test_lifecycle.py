"""Tasks that can't end their group."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from common.lifecycle import guarding


async def _crash() -> None:
    raise TypeError("unhashable")


async def test_a_task_that_crashes_ends_nothing_but_itself() -> None:
    """Its group goes on, and the log has its name and its traceback."""
    done = asyncio.Event()

    async def work() -> None:
        await crashed
        done.set()

    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            spawn = guarding(tasks)
            crashed = spawn(_crash())
            spawn(work())

    assert (True, [("task.crashed", "_crash", True)]) == (
        done.is_set(),
        [(line["event"], line["task"], line["exc_info"]) for line in lines],
    )


async def test_a_task_that_is_cancelled_before_it_began() -> None:
    """It is cancelled, and what it would have run is closed: nothing is left that warns at its end."""
    async with asyncio.TaskGroup() as tasks:
        work = _crash()
        task = guarding(tasks)(work)
        task.cancel()

    assert (True, None) == (task.cancelled(), work.cr_frame)


async def test_cancellation_goes_through() -> None:
    """Whoever cancels such a task ends what it runs."""
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        task = guarding(tasks)(wait())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert task.cancelled()
