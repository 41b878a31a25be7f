"""The line of jobs that wait for a slot: first come, first served, per device; it knows no job and no score.

The roster counts the slots; the line only says who is next when one becomes free.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from dispatcher.roster import Change, DeviceEvent, Roster


class Ticket:
    """One place in the line, kept until its holder has a slot or gives up."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.devices: Collection[str] = ()
        self._granted: asyncio.Future[str | None] | None = None
        self._missed = False

    @property
    def position(self) -> int:
        """How many stand before this one, plus 1."""
        return self._line.position(self)

    async def wait(self, devices: Collection[str], *, until_s: float) -> str | None:
        """Wait for a slot on one of `devices`, the best first; give the device, its slot taken, or None when the fleet has changed.

        Raises `TimeoutError` at `until_s` (the loop's clock).
        """
        self.devices = devices
        if self._missed:
            self._missed = False
            return None
        granted = self._granted = asyncio.get_running_loop().create_future()
        for device in devices:
            self._line.serve(device)
        try:
            async with asyncio.timeout_at(until_s):
                slot: str | None = await granted
                return slot
        except BaseException:
            # The slot may have been granted in the very moment of the time-out or of a cancel.
            if granted.done() and not granted.cancelled() and (missed := granted.result()):
                self._line.give_back(missed)
            raise
        finally:
            self._granted = None

    def wants(self, device: str) -> bool:
        return self._granted is not None and not self._granted.done() and device in self.devices

    def grant(self, device: str | None) -> None:
        if self._granted is not None and not self._granted.done():
            self._granted.set_result(device)
        elif device is None and (self._granted is None or self._granted.cancelled()):
            self._missed = (
                True  # its holder is telling the producer that it waits, and must hear of it when it waits again
            )


class Line:
    """All tickets, in the order in which they are served."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._tickets: OrderedDict[Ticket, None] = OrderedDict()
        roster.on_change(self._changed)

    @property
    def waiting(self) -> int:
        return len(self._tickets)

    def position(self, ticket: Ticket) -> int:
        return next((n for n, other in enumerate(self._tickets, start=1) if other is ticket), 0)

    @contextmanager
    def join(self, *, first: bool) -> Iterator[Ticket]:
        """Stand in the line: at its head for a job that had a device and lost it, else at its end."""
        ticket = Ticket(self)
        self._tickets[ticket] = None
        if first:
            self._tickets.move_to_end(ticket, last=False)
        try:
            yield ticket
        finally:
            del self._tickets[ticket]

    def take(self, device: str) -> None:
        """Take a slot that looks free."""
        self._roster.take(device)

    def give_back(self, device: str) -> None:
        """Give a slot back; the next in line gets it."""
        self._roster.release(device)
        self.serve(device)

    def serve(self, device: str) -> None:
        """Hand the free slots of a device to those who wait for it."""
        known = self._roster.fleet.devices
        while self._tickets and device in known and known[device].usable and known[device].free_slots:
            ticket = next((ticket for ticket in self._tickets if ticket.wants(device)), None)
            if ticket is None:
                return
            self._roster.take(device)
            ticket.grant(device)

    def _changed(self, event: DeviceEvent) -> None:
        """Serve who waits for this device; let choose again whose choice may be another now: all when a device has come, and those
        that waited for it when it has gone."""
        name = event.device.name
        if event.change is Change.ROOM:
            self.serve(name)
            return
        gone = event.change in {Change.SUSPECT, Change.LOST, Change.LEFT, Change.TRIPPED}
        for ticket in list(self._tickets):
            if not gone or name in ticket.devices or not ticket.devices:
                ticket.grant(None)
