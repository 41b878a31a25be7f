"""The line of jobs that wait for a slot: hands each slot that comes free to whoever is next; it knows no job and no score.

The roster counts the slots, `order` says who is next, `pace` how fast it goes. A ticket keeps its place, and can be given a slot,
from its first `wait` until it is left, also while its holder is busy with something else.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from common.clock import loop_s
from common.errors import FleetError, QueueFull
from dispatcher.delivery.flow import Place, Waiter
from dispatcher.delivery.habits import Habits
from dispatcher.delivery.order import Order
from dispatcher.delivery.pace import Pace
from dispatcher.delivery.prospects import Ahead, Prospects
from dispatcher.delivery.ticket import Ticket
from dispatcher.roster import Change, DeviceEvent, Roster

ASKED_AT_ONCE = 8
"""Tickets that choose again in one turn of the loop: a choice among 20 devices with 4 models takes a millisecond."""

POSITIONS_S = 0.25
"""Positions are counted anew at most this often: for a thousand tickets that takes 3 ms, and each asks every second."""


class Standing(NamedTuple):
    """Where one stands who waits: the place in the order, from 1, and those of its kind in front."""

    position: int
    ahead: Ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the line is kept. `limit` counts those that wait; tenants without a weight have 1."""

    limit: int = 1000
    guard_s: float = 60.0
    weights: Mapping[str, float] = field(default_factory=dict)


class Line:
    """All tickets of one dispatcher."""

    def __init__(self, roster: Roster, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.pace = Pace()
        self.habits = Habits()
        self._prospects = Prospects(roster, self.pace, self.habits)
        self.epoch = 0
        self._roster = roster
        self._order = Order(self._prospects.chance, guard_s=self.rules.guard_s, weights=self.rules.weights)
        self._tickets: dict[Ticket, None] = {}
        self._changed_at: dict[str, int] = {}
        self._asking: dict[Ticket, None] = {}
        self._shut_out: dict[Ticket, None] = {}
        self._again: deque[tuple[Ticket, int]] = deque()
        self._due: dict[str, None] = {}
        self._serving = False
        self._kinds: Counter[str] = Counter()
        self._standings: dict[Waiter, Standing] = {}
        self._counted_s = -POSITIONS_S
        roster.on_change(self._changed)

    def keep(self, rules: Rules) -> None:
        """Go by other rules from now on; nobody who waits is sent away for a lower limit."""
        self.rules = rules
        self._order.keep(guard_s=rules.guard_s, weights=rules.weights)
        self._standings.clear()

    @property
    def waiting(self) -> int:
        """Tickets without a slot."""
        return len(self._tickets)

    @property
    def kinds(self) -> Mapping[str, int]:
        """Give how many wait for the same, as `Place.kind` names it."""
        return self._kinds

    @contextmanager
    def join(self, place: Place, *, first: bool = False) -> Iterator[Ticket]:
        """Stand in the line; `first` is for a job that had a device and lost it. The holder has chosen its devices just before.

        Raises `QueueFull` when the limit is reached and nobody stands behind this place.
        """
        now_s = loop_s()
        ticket = Ticket(self, place, first=first, now_s=now_s, epoch=self.epoch)
        self._make_room(ticket)
        self._wait(ticket)
        try:
            yield ticket
        finally:
            self._leave(ticket)

    def position(self, ticket: Ticket) -> int:
        """Give the place in the order of service, from 1; one that has not waited yet comes behind all others."""
        if ticket.flow is None:
            return 1 if ticket.slot is not None else len(self._order) + 1
        return self._standing(ticket).position

    def eta_s(self, ticket: Ticket) -> float | None:
        """Give the seconds until a ticket's turn, by how fast the line moves now; None while that is not known."""
        if ticket.flow is None:
            return None
        return self.pace.wait_s(self._standing(ticket).ahead.number + 1, ticket.place.kind)

    def require_time(self, ticket: Ticket) -> None:
        """Raise `DeadlineInfeasible` when a ticket that waits has no chance any more, as others came who go before it."""
        if ticket.flow is not None and not ticket.first:
            self._prospects.require_turn(ticket, self._standing(ticket).ahead, loop_s())

    def require_load(self, place: Place, measured_s: float) -> None:
        """Raise `DeadlineInfeasible` when there is too little time for a load that has been seen to take so long."""
        self._prospects.require_load(place, measured_s, loop_s())

    def has_room(self, device: str) -> bool:
        """Tell whether a slot is free that nobody in the line is about to get."""
        return self._room(device) > len(self._asking)

    def take(self, device: str) -> None:
        """Take a slot that looks free."""
        self._roster.take(device)

    def give_back(self, device: str) -> None:
        """Give a slot back; the next in line gets it. With the job its watts are gone: somebody may be next whom only a limit on
        them kept from another device, and chooses again before anybody else gets this slot."""
        self._roster.release(device)
        held = self._next_held(device)
        if held is None:
            self._serve(device)
        else:
            self._ask(held)
            asyncio.get_running_loop().call_soon(self._serve, device)

    def reopen(self, shut: frozenset[str]) -> None:
        """Let those choose again whom limits kept from a device that is none of the `shut` ones any more: in their order, and as
        many as have room there. Most tickets share one set of names: each set is looked at once."""
        sets = {id(ticket.held): ticket.held for ticket in self._tickets}
        opened = {number: held - shut for number, held in sets.items() if not held <= shut}
        if not opened:
            return
        freed = frozenset[str]().union(*opened.values())
        self.epoch += 1
        idle = not self._again
        held = (one for one in self._order.ranking(loop_s()) if isinstance(one, Ticket) and id(one.held) in opened)
        places = max(1, sum(map(self._room, freed)))
        self._again.extend((ticket, self.epoch) for ticket in islice(held, places))
        if idle:
            self._ask_some()

    def choose(self, ticket: Ticket, devices: Collection[str]) -> None:
        """Take in which devices a ticket waits for, the best first, and hand it one of them if it is next. Raises
        `DeadlineInfeasible`."""
        changed = self._answered(ticket)
        ticket.devices, ticket.chosen_at = devices, ticket.told_at
        self._shut_out.pop(ticket, None)
        if ticket.held and not devices:
            self._shut_out[ticket] = None
        if ticket.slot is not None and ticket.slot not in devices:
            slot, ticket.slot = ticket.slot, None
            self._wait(ticket)
            self.give_back(slot)
        if ticket in self._tickets:
            now_s = loop_s()
            # Who had a device is never told that it is hopeless: its producer has seen it begin.
            if ticket.flow is None and not ticket.first:
                ahead = self._prospects.ahead(ticket.place, self._order.ahead(ticket), now_s)
                self._prospects.require_turn(ticket, ahead, now_s)
            self._order.add(ticket, now_s)
        self._serve(*filter(self._room, devices), *changed)

    # -- inside --------------------------------------------------------------------------------------------------

    def _standing(self, ticket: Ticket) -> Standing:
        """Give where somebody stands, up to `POSITIONS_S` ago; the chanceless are nobody's reason to wait."""
        now_s = loop_s()
        if now_s - self._counted_s >= POSITIONS_S or ticket not in self._standings:
            self._counted_s = now_s
            self._standings.clear()
            ahead: dict[str, Ahead] = defaultdict(Ahead)
            for position, one in enumerate(self._order.ranking(now_s), start=1):
                number, work_s = before = ahead[one.place.kind]
                self._standings[one] = Standing(position, before)
                if not one.poor:
                    ahead[one.place.kind] = Ahead(number + 1, work_s + self._prospects.work_s(one.place, now_s))
        return self._standings[ticket]

    def _serve(self, *devices: str) -> None:
        """Hand out the free slots of devices. A grant may bring further devices up; they follow, and nothing is nested."""
        self._due.update(dict.fromkeys(devices))
        if self._serving:
            return
        self._serving = True
        try:
            while self._due and self._tickets:
                device = next(iter(self._due))
                del self._due[device]
                self._serve_one(device)
        finally:
            self._due.clear()
            self._serving = False

    def _serve_one(self, device: str) -> None:
        """Go through the order until the slots are used up. Who does not know the device as it is now is asked first, and its slot
        waits for the answer: nobody behind may take it meanwhile."""
        asked: set[Waiter] = set()

        def fits(waiter: Waiter) -> bool:
            known = self._changed_at.get(device, 0) <= waiter.chosen_at if isinstance(waiter, Ticket) else False
            return waiter not in asked and (device in waiter.devices if known else True)

        # Asked anew each time: a device that is on trial has room for one.
        while len(asked) < min(self._room(device), ASKED_AT_ONCE):
            ticket = self._order.pick(fits, loop_s())
            if not isinstance(ticket, Ticket):
                return
            if self._changed_at.get(device, 0) > ticket.chosen_at:
                asked.add(ticket)
                if ticket not in self._asking:
                    self._ask(ticket)
            else:
                self._grant(ticket, device)

    def _next_held(self, device: str) -> Ticket | None:
        """Give who comes before all that wait for a device, and waits for none since limits keep it from all."""
        if not self._shut_out:
            return None
        first = self._order.pick(lambda one: device in one.devices or one in self._shut_out, loop_s())
        return first if isinstance(first, Ticket) and first in self._shut_out and first not in self._asking else None

    def _room(self, name: str) -> int:
        device = self._roster.fleet.devices.get(name)
        return device.free_slots if device is not None and device.usable else 0

    def _grant(self, ticket: Ticket, device: str) -> None:
        changed = self._answered(ticket)
        self._roster.take(device)
        self._order.serve(ticket)
        if not ticket.first:  # who lost a device was served before
            self.pace.granted(loop_s(), ticket.place.kind)
        self._forget(ticket)
        ticket.grant(device)
        self._due.update(dict.fromkeys(changed))

    def _refuse(self, waiter: Waiter, error: FleetError) -> None:
        if isinstance(waiter, Ticket):
            self._order.remove(waiter)
            self._forget(waiter)
            waiter.refuse(error)
            self._serve(*self._answered(waiter))

    def _leave(self, ticket: Ticket) -> None:
        self._order.remove(ticket)
        self._forget(ticket)
        self._serve(*self._answered(ticket))
        if ticket.slot is not None:
            slot, ticket.slot = ticket.slot, None
            self.give_back(slot)

    def _wait(self, ticket: Ticket) -> None:
        self._tickets[ticket] = None
        self._kinds[ticket.place.kind] += 1

    def _forget(self, ticket: Ticket) -> None:
        self._standings.pop(ticket, None)
        self._shut_out.pop(ticket, None)
        if ticket not in self._tickets:
            return
        del self._tickets[ticket]
        kind = ticket.place.kind
        self._kinds[kind] -= 1
        if not self._kinds[kind]:
            del self._kinds[kind]
            self.pace.idle(kind)

    def _ask(self, ticket: Ticket) -> None:
        self._asking[ticket] = None
        ticket.ask()

    def _answered(self, ticket: Ticket) -> tuple[str, ...]:
        """End the asking of a ticket, if it was asked; gives the devices whose slots waited for its answer."""
        if ticket not in self._asking:
            return ()
        del self._asking[ticket]
        return tuple(name for name, epoch in self._changed_at.items() if epoch > ticket.chosen_at)

    def _changed(self, event: DeviceEvent) -> None:
        """Serve who waits for this device. Another state or other models make old choices doubtful: whoever has no other device to
        wait for chooses again soon, and the rest when a slot there is theirs to take. A fleet of 20 and a line of 1,000 would
        else cost a second of choosing at each change, and most of it for nothing."""
        name = event.device.name
        if event.change is not Change.ROOM:
            self.epoch += 1
            devices = self._roster.fleet.devices
            self._changed_at = {one: epoch for one, epoch in self._changed_at.items() if one in devices}
            self._changed_at[name] = self.epoch
            usable = {one for one, device in devices.items() if device.usable and one != name}
            idle = not self._again
            self._again.extend((ticket, self.epoch) for ticket in self._tickets if usable.isdisjoint(ticket.devices))
            if idle:
                self._ask_some()
        self._serve(name)

    def _ask_some(self) -> None:
        """Let a few choose again, and the others in the next turns of the loop."""
        asked = 0
        while self._again and asked < ASKED_AT_ONCE:
            ticket, epoch = self._again.popleft()
            if ticket in self._tickets and ticket.chosen_at < epoch and ticket not in self._asking:
                self._ask(ticket)
                asked += 1
        if self._again:
            asyncio.get_running_loop().call_soon(self._ask_some)

    # -- bounds --------------------------------------------------------------------------------------------------

    def _make_room(self, ticket: Ticket) -> None:
        """Let a ticket in, in place of the last one if need be. Raises `QueueFull`.

        A job that had a device is let in anyhow: there are no more of them than slots, and their producers have been promised an
        answer. But with a limit of 0 nobody waits.
        """
        limit, waiting = self.rules.limit, len(self._tickets)
        if limit and (waiting < limit or ticket.first):
            return
        last = self._order.displaced_by(ticket) if limit else None
        retry_after_s = self._prospects.retry_after_s(ticket.place, waiting / 2)
        if last is None:
            raise QueueFull(_full(waiting, limit), retry_after_s=retry_after_s)
        what = f"the line is full (limit {limit}) and a job that goes before this one came: try again later"
        self._refuse(last, QueueFull(what, retry_after_s=retry_after_s))


def _full(waiting: int, limit: int) -> str:
    if not limit:
        return "no device has a free slot, and nobody may wait (DROVER_QUEUE_LIMIT=0): try again later"
    return f"{waiting} jobs wait already (limit {limit}): try again later"
