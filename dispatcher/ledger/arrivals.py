"""Tells whoever waits for a record that is on its way when records were written; it knows no table, and no question.

A job's answer is out before its record is here: who speaks of the answer at once is early by some tens of milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from common.clock import loop_s
from common.errors import UnknownJob

T = TypeVar("T")

MOST_WAITING = 16
"""Who comes then is refused at once: those who wait keep the desk from nobody else."""

LOOK_S = 1.0
"""Of several ledgers over one database another one may have written it, which tells nobody here."""


class Arrivals:
    """Records that come; `waiting` counts those who wait for one."""

    def __init__(self) -> None:
        self._next = asyncio.Event()
        self.waiting = 0

    def tell(self) -> None:
        """Have all who wait look again: records were written."""
        told, self._next = self._next, asyncio.Event()
        told.set()

    async def patiently(self, look: Callable[[], Awaitable[T]], wait_s: float) -> T:
        """Give what `look` gives; while it raises `UnknownJob` it is asked again as records come, for `wait_s` at most."""
        until_s = loop_s() + wait_s
        while True:
            news = self._next  # from before the look: what is written meanwhile is not missed
            try:
                return await look()
            except UnknownJob:
                left_s = until_s - loop_s()
                if left_s <= 0.0 or self.waiting >= MOST_WAITING:
                    raise
            await self._hear(news, min(left_s, LOOK_S))

    async def _hear(self, news: asyncio.Event, wait_s: float) -> None:
        self.waiting += 1
        try:
            async with asyncio.timeout(wait_s):
                await news.wait()
        except TimeoutError:
            pass  # looked at again all the same
        finally:
            self.waiting -= 1
