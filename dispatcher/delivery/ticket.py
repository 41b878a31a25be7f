"""One place in the line, as its holder sees it; who is next is not known here."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

from common.errors import FleetError
from dispatcher.delivery.flow import Place, Waiter


class Keeper(Protocol):
    """Who keeps the line that a ticket stands in."""

    @property
    def epoch(self) -> int:
        """How often the fleet has changed."""
        ...

    def choose(self, ticket: Ticket, devices: Collection[str]) -> None:
        """Take in what a ticket waits for; a slot that is free for it is granted before this returns."""
        ...

    def position(self, ticket: Ticket) -> int:
        """Give its place in the order of service."""
        ...

    def eta_s(self, ticket: Ticket) -> float | None:
        """Give the seconds until it is served, as far as that is known."""
        ...

    def require_time(self, ticket: Ticket) -> None:
        """Raise `DeadlineInfeasible` when it waits in vain."""
        ...


class Ticket(Waiter):
    """One place in the line, kept until its holder has a slot or leaves."""

    def __init__(self, line: Keeper, place: Place, *, first: bool, now_s: float, epoch: int) -> None:
        super().__init__(place, first=first, joined_s=now_s)
        self.chosen_at = self.told_at = epoch
        self.slot: str | None = None
        self.held: frozenset[str] = frozenset()
        """Devices that limits on heat and watts kept from its job, when its holder chose last."""
        self._line = line
        self._news = False
        self._refused: FleetError | None = None
        self._calling: asyncio.Future[None] | None = None

    @property
    def position(self) -> int:
        """The place in the order of service, from 1; up to `POSITIONS_S` old."""
        return self._line.position(self)

    @property
    def eta_s(self) -> float | None:
        """Seconds until a slot comes, by how fast the line moves now; None while that is not known."""
        return self._line.eta_s(self)

    def require_time(self) -> None:
        """Raise `DeadlineInfeasible` when its turn can't come in time any more."""
        self._line.require_time(self)

    async def wait(self, devices: Collection[str], *, until_s: float) -> str | None:
        """Wait for a slot on one of `devices`, the best first; give the device, its slot taken, or None when the fleet has changed
        and the holder is to choose again, at once.

        Raises `TimeoutError` at `until_s` (the loop's clock), and keeps its place; `DeadlineInfeasible` when there is no point in
        waiting; `QueueFull` when somebody else needed the place.
        """
        if not self._called or (self.slot is not None and self.slot not in devices):
            self._line.choose(self, devices)
        if not self._called:
            await self._call(until_s)
        if self._refused is not None:
            raise self._refused
        if self.slot is not None:
            device, self.slot = self.slot, None
            return device
        self._news = False
        self.told_at = self._line.epoch
        return None

    def decline(self, device: str) -> None:
        """Give back a slot that `wait` gave and that is of no use. The ticket keeps its place, and its next `wait`, which must not
        name the device, hands the slot on."""
        self.slot = device

    async def _call(self, until_s: float) -> None:
        self._calling = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout_at(until_s):
                await self._calling
        except TimeoutError:
            if not self._called:
                raise
        finally:
            self._calling = None

    @property
    def _called(self) -> bool:
        return self._news or self.slot is not None or self._refused is not None

    def grant(self, device: str) -> None:
        """Give a slot, which was taken; whoever leaves the line with it gives it back."""
        self.slot, self._news = device, False
        self._wake()

    def ask(self) -> None:
        """Let the holder choose again."""
        self._news = True
        self._wake()

    def refuse(self, error: FleetError) -> None:
        """End the waiting."""
        self._refused = error
        self._wake()

    def _wake(self) -> None:
        if self._calling is not None and not self._calling.done():
            self._calling.set_result(None)
