"""One job on its way: a seat, an attempt, perhaps a second one beside it, until one has answered; it keeps no record.

Attempts are numbered, and the number stands in the subject that the device answers to. The first that speaks is the speaker; any
other is fenced then, as is every attempt that failed: what its device still sends is dropped, so that the producer sees one answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn, Protocol

from common import frames
from common.clock import loop_s, seconds_text
from common.errors import AttemptError, DeadlineExceeded, DeadlineInfeasible, DeviceBusy, DeviceLost, FleetError
from dispatcher.delivery.attempt import OUTRUN, LiveAttempt
from dispatcher.delivery.clocks import HOP_MARGIN_S, Clock
from dispatcher.delivery.inbox import Arrival, Inbox
from dispatcher.delivery.patience import Alarm, Pauses, bears, next_alarm, silent
from dispatcher.delivery.retry import GiveUp, after, interrupted
from dispatcher.delivery.seat import TICK_S, SlotFinder
from dispatcher.delivery.sink import AnswerSink
from dispatcher.delivery.why import Beside, why, why_beside
from dispatcher.outcomes import Attempt, Candidate, Delivered, Job
from dispatcher.traces import attempted, ended

LAST_WORD_S = 0.25
"""So long a device that was told to stop is heard out: it says what the attempt took, within milliseconds."""

MOST_ATTEMPTS = 16
"""So many attempts are kept for the account, the first and the last: refusals are unlimited, and a frame is not."""


class RunHost(Protocol):
    """What a run needs of the house: its devices, and what is known of them."""

    async def send(self, job: Job, attempt: LiveAttempt, reply: str, out: AnswerSink) -> None:
        """Give the attempt to its device."""
        ...

    async def recall(self, job: Job, attempt: LiveAttempt, reply: str) -> None:
        """Have the device stop it."""
        ...

    def begun(self, run: Run, candidate: Candidate, number: int, *, beside: bool) -> LiveAttempt:
        """Make an attempt, and watch its device for the run."""
        ...

    def ended(self, run: Run, attempt: LiveAttempt, error: BaseException | None, *, outrun: bool) -> None:
        """Give its slot back, and learn from how it went."""
        ...

    def hedge_after_s(self, candidate: Candidate) -> float | None:
        """Give the seconds after which a second device is worth asking; None when it is not known."""
        ...

    def may_hedge(self) -> bool:
        """Tell whether the budget has a hedge, and the fleet room for it."""
        ...

    def hedged(self) -> None:
        """Take a hedge from the budget."""
        ...

    async def doubt(self, attempt: LiveAttempt) -> None:
        """Have the device prove that its backend works."""
        ...


class Run:
    """One job on its way. `go` brings it to its end; `delivered` tells how it went."""

    def __init__(self, host: RunHost, seats: SlotFinder, inbox: Inbox, reply: Callable[[int], str]) -> None:
        self._host = host
        self._seats = seats
        self._job = seats.job
        self._out = seats.out
        self._reply = reply
        self._inbox = inbox
        self._live: dict[int, LiveAttempt] = {}
        self._speaker: LiveAttempt | None = None
        self._attempts: list[Attempt] = []
        self._recalled: dict[int, LiveAttempt] = {}
        self._excluded: dict[str, str] = {}
        self._chosen: Candidate | None = None
        self._number = 0
        self._hedge_at_s: float | None = None
        self._pauses = Pauses()
        self._first_token_s: float | None = None

    async def go(self) -> frames.End:
        """Try device after device; raises the typed reason when none has answered. Nothing runs for the job afterwards."""
        try:
            while True:
                seat = await self._seat()
                await self._begin(
                    seat, why(self._seats.decided, seat, self._attempts, pinned=self._job.device is not None)
                )
                end = await self._follow()
                if end is not None:
                    return end
        except BaseException as error:
            # First all slots are given back, whatever happens while their devices are told.
            running = [attempt for attempt in list(self._live.values()) if self._close(attempt, error)]
            for attempt in running:
                await self._recall(attempt)
            if isinstance(error, asyncio.CancelledError):  # nobody waits for an answer any more
                await self._inbox.hear_out((one.number for one in running if one.accepted), LAST_WORD_S)
            raise

    def device_failed(self, device: str, error: FleetError, *, spared: Callable[[LiveAttempt], bool]) -> None:
        """Fail the attempts on a device, but those that are `spared`."""
        for attempt in self._live.values():
            if attempt.device == device and not spared(attempt):
                self._inbox.fail(attempt.number, error)

    @property
    def habit(self) -> tuple[str, str]:
        """Whose answers take as long as this one's."""
        return self._seats.habit

    def unaccepted(self, device: str, before_s: float) -> list[LiveAttempt]:
        """Give the attempts that a device has not accepted, of those that were sent before."""
        live = self._live.values()
        return [one for one in live if one.device == device and not one.accepted and one.sent_s <= before_s]

    async def send_again(self, attempt: LiveAttempt) -> None:
        """Send an attempt once more, if it still runs. Raises `BusError`, `PayloadTooLarge`."""
        if attempt.number in self._live and not attempt.accepted:
            attempt.sent_again(loop_s())
            await self._host.send(self._job, attempt, self._reply(attempt.number), self._out)

    # -- beginning -----------------------------------------------------------------------------------------------

    async def _seat(self) -> Candidate:
        """Take a slot, first in line when an attempt has failed."""
        try:
            with self._job.trace.child("wait for a slot"):
                return await self._seats.take(self._excluded, first=bool(self._attempts))
        except FleetError as error:
            # A deadline that has passed is just that; one that can't be met, with half an answer told, is an answer broken off.
            passed = isinstance(error, DeadlineExceeded) and not isinstance(error, DeadlineInfeasible)
            if passed or not self._out.visible_chars:
                raise
            raise interrupted(error, self._out.visible_chars) from error

    async def _begin(self, seat: Candidate, reason: str, *, beside: bool = False) -> None:
        """Give the job to the device whose slot was taken."""
        candidate = replace(seat, reason=reason)
        self._number += 1
        attempt = self._live[self._number] = self._host.begun(self, candidate, self._number, beside=beside)
        attempt.begun_chars = self._out.visible_chars
        attempt.texts = len(self._job.request.inputs or ())
        attempt.span = attempted(self._job, candidate, self._number, beside=beside)
        self._seats.spent_usd += candidate.most_cost_usd
        self._inbox.open(attempt.number)
        if not beside:
            await self._only(attempt)
        await self._host.send(self._job, attempt, self._reply(attempt.number), self._out)
        self._seats.settle()  # after the device has its job: it takes as long as the decision itself

    async def _only(self, attempt: LiveAttempt) -> None:
        """Begin the answer anew, or go on where the producer has it."""
        self._chosen = attempt.candidate
        self._out.restart()
        if not self._out.visible_chars:
            self._first_token_s = None
            after_s = None if self._job.embeds else self._host.hedge_after_s(attempt.candidate)
            self._hedge_at_s = None if after_s is None else loop_s() + after_s
        await self._out.route(attempt.candidate, attempt.number)

    async def try_beside(self, cause: Beside, late: LiveAttempt) -> bool:
        """Begin a second attempt, if another device has room for it now; the first goes on. All but a load's are paid from the
        budget."""
        if cause is not Beside.LOAD and not self._host.may_hedge():
            return False
        held = {attempt.device: "it runs the job already" for attempt in self._live.values()}
        seat = self._seats.take_now(self._excluded | held, warm=cause is Beside.HEDGE)
        if seat is None:
            return False
        if cause is not Beside.LOAD:
            self._host.hedged()
        await self._begin(seat, why_beside(cause, late.candidate, late.running_s(loop_s()), seat), beside=True)
        return True

    # -- following -----------------------------------------------------------------------------------------------

    async def _follow(self) -> frames.End | None:
        """Follow the live attempts to the first end; None when all of them have failed."""
        while self._live:
            alarm = next_alarm(self._live.values(), deadline_s=self._job.deadline_s, hedge_at_s=self._hedge_at_s)
            try:
                batch = await self._inbox.take(alarm.at_s)
            except TimeoutError:
                if not await self._pauses.over(alarm.at_s):
                    await self._struck(alarm)
                continue
            end = await self._heard(batch)
            if end is not None:
                return end
        return None

    async def _heard(self, batch: list[tuple[int, Arrival]]) -> frames.End | None:
        """Take in what arrived together; text that did so goes on as one piece, and not at all when its attempt failed with it:
        what nobody has seen can be begun again."""
        pieces: list[str] = []
        end: frames.End | None = None
        now_s = loop_s()
        for number, arrival in batch:
            attempt = self._live.get(number)
            if attempt is None:
                continue  # fenced in this very batch
            try:
                taken = await self._taken(attempt, arrival, now_s)
            except FleetError as error:
                if attempt is self._speaker:
                    pieces.clear()
                await self._failed(attempt, self._judged(error))
                continue
            if isinstance(taken, str):
                pieces.append(taken)
            elif taken is not None:
                end = taken
                break
        if pieces:
            await self._show("".join(pieces))
        return None if end is None else await self._finish(end)

    async def _taken(self, attempt: LiveAttempt, arrival: Arrival, now_s: float) -> str | frames.End | None:
        """Take in one arrival; gives what belongs to the answer."""
        taken = attempt.take(arrival, now_s)
        if isinstance(taken, frames.KeepAlive):
            if attempt is self._leader:
                await self._out.keep_alive(taken)
            return None
        if taken is not None and attempt is not self._speaker:
            await self._speaks(attempt)
        return taken

    @property
    def _leader(self) -> LiveAttempt:
        """The attempt of which the producer hears."""
        return self._speaker or next(iter(self._live.values()))

    async def _speaks(self, attempt: LiveAttempt) -> None:
        """Fence all others: their text is not the answer."""
        self._speaker, self._hedge_at_s = attempt, None
        for other in [other for other in self._live.values() if other is not attempt]:
            await self._drop(other, None, outrun=True)
        if self._chosen is not attempt.candidate:
            self._chosen = attempt.candidate
            await self._out.route(attempt.candidate, attempt.number)

    async def _show(self, text: str) -> None:
        if self._first_token_s is None:
            self._first_token_s = loop_s() - self._job.received_s
        await self._out.token(text)

    async def _finish(self, end: frames.End) -> frames.End:
        """Close the attempt that has answered."""
        attempt = self._leader
        if end.cost_usd is not None:
            self._seats.spent_usd += end.cost_usd - attempt.candidate.most_cost_usd
        await self._drop(attempt, None)
        return attempt.whole(end)

    # -- clocks --------------------------------------------------------------------------------------------------

    async def _struck(self, alarm: Alarm) -> None:
        """Act on a clock: the total ends the job, and another one its attempt if it has to."""
        if alarm.clock is Clock.TOTAL:
            self._too_late()
        if alarm.attempt is None:
            self._hedge_at_s = None
            if self.unheard_of:
                await self.try_beside(Beside.HEDGE, self._leader)
        elif not await bears(alarm.clock, alarm.attempt, self):
            await self._failed(alarm.attempt, silent(alarm.clock, alarm.attempt))

    @property
    def alone(self) -> bool:
        """True while a single device has the job."""
        return len(self._live) == 1

    @property
    def unheard_of(self) -> bool:
        """True while one device has the job, and has said nothing: another may still answer in its place."""
        return self._speaker is None and self.alone and not self._out.visible_chars

    def others(self, attempt: LiveAttempt) -> bool:
        """True when another device could take the job, now or later."""
        return self._seats.others(self._excluded | {attempt.device: "it has the job"})

    def room_elsewhere(self, attempt: LiveAttempt) -> bool:
        """True when another device has a free slot for the job now."""
        return self._seats.room_elsewhere(self._excluded | {attempt.device: "it has the job"})

    async def doubt(self, attempt: LiveAttempt) -> None:
        """Have the device prove that its backend works."""
        await self._host.doubt(attempt)

    def _judged(self, error: FleetError) -> FleetError:
        """Believe a device that says that the time is over when it is so by our own clock, but for the hop: the device is not at
        fault, and no other one has more time."""
        said_so = error.details.get("cause") == DeadlineExceeded.code
        return self._deadline() if said_so and loop_s() + 2 * HOP_MARGIN_S >= self._job.deadline_s else error

    def _too_late(self) -> NoReturn:
        raise self._deadline()

    def _deadline(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"the answer was not complete within {seconds_text(self._job.deadline_s - self._job.received_s)}: "
            "allow more time (timeout_s), or try again later",
            retry_after_s=TICK_S,
        )

    # -- ending --------------------------------------------------------------------------------------------------

    async def _failed(self, attempt: LiveAttempt, error: FleetError) -> None:
        """Fence it; raises when no other attempt can help."""
        await self._drop(attempt, error)
        if not isinstance(error, DeviceBusy):
            self._excluded[attempt.device] = f"{error.code}: {error.message}"
        step = after(
            error,
            failed=sum(one.outcome not in {DeviceBusy.code, OUTRUN} for one in self._attempts),
            visible_chars=self._out.visible_chars,
            continuable=not self._job.request.tools and self._job.request.format is None,
        )
        if isinstance(step, GiveUp) and not self._live:
            raise step.error

    async def _drop(self, attempt: LiveAttempt, error: BaseException | None, *, outrun: bool = False) -> None:
        """Hear no more of an attempt, and have its device stop."""
        if self._close(attempt, error, outrun=outrun):
            await self._recall(attempt)

    def _close(self, attempt: LiveAttempt, error: BaseException | None, *, outrun: bool = False) -> bool:
        """Fence an attempt, keep its account, and give its slot back; True when its device is to be told, since one that answered,
        or refused, has nothing to stop."""
        del self._live[attempt.number]
        self._inbox.fence(attempt.number)
        if attempt is self._speaker:
            self._speaker = None
        note = attempt.account(error, outrun=outrun, queued_s=self._seats.queued_s, now_s=loop_s())
        ended(attempt.span, note)
        if _cost_nothing(attempt, error):
            self._seats.spent_usd -= attempt.candidate.most_cost_usd
        self._attempts.append(note)
        if len(self._attempts) > MOST_ATTEMPTS:
            del self._attempts[MOST_ATTEMPTS // 2]
        self._host.ended(self, attempt, error, outrun=outrun)
        to_be_told = outrun or (error is not None and not isinstance(error, DeviceBusy))
        if to_be_told:
            self._recalled[attempt.number] = attempt
        return to_be_told

    async def _recall(self, attempt: LiveAttempt) -> None:
        await self._host.recall(self._job, attempt, self._reply(attempt.number))

    def delivered(self, *, end: frames.End | None = None, error: FleetError | None = None) -> Delivered:
        """Give how it went."""
        return Delivered(
            attempts=tuple(map(self._heard_out, self._attempts)),
            decision=self._seats.settled,
            chosen=self._chosen,
            end=end,
            error=error,
            queue_s=self._seats.queued_s,
            first_token_s=self._first_token_s,
            spent_usd=self._seats.spent_usd,
        )

    def _heard_out(self, attempt: Attempt) -> Attempt:
        """Give an attempt with what its device said in the end that it took, in place of an estimate."""
        word, live = self._inbox.last_words.get(attempt.number), self._recalled.get(attempt.number)
        told = None if word is None or live is None else live.told_at_last(word, loop_s())
        return attempt if told is None else replace(attempt, energy=told)


def _cost_nothing(attempt: LiveAttempt, error: BaseException | None) -> bool:
    """True when the device itself said that it failed before any text: who refuses, or is limited, charges nothing."""
    said_so = isinstance(error, AttemptError) and not isinstance(error, DeviceLost)
    return said_so and attempt.first_token_s is None
