"""A power reader that always answers: in time, once at a time, and with no other fault than `Unreadable`; it knows no sensor."""

from __future__ import annotations

import asyncio

from agents.power import PowerReader, Reading, Unreadable
from common import logs

PATIENCE_S = 12.0
"""Longer than any reader's own deadline, whose words say more of what is wrong: jtop takes eight seconds, and two to end."""

CLOSE_S = 3.0
"""A child that is killed ends at once, a look at most a little later, unless it hangs."""

log = logs.get_logger("power")


class Patient:
    """Stands before a reader, which may hang or raise whatever its libraries do."""

    def __init__(self, reader: PowerReader, *, patience_s: float = PATIENCE_S) -> None:
        self.name = reader.name
        self._reader = reader
        self._patience_s = patience_s
        self._failed = ""
        # Whoever looks for a better reader may meet the one who reads.
        self._lock = asyncio.Lock()

    async def read(self) -> Reading:
        """Read once, and give up after `patience_s`. Raises `Unreadable`, whatever the reader raises."""
        deadline = asyncio.timeout(self._patience_s)
        try:
            async with deadline, self._lock:
                reading = await self._reader.read()
        except Unreadable:
            raise
        except Exception as error:
            if deadline.expired():
                raise Unreadable(f"it has not answered for {self._patience_s:g} s: it hangs") from error
            name = type(error).__name__
            # One reader that breaks costs its watts, and not the agent; a fault of ours is told once, with all that is known.
            if name != self._failed:
                log.exception("power.crashed", reader=self.name)
            self._failed = name
            raise Unreadable(f"its reader failed ({name}): the agent's log says more") from error
        self._failed = ""
        return reading

    async def close(self) -> None:
        """Close it, as far as that takes no longer than three seconds; never raises."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._reader.close()
        except Exception as error:  # noqa: BLE001  # what can't be let go of must not keep the others from it
            log.warning("power.unclosed", reader=self.name, why=str(error) or type(error).__name__)
