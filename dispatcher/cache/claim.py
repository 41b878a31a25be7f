"""That one dispatcher makes an answer, told to the others: a lease in the store that they share, renewed while it is made."""

from __future__ import annotations

import secrets

from common.clock import loop_s
from common.lifecycle import Spawn
from dispatcher.cache.store import Asking, Shelter
from dispatcher.cache.values import Place

LEASE_S = 6.0
"""A dispatcher that dies holds the others up no longer. Devices are heard each second, so a lease is renewed in time."""

RENEW_S = 2.0


class Claim:
    """The right to make one answer. Where nobody shares the store it is had for the asking."""

    def __init__(self, shelter: Shelter, place: Place, spawn: Spawn) -> None:
        self.place = place
        self._shelter = shelter
        self._spawn = spawn
        self._owner = secrets.token_hex(8)
        self._had_s: float | None = None

    async def take(self, within: Asking) -> bool:
        """Take it; False while another dispatcher has it. A store that does not say stops nobody."""
        if not self._shelter.shared:
            return True
        self._had_s = loop_s()  # before it is known: a cancel in between must not leave it behind
        place = self.place
        taken = await within.claim(place.tenant, place.exact, self._owner, LEASE_S)
        if not taken:
            self._had_s = None
        return taken

    def renew(self) -> None:
        """Keep it, if it is had, and time for that; nobody waits for it."""
        if self._had_s is not None and loop_s() >= self._had_s + RENEW_S:
            self._had_s = loop_s()
            place = self.place
            self._spawn(self._shelter.renew(place.tenant, place.exact, self._owner, LEASE_S))

    async def release(self) -> None:
        """Give it up, if it is had: whoever waits looks for the answer then, or makes it."""
        if self._had_s is not None:
            self._had_s = None
            await self._shelter.release(self.place.tenant, self.place.exact, self._owner)
