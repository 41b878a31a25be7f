"""A seat for a job: a free slot on the best device that has one, or a place in the line until one is free; it runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from common.clock import loop_s
from common.errors import DeadlineExceeded, DeadlineInfeasible, FleetError, InternalError
from common.frames import KeepAlive, Phase
from dispatcher.delivery.flow import Place
from dispatcher.delivery.line import Line
from dispatcher.delivery.overdue import overdue
from dispatcher.delivery.sink import AnswerSink
from dispatcher.delivery.ticket import Ticket
from dispatcher.outcomes import Candidate, Decision, Job, Ranking, Settled
from dispatcher.roster import Roster

Choose = Callable[[Mapping[str, str], float], Decision]
"""Asks routing again, with the devices that are out for this job and why, and the US dollars that it may have spent already."""

Nobody = Callable[[Decision], FleetError]
"""Says why a decision has no candidate."""

UNKNOWN_WORK_S = 1.0
"""What a job counts for that no device could take just now."""

ON, ANY = " on ", "any"
"""Between the model and the device of a kind, and what stands there for no device of its own."""

TICK_S = 1.0
"""A waiting producer hears this often that it waits, and where in the line."""


@dataclass(slots=True, kw_only=True)
class SlotFinder:
    """Finds slots for one job. Until `settled_s` a device that is not known may only not have been heard yet. `queued_s` is what
    the job has waited so far, `spent_usd` what its attempts so far may have cost."""

    roster: Roster
    line: Line
    job: Job
    choose: Choose
    nobody: Nobody
    out: AnswerSink
    settled_s: float
    queued_s: float = 0.0
    spent_usd: float = 0.0
    _decision: Decision | None = field(default=None)
    _settled: Settled | None = field(default=None)
    _model: str | None = field(default=None)

    @property
    def habit(self) -> tuple[str, str]:
        """Whose answers take as long as this job's."""
        return (self.job.tenant, self._kind)

    @property
    def _kind(self) -> str:
        return f"{self.job.model}{ON}{self.job.device or ANY}"

    @property
    def decided(self) -> Decision:
        """The last decision, until it is settled."""
        if self._decision is None:
            raise InternalError("a candidate was chosen without a decision")
        return self._decision

    async def take(self, excluded: Mapping[str, str], *, first: bool) -> Candidate:
        """Take a slot on the best device that has one; wait in the line when none has. Raises what `nobody` says."""
        started_s = loop_s()
        try:
            seat = self._free(self._decide(excluded))
            if seat is None:
                seat = await self._wait(excluded, first=first)
            else:
                self.line.take(seat.device)
            if not first:
                self._require_load(seat)
            self._model = seat.model
            return seat
        finally:
            self.queued_s += loop_s() - started_s

    def take_now(self, excluded: Mapping[str, str], *, warm: bool) -> Candidate | None:
        """Take a slot for a second attempt if there is one, with its model in memory when it must be `warm`; the decision of
        the first one stays."""
        free = self._free(self._choose(excluded))
        if free is None or (warm and not free.warm):
            return None
        self.line.take(free.device)
        return free

    def others(self, excluded: Mapping[str, str]) -> bool:
        """True when another device could take the job, now or when it has room."""
        return bool(self._ranked(self._choose(excluded)))

    def room_elsewhere(self, excluded: Mapping[str, str]) -> bool:
        """True when another device has a free slot for the job now."""
        return self._free(self._choose(excluded)) is not None

    def settle(self) -> None:
        """Keep of the decision what the record needs. It is asked for no more, once its job has a seat or a place in the line."""
        if self._decision is not None:
            self._settled, self._decision = self._decision.settled(), None

    @property
    def settled(self) -> Settled | None:
        """What is to be told of the last decision; None before the first."""
        self.settle()
        return self._settled

    def _choose(self, excluded: Mapping[str, str]) -> Decision:
        return self.choose(excluded, self.spent_usd)

    def _decide(self, excluded: Mapping[str, str]) -> Decision:
        self._decision = decision = self._choose(excluded)
        return decision

    # -- waiting -------------------------------------------------------------------------------------------------

    async def _wait(self, excluded: Mapping[str, str], *, first: bool) -> Candidate:
        """Wait in the line. Nothing that a decision was made from is held meanwhile, since over a large fleet that is a megabyte;
        of what limits keep from a job only the names are, which those who wait at the same limits share."""
        with self.line.join(self._place(self._ranked(self.decided)), first=first) as ticket:
            while True:
                hopes = self._hopes()
                ticket.held = hopes.held
                device = await self._slot(ticket, hopes, excluded)
                if device is None:
                    self._decide(excluded)
                elif (seat := self._seat_on(device, excluded)) is not None:
                    return seat
                else:
                    ticket.decline(device)

    def _hopes(self) -> _Hopes:
        """Say what the job waits for by the last decision, and settle that. Raises what `nobody` says when there is nothing."""
        decision = self.decided
        ranking = self._ranked(decision)
        devices = dict.fromkeys(ranking.devices())
        later = not devices and any(out.for_now for out in decision.removed)
        if not devices and not later and loop_s() >= self.settled_s:
            raise self.nobody(decision)
        hopes = _Hopes(devices, later=later, memory=decision.wants_memory(), held=decision.held())
        self.settle()
        return hopes

    async def _slot(self, ticket: Ticket, hopes: _Hopes, excluded: Mapping[str, str]) -> str | None:
        """Give a device, its slot taken; None when it is time to choose again."""
        while True:
            until_s = min(self.job.deadline_s, loop_s() + TICK_S)
            try:
                return await ticket.wait(hopes.devices, until_s=until_s)
            except TimeoutError:
                if loop_s() >= self.job.deadline_s:
                    raise self._too_late(excluded) from None
                ticket.require_time()
                await self.out.keep_alive(KeepAlive(Phase.QUEUE, ticket.eta_s, ticket.position))
                if loop_s() >= self.settled_s and hopes.stale:
                    return None

    def _seat_on(self, device: str, excluded: Mapping[str, str]) -> Candidate | None:
        """Choose anew now that a slot is there, as if it were still free: what was expected when the job began to wait may be a
        minute old. None when the job can't run there any more."""
        try:
            self.roster.release(device)
            try:
                return self._ranked(self._decide(excluded)).on(device)
            finally:
                self.roster.take(device)
        except BaseException:
            self.line.give_back(device)
            raise

    def _place(self, ranking: Ranking) -> Place:
        job, work = self.job, ranking.work()
        return Place(
            priority=job.priority,
            tenant=job.tenant,
            deadline_s=job.deadline_s,
            expected_s=UNKNOWN_WORK_S if work is None else work.likely_s,
            work_s=0.0 if work is None else work.sure_s,
            kind=self._kind,
        )

    def _require_load(self, seat: Candidate) -> None:
        """Raise `DeadlineInfeasible` and give the slot back for a load that can't end in time, by what this device has measured of
        its own."""
        if seat.warm or not self._load_is_measured(seat):
            return
        try:
            self.line.require_load(self._place(self.decided.candidates), seat.predicted_load_s)
        except DeadlineInfeasible:
            self.line.give_back(seat.device)
            raise

    def _load_is_measured(self, seat: Candidate) -> bool:
        device = self.roster.fleet.devices[seat.device]
        speed = device.beat.speeds.get(seat.model)
        return speed is not None and bool(speed.load_s)

    def _free(self, decision: Decision) -> Candidate | None:
        ranking = self._ranked(decision)
        for place in ranking.roomy():
            if self.line.has_room(ranking[place].device):
                return ranking[place]
        return None

    def _ranked(self, decision: Decision) -> Ranking:
        """Give the candidates best first. A text that has begun goes on where the backend can continue it, and first of all with
        the model that began it."""
        if not self.out.visible_chars:
            return decision.candidates
        devices, names = self.roster.fleet.devices, list(decision.candidates.names())
        able = [place for place, (device, _) in enumerate(names) if devices[device].beat.continues]
        able.sort(key=lambda place: self._model is not None and names[place][1] != self._model)
        return decision.candidates.picked(able)

    def _too_late(self, excluded: Mapping[str, str]) -> DeadlineExceeded:
        """Say what is in the way now: the decision it waited with may be a minute old, and is settled."""
        allowed_s = self.job.deadline_s - self.job.received_s
        return overdue(allowed_s, self._decide(excluded), self.roster.fleet.devices, self.nobody)


@dataclass(frozen=True, slots=True)
class _Hopes:
    """What a job waits for: devices, the best first; without any, perhaps one that is only away for now. `memory` tells that one
    lacks it for now, `held` names those that limits on heat and watts keep from it: the line is told when they are open again."""

    devices: Mapping[str, None]
    later: bool
    memory: bool
    held: frozenset[str]

    @property
    def stale(self) -> bool:
        """True when it is worth asking again though the line has no news: it does not say when memory comes free, and who hopes for
        nothing any more is told so. Asking always would cost a thousand waiting jobs a core."""
        return self.memory or not (self.devices or self.later)
