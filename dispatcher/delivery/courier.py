"""The courier: takes a job from device to device until one has answered it; it knows no score and keeps no record.

Attempts are numbered, and the number stands in the subject that the device answers to. A failed attempt is fenced before the next
one begins: whatever its device still sends is dropped, so that the producer sees one answer.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace

from common import codec, frames
from common.bus import Bus
from common.bus.mux import ReplyMux
from common.codec import Encoding
from common.errors import (
    AttemptError,
    BusError,
    DeadlineExceeded,
    DeviceBusy,
    DeviceLost,
    DeviceSilent,
    FleetError,
    InternalError,
)
from common.frames import KeepAlive, Phase
from common.messages import Dispatch, Message, Options, Role, Usage
from common.subjects import Subjects
from dispatcher.delivery.clocks import Clock, Limits, Progress, strikes
from dispatcher.delivery.inbox import Inbox
from dispatcher.delivery.line import Line
from dispatcher.delivery.retry import GiveUp, TryNext, after, interrupted
from dispatcher.delivery.sink import AnswerSink
from dispatcher.delivery.watch import Watch
from dispatcher.delivery.why import why
from dispatcher.outcomes import Attempt, Candidate, Decision, Delivered, Job
from dispatcher.roster import Change, DeviceEvent, Roster

Choose = Callable[[Mapping[str, str]], Decision]
"""Asks routing again, with the devices that are out for this job and why."""

Nobody = Callable[[Decision], FleetError]
"""Says why a decision has no candidate."""

Cancelled = Callable[[], FleetError | None]
"""Says who cancelled the job, when its task is cancelled; None when the whole process ends."""

MOST_ATTEMPTS = 16
"""So many attempts are kept for the account, the first and the last: refusals are unlimited, and a frame is not."""

PATIENCE = 3.0
"""A first token may take this many times what was predicted, if that is longer than the clock allows."""

TICK_S = 1.0
"""A waiting producer hears this often that it waits, and where in the line."""


class Courier:
    """Delivers any number of jobs at once. One per dispatcher."""

    def __init__(
        self,
        bus: Bus,
        mux: ReplyMux,
        roster: Roster,
        *,
        limits: Limits,
        subjects: Subjects,
        dispatcher: str,
        settle_s: float = 0.0,
    ) -> None:
        self.bus = bus
        self.mux = mux
        self.roster = roster
        self.line = Line(roster)
        self.limits = limits
        self.subjects = subjects
        self.dispatcher = dispatcher
        self.settled_s = _now() + settle_s
        """Until then a device that is not known may only not have been heard yet."""
        self._runs: dict[str, dict[_Run, None]] = defaultdict(dict)
        roster.on_change(self._changed)

    async def deliver(
        self, job: Job, choose: Choose, nobody: Nobody, out: AnswerSink, cancelled: Cancelled
    ) -> Delivered:
        """Answer the job; never raises a `FleetError`: the error is in what it returns. `out` gets the text, not the end."""
        run = _Run(self, job, choose, nobody, out)
        with self.mux.slot(run.inbox.put) as reply:
            try:
                return await run.go(reply)
            except asyncio.CancelledError:
                error = cancelled()
                if error is None:
                    raise
                return run.delivered(error=error)

    def runs_on(self, device: str, run: _Run) -> None:
        """Note that `run` has an attempt on `device`."""
        self._runs[device][run] = None

    def left(self, device: str, run: _Run) -> None:
        self._runs[device].pop(run, None)

    def _changed(self, event: DeviceEvent) -> None:
        """Fail the attempts of a device that is gone; after a restart, those that the boot before had accepted."""
        if event.change not in {Change.LOST, Change.RESTARTED, Change.LEFT}:
            return
        for run in list(self._runs[event.device.name]):
            if event.change is not Change.RESTARTED or run.boot not in {None, event.device.beat.boot}:
                run.inbox.fail(DeviceLost(f"device {event.device.name} {_gone(event)}"))


def _gone(event: DeviceEvent) -> str:
    match event.change:
        case Change.RESTARTED:
            return "was restarted; what it ran is lost"
        case Change.LEFT:
            return "signed off"
        case _:
            return "sends no heartbeat any more"


class _Run:
    """One job on its way."""

    def __init__(self, courier: Courier, job: Job, choose: Choose, nobody: Nobody, out: AnswerSink) -> None:
        self._courier = courier
        self._job = job
        self._choose = choose
        self._nobody = nobody
        self._out = out
        self.inbox = Inbox()
        self.boot: str | None = None
        self._limits = courier.limits
        self._attempts: list[Attempt] = []
        self._excluded: dict[str, str] = {}
        self._chosen: Candidate | None = None
        self._decision: Decision | None = None
        self._number = 0
        self._begun_chars = 0
        self._queue_s = 0.0
        self._first_token_s: float | None = None

    async def go(self, reply: Callable[[int], str]) -> Delivered:
        """Try device after device."""
        while True:
            try:
                candidate = await self._seat()
            except FleetError as error:
                lost = self._out.visible_chars and not isinstance(error, DeadlineExceeded)
                return self.delivered(error=interrupted(error, self._out.visible_chars) if lost else error)
            try:
                end = await self._attempt(self._explained(candidate), reply)
            except FleetError as error:
                step = self._failed(candidate, error)
                if isinstance(step, GiveUp):
                    return self.delivered(error=step.error)
            else:
                return self.delivered(end=end)
            finally:
                self._courier.line.give_back(candidate.device)

    # -- queue ---------------------------------------------------------------------------------------------------

    async def _seat(self) -> Candidate:
        """Take a slot on the best device that has one; wait in the line when none has. Raises what `nobody` says."""
        started_s = _now()
        try:
            self._decision = decision = self._choose(self._excluded)
            free = self._free(decision)
            if free is not None:
                self._courier.line.take(free.device)
                return free
            return await self._wait(decision)
        finally:
            self._queue_s += _now() - started_s

    async def _wait(self, decision: Decision) -> Candidate:
        with self._courier.line.join(first=bool(self._attempts)) as ticket:
            while True:
                candidates = self._ranked(decision)
                if not candidates and not self._may_change(decision):
                    raise self._nobody(decision)
                until_s = min(self._job.deadline_s, _now() + TICK_S)
                try:
                    # A dictionary keeps the order and drops the doubles: `auto` ranks several models of one device.
                    device = await ticket.wait(dict.fromkeys(one.device for one in candidates), until_s=until_s)
                except TimeoutError:
                    if _now() >= self._job.deadline_s:
                        raise self._too_late("no device had a free slot") from None
                    await self._out.keep_alive(KeepAlive(Phase.QUEUE, position=ticket.position))
                    # The line says when there is another choice, but not when memory comes free; asking always would cost a
                    # thousand waiting jobs a core.
                    if _now() < self._courier.settled_s or not _wants_memory(decision):
                        continue
                    device = None
                if device is not None:
                    return next(one for one in candidates if one.device == device)
                self._decision = decision = self._choose(self._excluded)

    def _may_change(self, decision: Decision) -> bool:
        """True when waiting may help: for a device that is away for now, and for those that a new dispatcher has not heard yet."""
        return _now() < self._courier.settled_s or any(out.for_now for out in decision.removed)

    def _free(self, decision: Decision) -> Candidate | None:
        devices = self._courier.roster.fleet.devices
        return next((one for one in self._ranked(decision) if devices[one.device].free_slots), None)

    def _ranked(self, decision: Decision) -> list[Candidate]:
        """Give the candidates best first. A text that has begun goes on where the backend can continue it, and first of all with
        the model that began it."""
        if not self._out.visible_chars:
            return list(decision.candidates)
        devices = self._courier.roster.fleet.devices
        able = [one for one in decision.candidates if devices[one.device].beat.continues]
        return sorted(able, key=lambda one: self._chosen is not None and one.model != self._chosen.model)

    def _explained(self, candidate: Candidate) -> Candidate:
        if self._decision is None:
            raise InternalError("a candidate was chosen without a decision")
        reason = why(self._decision, candidate, self._attempts, pinned=self._job.device is not None)
        return replace(candidate, reason=reason)

    # -- one attempt ---------------------------------------------------------------------------------------------

    async def _attempt(self, candidate: Candidate, reply: Callable[[int], str]) -> frames.End:
        """Run one attempt to its end frame. Raises the typed reason of its failure, the attempt fenced and cancelled."""
        self._number = number = self._number + 1
        self._chosen, self.boot = candidate, None
        self._begun_chars = self._out.visible_chars
        self.inbox.open(number)
        self._out.restart()
        if not self._out.visible_chars:
            self._first_token_s = None
        self._limits = _patient(self._courier.limits, candidate)
        watch = Watch(self, number, candidate, sent_s=_now())
        self._courier.runs_on(candidate.device, self)
        try:
            await self._out.route(candidate, number)
            await self._publish(candidate, number, reply(number))
            end = self._whole(await watch.run())
        except BaseException as error:
            await self._fence(candidate, number, reply(number), error)
            self._note(watch, error)
            raise
        finally:
            self._courier.left(candidate.device, self)
            self.inbox.fence()
        self._note(watch, None)
        return end

    def _whole(self, end: frames.End) -> frames.End:
        """Count the text of the attempts before into the usage. Their tokens are not known: four characters make about one."""
        before = self._begun_chars // 4
        if not before:
            return end
        usage = Usage(
            prompt_tokens=max(0, end.usage.prompt_tokens - before),
            completion_tokens=end.usage.completion_tokens + before,
        )
        return replace(end, usage=usage)

    async def _publish(self, candidate: Candidate, number: int, reply: str) -> None:
        job = self._job
        dispatch = Dispatch(
            job=job.id,
            attempt=number,
            dispatcher=self._courier.dispatcher,
            model=candidate.model,
            messages=self._conversation(),
            stream=self._out.streams,
            options=self._options(),
            tools=job.request.tools,
            format=job.request.format,
            deadline_ms=int(job.deadline_unix_s * 1000),
        )
        payload = codec.encode(codec.plain(dispatch), Encoding.MSGPACK)
        await self._courier.bus.publish(self._courier.subjects.device(candidate.device, "job"), payload, reply=reply)

    def _conversation(self) -> tuple[Message, ...]:
        """The messages, and behind them what the producer has already, for the device to go on with."""
        if not self._out.visible_chars:
            return self._job.messages
        return (*self._job.messages, Message(role=Role.ASSISTANT, content=self._out.text))

    def _options(self) -> Options:
        options = self._job.request.options
        if options.max_tokens is None or not self._out.visible_chars:
            return options
        # The tokens that were delivered are not known exactly when a device is lost: four characters make about one.
        return replace(options, max_tokens=max(1, options.max_tokens - self._out.visible_chars // 4))

    async def _fence(self, candidate: Candidate, number: int, reply: str, error: BaseException) -> None:
        """Hear no more of the attempt, and let its device stop; one that refused, or is gone, has nothing to stop."""
        self.inbox.fence()
        if isinstance(error, DeviceBusy) or not self._courier.bus.connected:
            return
        # The reply subject is unique; the same job id may come again, and from another tenant.
        body = codec.encode({"job": self._job.id, "attempt": number, "reply": reply})
        try:
            await self._courier.bus.publish(self._courier.subjects.device(candidate.device, "cancel"), body)
        except BusError:
            pass  # the device stops at the deadline; the error that brought us here is the one to tell

    def _failed(self, candidate: Candidate, error: FleetError) -> TryNext | GiveUp:
        if isinstance(error, DeviceBusy):
            self._courier.roster.refused(candidate.device)
        step = after(
            error,
            failed=sum(attempt.outcome != DeviceBusy.code for attempt in self._attempts),
            visible_chars=self._out.visible_chars,
            continuable=not self._job.request.tools and self._job.request.format is None,
        )
        if not isinstance(error, DeviceBusy):
            self._excluded[candidate.device] = f"{error.code}: {error.message}"
        return step

    def _note(self, watch: Watch, error: BaseException | None) -> None:
        """Keep the attempt for the record, and tell the roster how it went. Only what the device itself did is held against it:
        not a refusal, a cancel, a deadline, or a bus that failed."""
        attempt = watch.attempt(error, queued_s=self._queue_s, now_s=_now())
        self._attempts.append(attempt)
        if len(self._attempts) > MOST_ATTEMPTS:
            del self._attempts[MOST_ATTEMPTS // 2]
        if error is None or (isinstance(error, AttemptError) and not isinstance(error, DeviceBusy)):
            # A load is predicted by itself: the average is of what comes after it.
            warm = error is None and self._chosen is not None and self._chosen.warm
            self._courier.roster.attempt_ended(
                attempt.device, ok=error is None, first_token_s=attempt.first_token_s if warm else None
            )

    # -- what came -----------------------------------------------------------------------------------------------

    async def text(self, pieces: list[str]) -> None:
        if self._first_token_s is None:
            self._first_token_s = _now() - self._job.received_s
        await self._out.token("".join(pieces))

    async def silent(self, frame: KeepAlive) -> None:
        await self._out.keep_alive(frame)

    async def next_frames(self, progress: Progress) -> list[frames.Frame | FleetError]:
        """Give what has arrived. Raises `DeviceSilent` or `DeadlineExceeded` when a clock strikes first."""
        until_s, clock = strikes(progress, self._limits, self._job.deadline_s)
        try:
            return await self.inbox.take(until_s)
        except TimeoutError:
            if clock is Clock.TOTAL:
                raise self._too_late("the answer was not complete") from None
            raise DeviceSilent(
                f"the {clock} clock of {self._chosen and self._chosen.device} struck after {_now() - progress.sent_s:.1f} s",
                clock=str(clock),
            ) from None

    def _too_late(self, what: str) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{what} within {self._job.deadline_s - self._job.received_s:.1f} s: allow more time (timeout_s), or try again later",
            retry_after_s=TICK_S,
        )

    def delivered(self, *, end: frames.End | None = None, error: FleetError | None = None) -> Delivered:
        return Delivered(
            attempts=tuple(self._attempts),
            decision=self._decision,
            chosen=self._chosen,
            end=end,
            error=error,
            queue_s=self._queue_s,
            first_token_s=self._first_token_s,
            text_chars=self._out.visible_chars,
        )


def _wants_memory(decision: Decision) -> bool:
    return any(out.for_now and out.filter == "memory" for out in decision.removed)


def _patient(limits: Limits, candidate: Candidate) -> Limits:
    """A long prompt on a slow board takes long to read, and every other board of its kind would take as long."""
    expected_s = PATIENCE * candidate.predicted_first_token_s
    return limits if expected_s <= limits.first_token_s else replace(limits, first_token_s=expected_s)


def _now() -> float:
    """The loop's clock: the same monotonic seconds as `Clock.monotonic`, and virtual wherever the loop is."""
    return asyncio.get_running_loop().time()
