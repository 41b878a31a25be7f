"""Runs dispatched jobs on the backend and streams their frames; it knows neither subjects nor vendors.

One task per job. A single ticker serves all of them with keep-alives and late flushes, so that a short job costs nothing but
its own four messages.

A job that is cancelled before the backend's first piece is answered at once; its slot stays taken until the engine has let go,
which is the affair of `leftovers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, aclosing
from dataclasses import replace
from typing import Any

from agents.attempts import Attempts, Repeated, Running
from agents.backends import Backend, BackendDone, Bill, Piece
from agents.energy.charge import Charge
from agents.leftovers import Leftover, Leftovers, Opening
from agents.liveness import EngineLiveness
from agents.outbox import Outbox
from agents.slots import STOPPING, Slot, Slots
from agents.speeds import Finished
from agents.tally import Tally, Workload
from agents.traces import Server, answered, called
from common import codec, energy
from common.bus import Bus, Delivery
from common.clock import Clock
from common.errors import (
    DeadlineExceeded,
    DeviceBusy,
    DeviceLost,
    FleetError,
    GarbledReply,
    InternalError,
)
from common.frames import End, Err, KeepAlive, Phase, Terminal
from common.logs import get_logger
from common.messages import Dispatch
from common.prompts import dispatched_tokens
from common.tracing import OFF, Span

log = get_logger("worker")

TICK_S = 0.025
"""How often the ticker looks while jobs run; no finer than a person can see."""

PATIENCE_S = 60.0
"""So long an engine may be silent on a job that was cancelled, above three times what its load and prefill should take."""

UNSTREAMED_FLUSH_S = 0.5
"""How long text is gathered for a job that did not ask for a stream; the dispatcher still sees that it grows."""


class Worker:
    """Takes dispatches from the bus. `group` is the parent of the jobs' tasks; `changed` is called when the workload differs,
    `finished` when a job has left the backend; both must return at once. `charge` opens an attempt's account of energy,
    and `server` is who runs the models, as traces name it."""

    def __init__(
        self,
        bus: Bus,
        backend: Backend,
        group: asyncio.TaskGroup,
        *,
        boot: str,
        slots: Slots,
        clock: Clock,
        liveness: EngineLiveness,
        flush_s: float,
        is_loaded: Callable[[str], bool],
        changed: Callable[[], None],
        finished: Callable[[], None],
        charge: Callable[[], Charge] = Charge,
        server: Server | None = None,
    ) -> None:
        self.attempts = Attempts(clock)
        self._bus = bus
        self._backend = backend
        self._group = group
        self._boot = boot
        self.slots = slots
        self._clock = clock
        self._liveness = liveness
        self.flush_s = flush_s
        self._is_loaded = is_loaded
        self._changed = changed
        self._finished = finished
        self._charge = charge
        self._server = server or Server(provider=backend.name)
        self._draining = False
        self._tally = Tally()
        self._leftovers = Leftovers(group, liveness, clock=clock, ended=changed)

    def workload(self) -> Workload:
        """Say what runs now, and what has run. A backend that takes nothing new leaves no slot free."""
        load = self._tally.workload(self.slots, draining=self._draining, fault=self.fault)
        closed = self._backend.refusal()
        if closed is None:
            return load
        free_s = None if closed.retry_after_s is None else round(closed.retry_after_s, 1)
        return replace(load, slots=min(load.slots, load.in_flight), closed=closed.message, closed_s=free_s)

    @property
    def fault(self) -> str | None:
        """Why the engine is taken for hung, if it is."""
        return self._liveness.fault or self._leftovers.fault

    @property
    def full(self) -> bool:
        """True when a request to the backend would wait there behind others. Those that it has been silent on for too long don't
        count: whether it works at all is the question then."""
        return self.slots.in_flight - self._leftovers.overdue >= self.slots.total

    @property
    def loading(self) -> frozenset[str]:
        """The models that jobs wait for."""
        return frozenset(one.dispatch.model for one in self.attempts if one.phase is Phase.LOAD)

    @property
    def silent_s(self) -> float | None:
        """How long the engine has produced nothing although it has work; None when it has none."""
        began = [*(one.started_s for one in self.attempts), *self._leftovers.since_s]
        return self._liveness.silent_s(min(began)) if began else None

    def drain(self, *, on: bool) -> None:
        """Refuse new jobs from now on, or take them again; what runs, runs on."""
        self._draining = on
        self._changed()

    def hand_back(self) -> None:
        """End all that still runs, with an error on which the dispatcher turns to another device."""
        for running in self.attempts:
            running.end(DeviceLost("the device shuts down and hands the job back: try another device"))

    def close(self) -> None:
        """Hang up at once on all that the backend still does for jobs that have ended, and from now on on all that end."""
        self._leftovers.close()

    def take(self, delivery: Delivery) -> None:
        """Handle one dispatch; the bus calls it."""
        self._tally.asked += 1
        if delivery.reply:
            self._group.create_task(self._serve(delivery))
        else:
            self._tally.refused += 1
            log.warning("job.no_reply", subject=delivery.subject, size_bytes=len(delivery.data))

    async def tick(self) -> None:
        """Send what the jobs themselves can't while they wait for the backend; runs as long as the agent."""
        while True:
            await self.attempts.until_busy()
            await asyncio.sleep(TICK_S)
            for running in self.attempts:
                try:
                    await running.outbox.tick(self._sign(running))
                except FleetError as error:
                    running.end(error)

    async def _serve(self, delivery: Delivery) -> None:
        """Answer one dispatch with exactly one terminal frame; nothing may leave here but cancellation."""
        started_s = self._clock.monotonic()
        outbox = Outbox(self._bus, delivery, clock=self._clock)
        try:
            await outbox.end(await self._answer(delivery, outbox))
        except Repeated:
            log.debug("job.repeated", reply=delivery.reply)
        except FleetError as error:
            log.warning("job.unanswered", reply=delivery.reply, code=error.code, error=error.message)
        except Exception:
            log.exception("job.crashed", reply=delivery.reply)
        self._tally.spent_s += self._clock.monotonic() - started_s

    async def _answer(self, delivery: Delivery, outbox: Outbox) -> Terminal:
        """Run the job and give its terminal frame. The slot is free again before that frame leaves: whoever reads it may
        send the next job at once."""
        job, bill, charge, call = "", Bill(), self._charge(), OFF
        try:
            dispatch = codec.build(Dispatch, codec.decode_request(delivery.data))
            job = dispatch.job
            self._admit(dispatch, outbox.reply)
            call = called(dispatch, delivery.headers, self._server)
            with ExitStack() as held:
                slot = held.enter_context(self.slots.take(dispatch.dispatcher))
                bill = held.enter_context(self._backend.admit(dispatch))
                held.callback(self._finished)
                # An engine that still computes for an ended job makes it keep its share of what all draw.
                held.callback(charge.leave)
                end = await self._run(dispatch, outbox, held, slot, bill, charge=charge, call=call)
        except FleetError as error:
            call.end(error.code)
            error.details |= bill.wire() | _receipt(charge)
            if isinstance(error, DeviceBusy):
                self.attempts.refuse(outbox.reply)
            self._tally.ended(error, job)
            return Err(error)
        except Repeated:
            raise
        except Exception as error:
            log.exception("job.crashed", job=job)
            call.end(InternalError.code)
            crash = InternalError(f"the agent failed ({type(error).__name__}); its log says more", **_receipt(charge))
            self._tally.ended(crash, job)
            return Err(crash)
        finally:
            call.end()
            self._changed()
        return end

    def _admit(self, dispatch: Dispatch, reply: str) -> None:
        """Raise what speaks against running this dispatch, slots aside."""
        self.attempts.check(dispatch.job, reply)
        if self._draining:
            raise DeviceBusy("the device is draining and takes no new jobs: try another one")

    async def _run(
        self, dispatch: Dispatch, outbox: Outbox, held: ExitStack, slot: Slot, bill: Bill, *, charge: Charge, call: Span
    ) -> End:
        outbox.streams = dispatch.stream
        outbox.flush_s = self.flush_s if dispatch.stream else max(self.flush_s, UNSTREAMED_FLUSH_S)
        running = Running(
            dispatch,
            outbox,
            phase=Phase.PREFILL if self._is_loaded(dispatch.model) else Phase.LOAD,
            now_s=self._clock.monotonic(),
            left_s=self._left_s(dispatch),
            charge=charge,
        )
        try:
            async with running.scope:
                with self.attempts.run(running):
                    self._changed()
                    await outbox.accept(self._boot)
                    done = await self._stream(running, held, slot, bill)
        except TimeoutError as error:
            too_late = DeadlineExceeded(f"the deadline of job {dispatch.job} passed while it ran: give it more time")
            raise running.verdict or too_late from error
        learnt = Finished(usage=done.usage, engine=done.engine, first_token_s=running.first_token_s, cold=running.cold)
        self._tally.done(dispatch.model, learnt)
        answered(call, done, dispatch.model, running.first_token_s)
        log.debug("job.done", job=dispatch.job, attempt=dispatch.attempt, model=dispatch.model)
        return End(
            finish=done.finish,
            usage=done.usage,
            engine=done.engine,
            tool_calls=done.tool_calls,
            cost_usd=bill.usd,
            cost_estimated=bill.estimated,
            energy=charge.take(done.usage.completion_tokens),
            logprobs=done.logprobs,
            embeddings=done.embeddings,
        )

    async def _stream(self, running: Running, held: ExitStack, slot: Slot, bill: Bill) -> BackendDone:
        running.heard_s = self._clock.monotonic()
        speed = self._tally.speed(running.dispatch.model)
        running.charge.begin(running.phase, pace=speed.decode_tps, load_s=speed.load_s)
        run = self._backend.chat if running.dispatch.inputs is None else self._backend.embed
        opening = Opening(run(running.dispatch, bill), self._group)
        try:
            piece = await opening.first()
        except asyncio.CancelledError:
            if running.scope.expired() and not self._leftovers.closed and not self._backend.lets_go:
                slot.pass_to(STOPPING)
                self._leftovers.keep(self._leftover(running, opening, held.pop_all()))
            else:
                await opening.hang_up()
            raise
        done: BackendDone | None = None
        async with aclosing(opening.pieces) as pieces:
            while piece is not None:
                done = await self._hear(running, piece) or done
                piece = await anext(pieces, None)
        if done is None:
            raise GarbledReply(f"the backend {self._backend.name} ended its answer without saying how")
        return done

    async def _hear(self, running: Running, piece: Piece) -> BackendDone | None:
        """Deal with one piece; gives the one that ends the answer."""
        self._liveness.beat()
        if isinstance(piece, BackendDone):
            return piece
        running.charge.hear()
        running.hear(self._clock.monotonic(), visible=bool(piece.text))
        if piece.text:
            await running.outbox.text(piece.text)
        return None

    def _leftover(self, running: Running, opening: Opening, held: ExitStack) -> Leftover:
        dispatch = running.dispatch
        speed = self._tally.speed(dispatch.model)
        load_s = (speed.load_s or 0.0) if running.cold else 0.0
        prefill_s = dispatched_tokens(dispatch) / speed.prefill_tps if speed.prefill_tps else 0.0
        return Leftover(
            job=dispatch.job,
            model=dispatch.model,
            opening=opening,
            held=held,
            since_s=running.heard_s,
            patience_s=PATIENCE_S + 3 * (load_s + prefill_s),
        )

    def _left_s(self, dispatch: Dispatch) -> float | None:
        """Give the time that is left from now on, or nothing where there is no deadline. Raises `DeadlineExceeded`.

        A dispatcher says when it sent this, by the clock that its deadline is read from; only without that counts our own clock.
        """
        if dispatch.deadline_ms is None:
            return None
        now_s = self._clock.unix_s() if dispatch.sent_ms is None else dispatch.sent_ms / 1000
        left_s = dispatch.deadline_ms / 1000 - now_s
        if left_s <= 0:
            whose = "the device's" if dispatch.sent_ms is None else "the dispatcher's"
            raise DeadlineExceeded(
                f"the deadline of job {dispatch.job} passed {-left_s:.1f} s ago by {whose} clock: "
                "send it again with more time, and check that the clocks are synchronised"
            )
        return left_s

    def _sign(self, running: Running) -> KeepAlive:
        """Say what the job does, and for how long its backend has produced nothing."""
        return KeepAlive(
            running.phase, self._eta_s(running), silent_s=max(0.0, self._clock.monotonic() - running.heard_s)
        )

    def _eta_s(self, running: Running) -> float | None:
        """Guess how long the load still takes, from the loads before."""
        load_s = self._tally.speed(running.dispatch.model).load_s
        if running.phase is not Phase.LOAD or load_s is None:
            return None
        return max(0.0, load_s - (self._clock.monotonic() - running.started_s))


def _receipt(charge: Charge) -> dict[str, Any]:
    """Give what a failed attempt has taken, as it travels in the details of its error."""
    taken = charge.take()
    return {} if taken is None else {"energy": energy.to_wire(taken)}
