"""That one dispatcher makes an answer, told to the others: a lease in the store that they share, renewed while it is made."""

from __future__ import annotations

from common.clock import loop_s
from dispatcher.cache.store import Shelter
from dispatcher.cache.values import Place

LEASE_S = 6.0
"""A dispatcher that dies holds the others up no longer. Devices are heard each second, so a lease is renewed in time."""

RENEW_S = 2.0


class Claim:
    """The right to make one answer. Where nobody shares the store it is had for the asking."""

    def __init__(self, shelter: Shelter, place: Place, owner: str) -> None:
        self.place = place
        self._shelter = shelter
        self._owner = owner
        self._taken_s: float | None = None

    async def take(self) -> bool:
        """Take it; False while another dispatcher has it. A store that does not say stops nobody."""
        if not self._shelter.shared:
            return True
        taken = await self._ask()
        self._taken_s = loop_s() if taken else None
        return taken

    async def renew(self) -> None:
        """Keep it, if it is had, and time for that."""
        if self._taken_s is not None and loop_s() >= self._taken_s + RENEW_S:
            self._taken_s = loop_s()
            await self._ask()

    async def release(self) -> None:
        """Give it up, if it is had: whoever waits looks for the answer then, or makes it."""
        if self._taken_s is not None:
            self._taken_s = None
            await self._shelter.release(self.place.tenant, self.place.exact, self._owner)

    async def _ask(self) -> bool:
        return await self._shelter.claim(self.place.tenant, self.place.exact, self._owner, LEASE_S)
