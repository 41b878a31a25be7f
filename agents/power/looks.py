"""A reader's looks at files, drivers and sockets that only know how to block; what it looks at is not known here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from agents.aside import Aside
from agents.power import Unreadable

Result = TypeVar("Result")


class Looks:
    """One look at a time, each in a thread. One that hangs is the only one: threads that hang would pile up with each retry."""

    def __init__(self) -> None:
        self._aside = Aside("power")
        self._last: Future[Any] | None = None

    @property
    def busy(self) -> bool:
        """True while a look goes on, also one that its caller gave up."""
        return self._last is not None and not self._last.done()

    async def look(self, call: Callable[[], Result]) -> Result:
        """Look. Raises `Unreadable` when the look before, which its caller gave up, has not ended yet."""
        if self.busy:
            raise Unreadable("it hangs: an earlier look at it has not ended")
        self._last = begun = self._aside.submit(call)
        return await asyncio.wrap_future(begun)

    async def settle(self, call: Callable[[], Result]) -> Result:
        """Look once the look before has ended, whenever that is: the deadline is the caller's."""
        while self._last is not None and not self._last.done():
            try:
                await asyncio.wrap_future(self._last)
            except Exception:  # noqa: BLE001, S110  # it was raised where that look was begun
                pass
        return await self.look(call)
