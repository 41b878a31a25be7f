"""The mouth of the lane: pulls jobs while there is room, the higher classes first; it knows nothing of what a job is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from common.bus.streams import Pulled, Puller
from common.errors import FleetError
from common.messages import Priority

WAIT_S = 5.0
"""How long one request for the first job of an empty class stands. After a reconnect that lost it, pulling resumes this much later
at most."""

MOST = 64
"""So many are taken at once: what is pulled and not begun yet is lost for the ack wait when the process dies."""


class PullLoop:
    """Pulls from one consumer per class. At most one request per class stands while the class is empty."""

    def __init__(self, pullers: Mapping[Priority, Puller], room: Callable[[], int], stirred: asyncio.Event) -> None:
        self._pullers = pullers
        self._room = room
        self._stirred = stirred
        self._waits: dict[Priority, asyncio.Task[Sequence[Pulled] | FleetError]] = {}

    async def run(self, begin: Callable[[Pulled], None]) -> None:
        """Pull for ever, and hand over each message. Raises `BusError`."""
        async with asyncio.TaskGroup() as tasks:
            try:
                while True:
                    self._stirred.clear()
                    await self._round(begin, tasks)
                    await self._something(tasks)
            finally:
                self._stop(begin)

    async def _round(self, begin: Callable[[Pulled], None], tasks: asyncio.TaskGroup) -> None:
        """Go through the classes once.

        1. A request that still stands says that the class is empty. 2. One that was answered brought a job. 3. While there is room,
        take what is there; a class that had less than that is empty now, and gets a standing request.
        """
        for priority, puller in self._pullers.items():
            wait = self._waits.get(priority)
            if wait is not None and not wait.done():  # 1
                continue
            if wait is not None:  # 2
                del self._waits[priority]
                for pulled in _found(wait.result()):
                    begin(pulled)
            room = min(self._room(), MOST)
            if room <= 0:
                continue
            found = await puller.fetch(room)  # 3
            for pulled in found:
                begin(pulled)
            if len(found) < room:
                self._waits[priority] = tasks.create_task(_first(puller))

    async def _something(self, tasks: asyncio.TaskGroup) -> None:
        """Return when a job has come, or there may be room for one."""
        stirred = tasks.create_task(self._stirred.wait())
        try:
            await asyncio.wait({stirred, *self._waits.values()}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stirred.cancel()

    def _stop(self, begin: Callable[[Pulled], None]) -> None:
        """End the standing requests; what they have brought by now is handed over still."""
        for task in self._waits.values():
            if task.done() and not task.cancelled() and not isinstance(found := task.result(), FleetError):
                for pulled in found:
                    begin(pulled)
            task.cancel()
        self._waits.clear()


async def _first(puller: Puller) -> Sequence[Pulled] | FleetError:
    """Wait for the first job; an error is given, since raised in the group it would come wrapped."""
    try:
        return await puller.fetch(1, wait_s=WAIT_S)
    except FleetError as error:
        return error


def _found(result: Sequence[Pulled] | FleetError) -> Sequence[Pulled]:
    if isinstance(result, FleetError):
        raise result
    return result
