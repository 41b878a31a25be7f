"""Who tells an operator that nobody knows the job which is to be cancelled."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from common.bus import Delivery
from common.bus.streams import StreamSpec
from common.durable import Stage
from dispatcher.cache import CacheDesk
from dispatcher.doors import Doors
from tests.integration.durable.world import dispatching, world


@pytest.mark.parametrize(("queued", "answers"), [(True, 0), (False, 1)])
async def test_a_dispatcher_with_a_queue_leaves_the_last_word_to_the_search(*, queued: bool, answers: int) -> None:
    """A search in a long queue takes seconds: nobody says meanwhile that the job is unknown."""
    said: list[Coroutine[Any, Any, None]] = []
    async with world() as here, dispatching(here) as pipeline:
        desk = CacheDesk(pipeline.cache, dispatcher="disp", embedding=pipeline.router.embedding, clock=pipeline.clock)
        doors = Doors(pipeline, said.append, desk, queued=lambda: queued)
        doors._control(Delivery(here.subjects.control("nobody", "cancel"), b"{}", "_INBOX.somebody"))
    for word in said:
        word.close()

    assert answers == len(said)


async def test_a_job_is_cancelled_while_nothing_is_pulled() -> None:
    """A dispatcher that has only just begun, or can't declare its streams, looks for the job all the same,
    and nobody says before that it is unknown."""
    async with world() as here:
        async with dispatching(here):
            pass
        job = await here.submit()
        await here.streams._ask(f"STREAM.DELETE.{here.names.dead}", None)
        await here.streams.declare(StreamSpec(name="OTHER", subjects=(here.subjects.dead("*", "*"),)))
        async with dispatching(here):
            cancelled = await here.jobs.cancel(job)
            end = await here.over(job)

    assert (True, Stage.CANCELLED) == (cancelled, end.state)
    assert "was cancelled before it ran: its user, or an administrator, asked for that" in (end.error or {})["message"]


async def test_an_order_that_comes_again_is_told_the_same() -> None:
    """Whoever did not hear the answer asks again, and is not told that nobody knows the job that was cancelled for him."""
    async with world() as here, dispatching(here):
        job = await here.submit()
        replies = [(await here.order(job))["cancelled"] for _ in range(2)]

    assert [True, True] == replies


async def test_the_search_says_that_it_found_nothing() -> None:
    """The operator need not wait for a time-out, with one dispatcher or with several."""
    async with world() as here, dispatching(here), dispatching(here):
        reply = await here.order("nobody")

    assert ("unknown", False, "unknown_job") == (reply["state"], reply["cancelled"], reply["error"]["code"])
