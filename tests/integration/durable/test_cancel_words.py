"""Who tells an operator that nobody knows the job which is to be cancelled."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from common.bus import Delivery
from dispatcher.doors import Doors
from tests.integration.durable.world import dispatching, world


@pytest.mark.parametrize(("queued", "answers"), [(True, 0), (False, 1)])
async def test_a_dispatcher_with_a_queue_leaves_the_last_word_to_the_search(*, queued: bool, answers: int) -> None:
    """A search in a long queue takes seconds: nobody says meanwhile that the job is unknown."""
    said: list[Coroutine[Any, Any, None]] = []
    async with world() as here, dispatching(here) as pipeline:
        doors = Doors(pipeline, said.append, queued=lambda: queued)
        doors._control(Delivery(here.subjects.control("nobody", "cancel"), b"{}", "_INBOX.somebody"))
    for word in said:
        word.close()

    assert answers == len(said)


async def test_the_search_says_that_it_found_nothing() -> None:
    """The operator need not wait for a time-out, with one dispatcher or with several."""
    async with world() as here, dispatching(here), dispatching(here):
        reply = await here.order("nobody")

    assert ("unknown", False, "unknown_job") == (reply["state"], reply["cancelled"], reply["error"]["code"])
