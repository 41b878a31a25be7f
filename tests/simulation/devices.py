"""Devices as state machines: they speak the wire contract, share nothing with the real agent but the frames, and obey a mood.

An execution is a generator that says its frames and yields how long it does nothing in between; a stopped device runs none, and
catches up when it goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from common import codec, errors, frames
from common.bus import Delivery
from common.bus.memory import MemoryBroker
from common.codec import Encoding
from common.frames import END_OF_STREAM, Ack, End, Err, Frame, KeepAlive, Phase, Token
from common.messages import Usage
from common.subjects import Subjects
from tests.simulation.ledger import Execution, Ledger
from tests.simulation.loop import EPOCH_S
from tests.simulation.moods import Door, Ending, Mood
from tests.simulation.network import Wire
from tests.simulation.node import Node, models_of

LATE_S = 0.9
"""Later than the accept clock allows."""

PROOF_S = 1.0
"""What a device waits for one token before it says that its backend hangs."""

LEAST_BEAT_S = 0.1
INTERVAL_S = 1.0


class Device(Node):
    """A device as a state machine."""

    def __init__(
        self,
        broker: MemoryBroker,
        subjects: Subjects,
        ledger: Ledger,
        name: str,
        *,
        slots: int,
        continues: bool,
    ) -> None:
        super().__init__(broker, subjects, ledger, name, slots=slots, continues=continues)
        self._boots = 0
        self._seq = 0
        self._running: dict[str, Playing] = {}
        self._known: set[str] = set()
        self._cancelled: set[str] = set()
        self._missed: list[Callable[[], None]] = []
        self._nudged = False

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Begin a new life."""
        self.reborn(Wire(self._broker))
        self._boots += 1
        self._seq = 0
        self._nudged = False
        self._running, self._known, self._cancelled, self._missed = {}, set(), set(), []
        for verb, handler in (("job", self._on_job), ("cancel", self._on_cancel), ("probe", self._on_probe)):
            await self.wire.subscribe(self._subjects.device(self.name, verb), self._awake(handler))
        self._pulse(self._boots)

    def kill(self) -> None:
        """Die, and all that runs with it."""
        super().kill()
        for playing in list(self._running.values()):
            playing.stop()

    def go_on(self) -> None:
        """Thaw: the timers that are overdue run first, with what the device knew when it froze."""
        self.stopped = False
        missed, self._missed = self._missed, []
        for one in missed:
            one()
        super().go_on()

    def drain(self, *, on: bool) -> None:
        """Say so in a heartbeat."""
        super().drain(on=on)
        self.nudge()

    def fault(self, *, on: bool) -> None:
        """Say so in a heartbeat."""
        super().fault(on=on)
        self.nudge()

    @property
    def boot(self) -> str:
        return f"{self.name}-{self._boots}"

    def later(self, delay_s: float, act: Callable[[], None]) -> None:
        """Act after a while of this life, or when the device goes on after that."""
        boots = self._boots

        def due() -> None:
            if boots != self._boots or not self.alive:
                return
            if self.stopped:
                self._missed.append(due)
            else:
                act()

        asyncio.get_running_loop().call_later(delay_s, due)

    def say(self, subject: str, payload: bytes) -> None:
        self.wire.say(Delivery(subject, payload))

    def _awake(self, handler: Callable[[Delivery], None]) -> Callable[[Delivery], None]:
        """A message that was delivered to a frozen process is read when it goes on."""

        def hear(delivery: Delivery) -> None:
            if self.stopped:
                self._missed.append(lambda: handler(delivery))
            else:
                handler(delivery)

        return hear

    # -- heartbeats ----------------------------------------------------------------------------------------------

    def _pulse(self, boots: int) -> None:
        if boots == self._boots:
            self.beat()
            self.later(INTERVAL_S, lambda: self._pulse(boots))

    def nudge(self) -> None:
        """Beat soon: the workload differs."""
        if not self._nudged:
            self._nudged = True
            self.later(LEAST_BEAT_S, self._beat_nudged)

    def _beat_nudged(self) -> None:
        self._nudged = False
        self.beat()

    def beat(self, state: str | None = None) -> None:
        """Send a heartbeat now."""
        by_dispatcher: dict[str, int] = {}
        for playing in self._running.values():
            by_dispatcher[playing.dispatcher] = by_dispatcher.get(playing.dispatcher, 0) + 1
        usual = "draining" if self.draining else "faulty" if self.faulty else "ready"
        self.last_beat = codec.encode(
            {
                "device": self.name,
                "boot": self.boot,
                "seq": self._seq,
                "interval_s": INTERVAL_S,
                "state": state or usual,
                "slots": self.slots,
                "in_flight": len(self._running),
                "jobs_by_dispatcher": by_dispatcher,
                "models": self._models(),
                "continues": self.continues,
            }
        )
        self._seq += 1
        self.say(self._subjects.heartbeat(self.name), self.last_beat)

    def _models(self) -> list[dict[str, Any]]:
        return [{"name": name, "size_bytes": 10**9, "loaded": True} for name in models_of(self.name)]

    # -- what it hears -------------------------------------------------------------------------------------------

    def _on_job(self, delivery: Delivery) -> None:
        reply = delivery.reply
        if reply in self._known:
            return
        self._known.add(reply)
        execution = self.ledger.dispatched(self.name, delivery)
        playing = Playing(self, execution, codec.sniff(delivery.data), self.mood)
        if reply in self._cancelled:
            playing.fail(errors.JobCancelled("cancelled before it came"))
        elif len(self._running) >= self.slots or self.draining or self.mood.door is Door.BUSY:
            playing.fail(errors.DeviceBusy("all slots are taken"))
        elif self.mood.door is not Door.DEAF:
            self._running[reply] = playing
            playing.begin()
            self.nudge()

    def _on_cancel(self, delivery: Delivery) -> None:
        reply = str(codec.decode(delivery.data).get("reply"))
        playing = self._running.get(reply)
        if playing is None:
            self._cancelled.add(reply)
        else:
            self.ledger.note(self.name, "cancels", playing.execution)
            playing.fail(errors.JobCancelled("cancelled"))

    def _on_probe(self, delivery: Delivery) -> None:
        """Say that it is there; asked to generate, prove that the backend works, or that it does not."""
        if not delivery.reply:
            return
        body: dict[str, Any] = {"state": "ready", "boot": self.boot, "in_flight": len(self._running)}
        if not codec.decode(delivery.data).get("generate"):
            self.say(delivery.reply, codec.encode(body))
            return
        hangs = self.mood.first_s > 100 or self.mood.ending in {Ending.HANG, Ending.MUTE}
        if len(self._running) < self.slots:
            body["proof"] = {"ok": not hangs, "error": "no token came"}
        payload = codec.encode(body)
        self.later(PROOF_S if hangs else 0.1, lambda: self.say(delivery.reply, payload))

    def over(self, playing: Playing) -> None:
        """Take an execution off the table: its slot is free."""
        if self._running.pop(playing.execution.reply, None) is not None:
            self.nudge()


class Playing:
    """An execution at work on a device."""

    def __init__(self, device: Device, execution: Execution, encoding: Encoding, mood: Mood) -> None:
        self.execution = execution
        self.dispatcher = execution.dispatcher
        self._device = device
        self._encoding = encoding
        self._mood = mood
        self._script: Iterator[float] | None = self._play()

    def begin(self) -> None:
        """Start, and watch the deadline."""
        self.execution.begin()
        deadline_s = self.execution.deadline_unix_s
        if deadline_s is not None:
            left_s = max(0.0, deadline_s - EPOCH_S - asyncio.get_running_loop().time())
            self._device.later(left_s, lambda: self.fail(errors.DeadlineExceeded("the deadline passed")))
        self._step()

    def stop(self) -> None:
        """End without a word."""
        if self._script is not None:
            self._script = None
            self.execution.end()
            self._device.over(self)

    def fail(self, error: errors.FleetError) -> None:
        """End with an error."""
        if self._script is not None:
            self.stop()
            self._say(Err(error))
            self._device.say(self.execution.reply, END_OF_STREAM)

    def _step(self) -> None:
        if self._script is None:
            return
        delay_s = next(self._script, None)
        while delay_s == 0.0 and self._script is not None:
            delay_s = next(self._script, None)
        if delay_s is None:
            self.stop()
        elif self._script is not None:
            self._device.later(delay_s, self._step)

    def _say(self, frame: Frame) -> None:
        self._device.say(self.execution.reply, codec.encode(frames.to_wire(frame), self._encoding))

    def _quiet(self, seconds: float, phase: Phase) -> Iterator[float]:
        """Do nothing, with a sign of life each second."""
        silent_s = 0.0
        while seconds - silent_s > 1.0:
            yield 1.0
            silent_s += 1.0
            self._say(KeepAlive(phase, silent_s=silent_s))
        yield seconds - silent_s

    def _play(self) -> Iterator[float]:
        mood = self._mood
        match mood.door:
            case Door.NO_MODEL:
                return self.fail(errors.UnknownModel("no such model here"))
            case Door.BAD_REQUEST:
                return self.fail(errors.BadRequest("the backend refuses the request"))
            case Door.LATE:
                yield LATE_S
            case _:
                pass
        self._say(Ack(boot=self._device.boot))
        if mood.load_s:
            yield from self._quiet(mood.load_s, Phase.LOAD)
        yield from self._quiet(mood.first_s, Phase.PREFILL)
        for number in range(mood.tokens):
            if number:
                yield from self._quiet(mood.gap_s, Phase.DECODE)
            self._say(Token(number, self.execution.token()))
        yield mood.gap_s
        yield from self._finish(mood)
        return None

    def _finish(self, mood: Mood) -> Iterator[float]:
        count = mood.tokens
        match mood.ending:
            case Ending.HANG:
                yield from self._quiet(1e6, Phase.DECODE)
            case Ending.MUTE:
                yield 1e6
            case Ending.BROKEN:
                return self.fail(errors.BackendError("the backend crashed"))
            case Ending.FULL:
                return self.fail(errors.DeviceBusy("the backend's queue is full"))
            case Ending.NOT_LOADABLE:
                return self.fail(errors.ModelNotLoadable("out of memory"))
            case Ending.GAP:
                self._say(Token(count + 1, self.execution.token()))
                self._end(count + 2)
            case Ending.MISCOUNT:
                self._end(count + 3)
            case Ending.GARBAGE:
                self._device.say(self.execution.reply, b"\x93\x01garbage")
                yield 0.05
                self._end(count)
            case Ending.CHATTER:
                self._end(count)
                yield 0.05
                self._say(Token(count, self.execution.token()))
                self._end(count + 1)
            case Ending.CLOSED:
                self.stop()
                self._device.say(self.execution.reply, END_OF_STREAM)
            case Ending.END:
                self._end(count)
        return None

    def _end(self, count: int) -> None:
        """Say that the answer is complete; the slot is free before whoever reads it can send the next job."""
        # Garbage that the wire has lost leaves a whole answer behind.
        if self._mood.ending in {Ending.END, Ending.CHATTER, Ending.GARBAGE}:
            self.execution.finish()
        if self._mood.ending is not Ending.CHATTER:
            self.stop()
        usage = Usage(prompt_tokens=7, completion_tokens=count)
        self._say(End(tokens=count, usage=usage))
        self._device.say(self.execution.reply, END_OF_STREAM)
