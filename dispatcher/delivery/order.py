"""The order of service: who of those that wait is next; a structure of values, without a clock, a loop or a device's state.

1. Classes: interactive, normal, batch, strictly; who has waited long counts as one class higher.
2. Inside a class the tenants share by weight: start-time fair queueing over the expected seconds of their jobs.
3. Inside a tenant: a job that had a device and lost it, then the earliest deadline, then the earliest arrival. Jobs that will
   hardly make their deadline come after all others of their class, and those with next to no chance after all others at all: under
   overload those that are served are then answered.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterator, Mapping

from dispatcher.delivery.flow import RANK, Chance, Flow, FlowKey, Place, Waiter, by_key, level

AGED_SHARE = 0.25
"""The weight of jobs that have risen by waiting, beside those that belong to the class. Enough that they move on, and little
enough that a thousand old batch jobs cost an interactive one a quarter of its share, not its class."""

MOST_IDLE = 1000
"""Tenants without a waiting job whose account is kept; their names come from strangers."""


Judge = Callable[[Place, float], Chance]
"""Says what chance a job has that gets its slot at this time."""

Fits = Callable[[Waiter], bool]


class Order:
    """All who wait. Times are passed in, and never run backwards."""

    def __init__(self, judge: Judge, *, guard_s: float, weights: Mapping[str, float]) -> None:
        self._judge = judge
        self._guard_s = guard_s
        self._weights = weights
        self._flows: tuple[dict[FlowKey, Flow], ...] = tuple({} for _ in RANK)
        self._idle: dict[FlowKey, float] = {}
        self._turn_s = [0.0 for _ in RANK]
        self._young: tuple[dict[Waiter, None], ...] = tuple({} for _ in RANK)
        self._count = 0

    def keep(self, *, guard_s: float, weights: Mapping[str, float]) -> None:
        """Go by another guard and other weights from now on, for those that wait already, too."""
        self._guard_s, self._weights = guard_s, weights
        for flows in self._flows:
            for (tenant, _, risen), flow in flows.items():
                flow.weight = self._weight(tenant, risen)

    def __len__(self) -> int:
        return sum(len(flow) for flows in self._flows for flow in flows.values())

    def add(self, waiter: Waiter, now_s: float) -> None:
        """Let somebody wait, who has chosen devices; of one who waits already only the choice is taken in."""
        if waiter.flow is not None:
            waiter.flow.devices.update(waiter.devices)
            return
        self._count += 1
        waiter.seq = self._count
        risen = self._risen(waiter, now_s)
        self._enter(waiter, risen)
        if risen < RANK[waiter.place.priority]:
            self._young[risen][waiter] = None

    def remove(self, waiter: Waiter) -> None:
        """Let somebody go, with or without a slot."""
        self._leave(waiter)
        for young in self._young:
            young.pop(waiter, None)

    def serve(self, waiter: Waiter) -> None:
        """Let somebody go who has a slot now: its tenant pays."""
        flow = waiter.flow
        if flow is not None:
            self._turn_s[flow.level] = max(self._turn_s[flow.level], flow.served_s)
            flow.served_s += waiter.place.cost_s / flow.weight
        self.remove(waiter)

    def pick(self, fits: Fits, now_s: float) -> Waiter | None:
        """Say whose turn it is among those that `fits` accepts; nobody leaves."""
        self.age(now_s)
        slight: list[Waiter] = []
        for flows in self._flows:
            for waiter in self._in_turn(flows, now_s, slight):
                if fits(waiter):
                    return waiter
        return next(filter(fits, slight), None)

    def ranking(self, now_s: float) -> list[Waiter]:
        """Give all in the order of service, as if every slot suited everybody."""
        self.age(now_s)
        rows = [
            (flow.level, poor, start_s, flow.number, waiter.key, waiter)
            for flows in self._flows
            for flow in flows.values()
            for poor, start_s, waiter in flow.in_order()
        ]
        rows.sort(key=lambda row: row[:5])
        return [row[5] for row in rows]

    def ahead(self, waiter: Waiter) -> Iterator[Waiter]:
        """Give about those who are served before somebody who is about to wait; rather too few than too many."""
        at, turn_s = self._turn(waiter)
        for flows in self._flows[:at]:
            for flow in flows.values():
                yield from flow.good
        for flow in self._flows[at].values():
            yield from flow.good[: flow.ahead(turn_s)]

    def displaced_by(self, newcomer: Waiter) -> Waiter | None:
        """Say who has to go so that a newcomer can wait: the last of all, if the newcomer would be served before it.

        That is so if the newcomer's class is higher, or if its tenant has had, and waits for, less of its share. A job that had a
        device stays, and nobody pushes out a job of the own tenant and class.
        """
        last = self._last()
        if last is None or last.flow is None or last.first:
            return None
        at, turn_s = self._turn(newcomer)
        if at != last.flow.level:
            return last if at < last.flow.level else None
        if newcomer.place.tenant == last.place.tenant:
            return None
        last_s = last.flow.served_s + (last.flow.cost_s - last.place.cost_s) / last.flow.weight
        return last if turn_s + newcomer.place.cost_s / self._weight(newcomer.place.tenant, 0) < last_s else None

    def age(self, now_s: float) -> None:
        """Let those rise who have waited long enough. Cheap when nobody has: the oldest stand in front."""
        for risen, young in enumerate(self._young):
            while young and self._risen(oldest := next(iter(young)), now_s) > risen:
                del young[oldest]
                self._leave(oldest)
                steps = self._risen(oldest, now_s)
                self._enter(oldest, steps)
                if steps < RANK[oldest.place.priority]:
                    self._young[steps][oldest] = None

    # -- inside --------------------------------------------------------------------------------------------------

    def _risen(self, waiter: Waiter, now_s: float) -> int:
        priority = waiter.place.priority
        return RANK[priority] - level(priority, now_s - waiter.joined_s, self._guard_s)

    def _weight(self, tenant: str, risen: int) -> float:
        return self._weights.get(tenant, 1.0) * (AGED_SHARE if risen else 1.0)

    def _enter(self, waiter: Waiter, risen: int) -> None:
        place = waiter.place
        key = (place.tenant, place.priority, risen)
        flows = self._flows[RANK[place.priority] - risen]
        flow = flows.get(key)
        if flow is None:
            at = RANK[place.priority] - risen
            flow = flows[key] = Flow(
                key=key,
                level=at,
                weight=self._weight(place.tenant, risen),
                number=waiter.seq,
                served_s=self._opening(key, at, waiter.devices),
            )
            self._idle.pop(key, None)
        insort(flow.poor if waiter.poor else flow.good, waiter, key=by_key)
        flow.devices.update(waiter.devices)
        flow.cost_s += place.cost_s
        waiter.flow = flow

    def _leave(self, waiter: Waiter) -> None:
        flow = waiter.flow
        if flow is None:
            return
        waiters = flow.poor if waiter.poor else flow.good
        del waiters[bisect_left(waiters, waiter.key, key=by_key)]
        flow.cost_s -= waiter.place.cost_s
        waiter.flow = None
        if not len(flow):
            del self._flows[flow.level][flow.key]
            self._remember(flow)

    def _remember(self, flow: Flow) -> None:
        """Keep the account of a tenant that waits for nothing now: else who comes one by one would never pay."""
        if flow.served_s > self._turn_s[flow.level]:
            self._idle[flow.key] = flow.served_s
            if len(self._idle) > MOST_IDLE:
                del self._idle[next(iter(self._idle))]

    def _opening(self, key: FlowKey, at: int, devices: Collection[str]) -> float:
        """Give the virtual time of a tenant that begins to wait: nothing is saved up by not asking.

        It begins beside those that compete for its devices, which are those that want at least half of them: with two fleets in
        one, what one of them did must not set back a tenant of the other. Without any, where the class stands.
        """
        rivals = [
            flow.served_s
            for flow in self._flows[at].values()
            if not devices or 2 * len(flow.devices.intersection(devices)) >= len(devices)
        ]
        return max(self._idle.get(key, 0.0), min(rivals, default=self._turn_s[at]))

    def _turn(self, waiter: Waiter) -> tuple[int, float]:
        """Give the class and the virtual time at which somebody's turn comes."""
        flow, place = waiter.flow, waiter.place
        at, key = RANK[place.priority], (place.tenant, place.priority, 0)
        if flow is None:
            flow = self._flows[at].get(key)
        if flow is None:
            return at, self._opening(key, at, waiter.devices)
        return flow.level, flow.start_s(
            waiter.key if waiter.seq else (not waiter.first, place.deadline_s, self._count + 1)
        )

    def _last(self) -> Waiter | None:
        for flows in reversed(self._flows):
            if flows:
                flow = max(
                    flows.values(), key=lambda flow: (bool(flow.poor), flow.served_s + flow.cost_s / flow.weight)
                )
                return (flow.poor or flow.good)[-1]
        return None

    def _in_turn(self, flows: Mapping[FlowKey, Flow], now_s: float, slight: list[Waiter]) -> Iterator[Waiter]:
        """Give the waiters of one class in their order: tenant after tenant, those with a poor chance last; those with next to none
        are only noted."""
        turns = [(flow.served_s, flow.number, flow) for flow in flows.values()]
        heapq.heapify(turns)
        late = sorted(turns, key=lambda row: row[:2])
        while turns:
            yield from self._good(heapq.heappop(turns)[2], now_s)
        for _, _, flow in late:
            for waiter in list(flow.poor):
                if self._judge(waiter.place, now_s) is Chance.SLIGHT:
                    slight.append(waiter)
                else:
                    yield waiter

    def _good(self, flow: Flow, now_s: float) -> Iterator[Waiter]:
        """Give those with a good chance, and set back whoever has it no more. That is for good: its time only shrinks, and that
        answers become shorter than they were is rare, while to judge all anew for each slot is dear."""
        index = 0
        while index < len(flow.good):
            waiter = flow.good[index]
            if waiter.first or self._judge(waiter.place, now_s) is Chance.GOOD:
                yield waiter
                index += 1
            else:
                del flow.good[index]
                waiter.poor = True
                insort(flow.poor, waiter, key=by_key)
