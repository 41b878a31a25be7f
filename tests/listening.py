"""A message handler that remembers what it heard, and lets a test wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from common.bus import Bus, Delivery

GUARD_S = 20.0
"""How long a test waits for what must happen; a hang guard, not an expectation."""


class Listener:
    """Use it as the handler of a subscription."""

    def __init__(self) -> None:
        self.heard: list[Delivery] = []
        self._changed = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        self.heard.append(delivery)
        self._changed.set()

    @property
    def data(self) -> list[bytes]:
        """The payloads, in order of arrival."""
        return [delivery.data for delivery in self.heard]

    async def until(self, count: int) -> list[Delivery]:
        """Wait until `count` messages were heard, and give all of them."""
        async with asyncio.timeout(GUARD_S):
            while len(self.heard) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.heard


def answering(bus: Bus, tasks: asyncio.TaskGroup, answer: Callable[[Delivery], bytes]) -> Callable[[Delivery], None]:
    """Give a handler that replies with `answer(delivery)`, in a task of `tasks`."""

    def handle(delivery: Delivery) -> None:
        tasks.create_task(bus.publish(delivery.reply, answer(delivery)))

    return handle


async def settled(*buses: Bus) -> None:
    """Return when all that was published before has reached its handlers: first everyone's messages reach the server,
    then everyone has read what the server sent."""
    for _ in range(2):
        for bus in buses:
            await bus.flush(timeout_s=GUARD_S)
