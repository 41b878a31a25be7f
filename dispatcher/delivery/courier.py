"""The courier: runs any number of jobs at once over the fleet; it knows no score and keeps no record.

What concerns a device rather than a job meets here: its slots, its breaker, how fast it usually speaks, whether it is still there.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from common import codec
from common.bus import Bus
from common.bus.mux import ReplyMux
from common.clock import loop_s
from common.codec import Encoding
from common.errors import (
    AttemptError,
    BackendError,
    BusError,
    DeadlineExceeded,
    DeviceBusy,
    DeviceLost,
    FleetError,
)
from common.messages import DeviceState, Dispatch, Message, Options, Role
from common.subjects import Subjects
from dispatcher.delivery.attempt import LiveAttempt
from dispatcher.delivery.clocks import Limits, device_left_s
from dispatcher.delivery.hedge import FirstTokens, HedgeBudget, crowded, hedge_after_s
from dispatcher.delivery.inbox import Inbox
from dispatcher.delivery.line import Line, Rules
from dispatcher.delivery.pulse import RECONNECT_S, Pulse
from dispatcher.delivery.run import Run
from dispatcher.delivery.seat import Choose, Nobody, SlotFinder
from dispatcher.delivery.sink import AnswerSink
from dispatcher.outcomes import Candidate, Delivered, Job
from dispatcher.roster import Change, DeviceEvent, Roster

ASKED_AT_ONCE = 8
"""Devices that are given again at once what they have not accepted."""

Cancelled = Callable[[], FleetError | None]
"""Says who cancelled the job, when its task is cancelled; None when the whole process ends."""


class Courier:
    """Delivers any number of jobs at once. One per dispatcher; `pulse` must be kept beating."""

    def __init__(
        self,
        bus: Bus,
        mux: ReplyMux,
        roster: Roster,
        *,
        limits: Limits,
        subjects: Subjects,
        dispatcher: str,
        hedge_share: float = 0.05,
        rules: Rules | None = None,
    ) -> None:
        self.bus = bus
        self.mux = mux
        self.roster = roster
        self.line = Line(roster, rules)
        self.limits = limits
        self.subjects = subjects
        self.dispatcher = dispatcher
        self.settled_s = loop_s()
        """Until then a device that is not known may only not have been heard yet."""
        self.hedges = HedgeBudget(hedge_share)
        self.pulse = Pulse(bus, subjects, busy=self.busy, gone=self._unheard, hung=self._hung, back=self._send_again)
        self._first_tokens = FirstTokens()
        self._runs: dict[str, dict[Run, int]] = defaultdict(dict)
        self._blind_until_s = self._found_s = -math.inf
        roster.on_change(self._changed)
        bus.on_disconnect(self._bus_lost)
        bus.on_reconnect(self._bus_found)

    async def deliver(
        self, job: Job, choose: Choose, nobody: Nobody, out: AnswerSink, cancelled: Cancelled
    ) -> Delivered:
        """Answer the job; never raises a `FleetError`: the error is in what it returns. `out` gets the text, not the end."""
        self.hedges.earn()
        seats = SlotFinder(
            roster=self.roster,
            line=self.line,
            job=job,
            choose=choose,
            nobody=nobody,
            out=out,
            settled_s=self.settled_s,
        )
        inbox = Inbox()
        with self.mux.slot(inbox.put) as reply:
            run = Run(self, seats, inbox, reply)
            try:
                return run.delivered(end=await run.go())
            except FleetError as error:
                return run.delivered(error=error)
            except asyncio.CancelledError:
                ended_by = cancelled()
                if ended_by is None:
                    raise
                return run.delivered(error=ended_by)

    def busy(self) -> list[str]:
        """Give the devices that have attempts of ours."""
        return [device for device, runs in self._runs.items() if runs]

    # -- for a run -----------------------------------------------------------------------------------------------

    def begun(self, run: Run, candidate: Candidate, number: int, *, beside: bool) -> LiveAttempt:
        """Make an attempt, and watch its device for the run."""
        runs = self._runs[candidate.device]
        runs[run] = runs.get(run, 0) + 1
        return LiveAttempt(number, candidate, self.limits, sent_s=loop_s(), beside=beside)

    async def send(self, job: Job, attempt: LiveAttempt, reply: str, out: AnswerSink) -> None:
        """Give the attempt to its device. Raises `BusError`, `PayloadTooLarge`."""
        sent_ms, deadline_ms = _times_ms(job, loop_s())
        dispatch = Dispatch(
            job=job.id,
            attempt=attempt.number,
            dispatcher=self.dispatcher,
            model=attempt.candidate.model,
            messages=_conversation(job, out),
            stream=out.streams,
            options=_options(job, out, attempt.candidate.most_tokens),
            tools=job.request.tools,
            format=job.request.format,
            logprobs=job.logprobs,
            deadline_ms=deadline_ms,
            sent_ms=sent_ms,
            provider_key=job.request.provider_key if attempt.candidate.remote else None,
            inputs=job.request.inputs,
            dimensions=job.request.dimensions,
            truncate=job.request.truncate,
        )
        payload = codec.encode(codec.plain(dispatch), Encoding.MSGPACK)
        await self.bus.publish(
            self.subjects.device(attempt.device, "job"), payload, reply=reply, headers=attempt.span.headers
        )

    async def recall(self, job: Job, attempt: LiveAttempt, reply: str) -> None:
        """Have the device stop it. One that can't be told stops at the deadline."""
        if not self.bus.connected:
            return
        # The reply subject is unique; the same job id may come again, and from another tenant.
        body = codec.encode({"job": job.id, "attempt": attempt.number, "reply": reply})
        try:
            await self.bus.publish(self.subjects.device(attempt.device, "cancel"), body)
        except BusError:
            pass  # the error that brought us here is the one to tell

    def ended(self, run: Run, attempt: LiveAttempt, error: BaseException | None, *, outrun: bool) -> None:
        """Give its slot back, and learn from how it went. Only what the device itself did is held against it: not a refusal,
        a cancel, a deadline, or a bus that failed."""
        device = attempt.device
        runs = self._runs[device]
        runs[run] -= 1
        if not runs[run]:
            del runs[run]
        try:
            if not outrun:
                self._learn(run, attempt, error, loop_s())
        finally:
            self.line.give_back(device)

    def _learn(self, run: Run, attempt: LiveAttempt, error: BaseException | None, now_s: float) -> None:
        device, ran_s = attempt.device, attempt.running_s(now_s)
        match error:
            case None:
                # A load is predicted by itself: the average is of what comes after it.
                first_token_s = attempt.first_token_s if attempt.candidate.warm else None
                self.roster.attempt_succeeded(device, attempt.candidate.model, first_token_s, now_s)
                self._note(run, attempt, now_s, whole=True)
                if first_token_s is not None:
                    self._first_tokens.note(device, attempt.candidate.model, first_token_s)
            case DeviceBusy():
                self.roster.refused(device)
            case AttemptError():
                if isinstance(error, DeviceLost) and error.details.get("unheard"):
                    self.roster.unheard(device)
                if now_s - ran_s > self._blind_until_s:
                    self.roster.attempt_failed(device, f"{error.code}: {error.message}", now_s)
            case DeadlineExceeded():
                self._note(run, attempt, now_s, whole=False)

    def _note(self, run: Run, attempt: LiveAttempt, now_s: float, *, whole: bool) -> None:
        """Learn how long such answers take; how long a load takes is measured by the devices, and half an answer tells nothing."""
        if not attempt.candidate.warm or attempt.begun_chars:
            return
        habit, expected_s, ran_s = run.habit, attempt.candidate.predicted_work_s, attempt.running_s(now_s)
        if whole:
            self.line.habits.answered(habit, now_s, expected_s=expected_s, took_s=ran_s)
        else:
            self.line.habits.cut(habit, now_s, expected_s=expected_s, ran_s=ran_s)

    def hedge_after_s(self, candidate: Candidate) -> float | None:
        """Give the seconds after which a second device is worth asking; None when it is not known, or this one loads first."""
        if not candidate.warm or self.hedges.share <= 0:
            return None
        return hedge_after_s(self._first_tokens.p95_s(candidate.device, candidate.model))

    def may_hedge(self) -> bool:
        """Tell whether the budget has a hedge, and the fleet room for it."""
        return self.hedges.enough and not crowded(self.roster.fleet.devices.values(), self.line.waiting)

    def hedged(self) -> None:
        """Take a hedge from the budget."""
        self.hedges.spend()

    async def doubt(self, attempt: LiveAttempt) -> None:
        """Have the device prove that its backend works: a hung one fails all its silent attempts."""
        await self.pulse.doubt(attempt.device)

    # -- what happens to the bus ----------------------------------------------------------------------------------

    def _bus_lost(self) -> None:
        self._blind_until_s = math.inf

    def _bus_found(self) -> None:
        """Hold no attempt against its device that was sent before now, or before the devices have had time to come back as well:
        the broker took it along, and three in a row would keep a device out that never failed."""
        self._found_s = loop_s()
        self._blind_until_s = self._found_s + RECONNECT_S

    async def _send_again(self) -> None:
        """Give the devices once more what was sent before the connection was back, and not accepted: it may have gone with the old
        one. An agent that has it knows it by its reply subject, and runs it once."""
        found_s = self._found_s
        few = asyncio.Semaphore(ASKED_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for device in self.busy():
                if any(run.unaccepted(device, found_s) for run in self._runs[device]):
                    tasks.create_task(self._send_again_to(device, found_s, few))

    async def _send_again_to(self, device: str, found_s: float, few: asyncio.Semaphore) -> None:
        async with few:
            try:
                # One that is not back itself would fail the attempt at once; its clocks give it more time.
                await self.bus.request(
                    self.subjects.device(device, "probe"), codec.encode({}), timeout_s=self.limits.accept_s
                )
            except FleetError:
                return
            for run in list(self._runs[device]):
                for attempt in run.unaccepted(device, found_s):
                    try:
                        await run.send_again(attempt)
                    except FleetError:
                        continue  # this one can't be sent, which its clocks will find; the others can

    # -- what happens to devices ---------------------------------------------------------------------------------

    def _changed(self, event: DeviceEvent) -> None:
        """Fail the attempts of a device that is gone; after a restart, those that the boot before had accepted; and when its
        backend does not answer, those that wait for it in vain."""
        name, beat = event.device.name, event.device.beat
        match event.change:
            case Change.LOST:
                self._fail(name, DeviceLost(f"device {name} sends no heartbeat any more"))
            case Change.LEFT:
                self._fail(name, DeviceLost(f"device {name} signed off"))
            case Change.RESTARTED:
                lost = DeviceLost(f"device {name} was restarted; what it ran is lost")
                self._fail(name, lost, spared=lambda attempt: attempt.boot == beat.boot)
            case Change.FORGOTTEN:
                if not self._runs.get(name):
                    self._runs.pop(name, None)
                self._first_tokens.forget(name)
                self.pulse.forget(name)
            case Change.CHANGED if beat.state is DeviceState.FAULTY:
                self._hung(name, beat.reason or "its backend does not answer")

    def _unheard(self, device: str) -> None:
        """Nobody listens on its subjects: its agent has gone without a word."""
        self.roster.unheard(device)
        self._fail(device, DeviceLost(f"device {device} is gone: nobody listens on its subjects", unheard=True))

    def _hung(self, device: str, why: str) -> None:
        """Its backend hangs, and its agent lives: whoever has waited for some time waits in vain."""
        now_s = loop_s()
        self.roster.hung(device, why, now_s)
        hung = BackendError(f"the backend of {device} hangs: {why}")
        self._fail(device, hung, spared=lambda attempt: attempt.silent_s(now_s) < self.limits.doubt_s)

    def _fail(self, device: str, error: FleetError, *, spared: Callable[[LiveAttempt], bool] = lambda _: False) -> None:
        for run in list(self._runs[device]):
            run.device_failed(device, error, spared=spared)


def _times_ms(job: Job, now_s: float) -> tuple[int, int]:
    """Give when a dispatch is sent and the device's deadline, on the clock that the job's deadline was read from, as it was
    then: a step of ours meanwhile changes nothing."""
    left_s = max(0.0, job.deadline_s - now_s)
    sent_ms = int((job.received_unix_s + now_s - job.received_s) * 1000)
    return sent_ms, sent_ms + max(1, int(device_left_s(left_s) * 1000))


def _conversation(job: Job, out: AnswerSink) -> tuple[Message, ...]:
    """The messages, and behind them what the producer has already, for the device to go on with; none beside texts to embed."""
    if job.embeds:
        return ()
    if not out.visible_chars:
        return job.messages
    return (*job.messages, Message(role=Role.ASSISTANT, content=out.text))


def _options(job: Job, out: AnswerSink, most_tokens: int | None) -> Options:
    """Give the options of one attempt: no more tokens than are left of those allowed, and than the job's money pays for."""
    options = job.request.options
    left = options.max_tokens
    if left is not None and out.visible_chars:
        # The tokens that were delivered are not known exactly when a device is lost: four characters make about one.
        left = max(1, left - out.visible_chars // 4)
    if most_tokens is not None:
        left = most_tokens if left is None else min(left, most_tokens)
    return options if left == options.max_tokens else replace(options, max_tokens=left)
