"""A seat for a job: a free slot on the best device that has one, or a place in the line until one is free; it runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from common.clock import loop_s, seconds_text
from common.errors import DeadlineExceeded, DeadlineInfeasible, FleetError, InternalError
from common.frames import KeepAlive, Phase
from common.messages import Speed
from dispatcher.delivery.flow import Place
from dispatcher.delivery.line import Line
from dispatcher.delivery.sink import AnswerSink
from dispatcher.outcomes import Candidate, Decision, Job
from dispatcher.roster import Roster

Choose = Callable[[Mapping[str, str]], Decision]
"""Asks routing again, with the devices that are out for this job and why."""

Nobody = Callable[[Decision], FleetError]
"""Says why a decision has no candidate."""

UNKNOWN_WORK_S = 1.0
"""What a job counts for that no device could take just now."""

NO_SPEED = Speed()

TICK_S = 1.0
"""A waiting producer hears this often that it waits, and where in the line."""


@dataclass(slots=True, kw_only=True)
class SlotFinder:
    """Finds slots for one job. Until `settled_s` a device that is not known may only not have been heard yet. `queued_s` is what
    the job has waited so far; `decision` the last that was asked for."""

    roster: Roster
    line: Line
    job: Job
    choose: Choose
    nobody: Nobody
    out: AnswerSink
    settled_s: float
    decision: Decision | None = None
    queued_s: float = 0.0
    _model: str | None = field(default=None)

    @property
    def habit(self) -> tuple[str, str]:
        """Whose answers take as long as this job's."""
        return (self.job.tenant, self._kind)

    @property
    def _kind(self) -> str:
        return f"{self.job.model} on {self.job.device or 'any'}"

    @property
    def decided(self) -> Decision:
        if self.decision is None:
            raise InternalError("a candidate was chosen without a decision")
        return self.decision

    async def take(self, excluded: Mapping[str, str], *, first: bool) -> Candidate:
        """Take a slot on the best device that has one; wait in the line when none has. Raises what `nobody` says."""
        started_s = loop_s()
        try:
            self.decision = decision = self.choose(excluded)
            seat = self._free(decision)
            if seat is None:
                seat = await self._wait(decision, excluded, first=first)
            else:
                self.line.take(seat.device)
            if not first:
                self._require_load(seat)
            return self._began(seat)
        finally:
            self.queued_s += loop_s() - started_s

    def take_now(self, excluded: Mapping[str, str], *, warm: bool) -> Candidate | None:
        """Take a slot for a second attempt if there is one, with its model in memory when it must be `warm`; the decision of
        the first one stays."""
        free = self._free(self.choose(excluded))
        if free is None or (warm and not free.warm):
            return None
        self.line.take(free.device)
        return free

    def others(self, excluded: Mapping[str, str]) -> bool:
        """True when another device could take the job, now or when it has room."""
        return bool(self._ranked(self.choose(excluded)))

    def room_elsewhere(self, excluded: Mapping[str, str]) -> bool:
        """True when another device has a free slot for the job now."""
        return self._free(self.choose(excluded)) is not None

    def _began(self, candidate: Candidate) -> Candidate:
        self._model = candidate.model
        return candidate

    async def _wait(self, decision: Decision, excluded: Mapping[str, str], *, first: bool) -> Candidate:
        with self.line.join(self._place(decision), first=first) as ticket:
            while True:
                candidates = self._ranked(decision)
                if not candidates and not self._may_change(decision):
                    raise self.nobody(decision)
                until_s = min(self.job.deadline_s, loop_s() + TICK_S)
                try:
                    # A dictionary keeps the order and drops the doubles: `auto` ranks several models of one device.
                    device = await ticket.wait(dict.fromkeys(one.device for one in candidates), until_s=until_s)
                except TimeoutError:
                    if loop_s() >= self.job.deadline_s:
                        raise self._too_late() from None
                    ticket.require_time()
                    await self.out.keep_alive(KeepAlive(Phase.QUEUE, ticket.eta_s, ticket.position))
                    # The line says when there is another choice, but not when memory comes free; asking always would cost a
                    # thousand waiting jobs a core.
                    if loop_s() < self.settled_s or not _wants_memory(decision):
                        continue
                    device = None
                if device is not None:
                    return next(one for one in candidates if one.device == device)
                self.decision = decision = self.choose(excluded)

    def _may_change(self, decision: Decision) -> bool:
        """True when waiting may help: for a device that is away for now, and for those that a new dispatcher has not heard yet."""
        return loop_s() < self.settled_s or any(out.for_now for out in decision.removed)

    def _place(self, decision: Decision) -> Place:
        job, candidates = self.job, decision.candidates
        return Place(
            priority=job.priority,
            tenant=job.tenant,
            deadline_s=job.deadline_s,
            expected_s=min((one.predicted_work_s for one in candidates), default=UNKNOWN_WORK_S),
            work_s=min((self._work_s(one) for one in candidates), default=0.0),
            kind=self._kind,
        )

    def _speed(self, candidate: Candidate) -> Speed:
        device = self.roster.fleet.devices[candidate.device]
        return device.beat.speeds.get(candidate.model) or NO_SPEED

    def _work_s(self, candidate: Candidate) -> float:
        return candidate.predicted_work_s - candidate.predicted_load_s if self._speed(candidate).decode_tps else 0.0

    def _require_load(self, seat: Candidate) -> None:
        """Raise `DeadlineInfeasible` and give the slot back for a load that can't end in time, by what this device has measured of
        its own."""
        if seat.warm or not self._speed(seat).load_s:
            return
        try:
            self.line.require_load(self._place(self.decided), seat.predicted_load_s)
        except DeadlineInfeasible:
            self.line.give_back(seat.device)
            raise

    def _free(self, decision: Decision) -> Candidate | None:
        return next((one for one in self._ranked(decision) if self.line.has_room(one.device)), None)

    def _ranked(self, decision: Decision) -> list[Candidate]:
        """Give the candidates best first. A text that has begun goes on where the backend can continue it, and first of all with
        the model that began it."""
        if not self.out.visible_chars:
            return list(decision.candidates)
        devices = self.roster.fleet.devices
        able = [one for one in decision.candidates if devices[one.device].beat.continues]
        return sorted(able, key=lambda one: self._model is not None and one.model != self._model)

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"no device had a free slot within {seconds_text(self.job.deadline_s - self.job.received_s)}: "
            "allow more time (timeout_s), or try again later",
            retry_after_s=TICK_S,
        )


def _wants_memory(decision: Decision) -> bool:
    return any(out.for_now and out.filter == "memory" for out in decision.removed)
