"""Devices that follow a script, on a bus: a test says what each attempt gets to hear, may hold any moment, and reads what was seen.

They speak the wire contract and share nothing with the real agent but the frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from common import codec, frames
from common.bus import Bus, Delivery, Subscription
from common.errors import DeviceBusy, FleetError
from common.frames import END_OF_STREAM, End, Err, KeepAlive, Phase, Token
from common.messages import Dispatch, Heartbeat, ModelInfo, ToolCall, Usage
from common.subjects import Subjects

PATIENCE_S = 30.0
"""A guard against hanging, not a measure: machines are slow at times."""

MODEL = "llama3.2:1b"


async def until(fact: Callable[[], bool], what: str) -> None:
    """Return when `fact` holds; raise AssertionError with `what` when it never does."""
    deadline_s = asyncio.get_running_loop().time() + PATIENCE_S
    while not fact():
        if asyncio.get_running_loop().time() > deadline_s:
            raise AssertionError(f"never came true: {what}")
        await asyncio.sleep(0.002)


class Attempt:
    """One dispatch as a device got it, and the verbs to answer it."""

    def __init__(self, device: ScriptedDevice, delivery: Delivery) -> None:
        self.device = device
        self.dispatch = codec.build(Dispatch, codec.decode(delivery.data))
        self.cancelled = asyncio.Event()
        self.over = False
        self._reply = delivery.reply
        self._tokens = 0

    async def send(self, frame: frames.Frame) -> None:
        """Send any frame, in order or not."""
        await self.raw(codec.encode(frames.to_wire(frame)))

    async def raw(self, payload: bytes) -> None:
        """Send any bytes."""
        await self.device.bus.publish(self._reply, payload)

    async def ack(self, boot: str | None = None) -> None:
        """Accept."""
        await self.send(frames.Ack(boot=boot or self.device.boot))

    async def tokens(self, *texts: str) -> None:
        """Send text, numbered as it should be."""
        for text in texts:
            await self.send(Token(self._tokens, text))
            self._tokens += 1

    async def end(self, **fields: Any) -> None:
        """Complete the answer."""
        usage = Usage(prompt_tokens=7, completion_tokens=self._tokens)
        await self.send(End(tokens=self._tokens, usage=usage, **fields))
        await self.close()

    async def fail(self, error: FleetError) -> None:
        """Give up."""
        await self.send(Err(error))
        await self.close()

    async def close(self) -> None:
        """End the stream; the slot is free."""
        self.over = True
        await self.raw(END_OF_STREAM)


Script = Callable[[Attempt], Awaitable[None]]
"""What a device does with one attempt."""


def answer(*texts: str, tool_calls: tuple[ToolCall, ...] = ()) -> Script:
    """Accept, say all of it, end."""

    async def play(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.tokens(*texts)
        await attempt.end(tool_calls=tool_calls)

    return play


def go_on(*texts: str) -> Script:
    """Say the rest, and end."""

    async def play(attempt: Attempt) -> None:
        await attempt.tokens(*texts)
        await attempt.end()

    return play


async def refuse(attempt: Attempt) -> None:
    """Say that there is no slot."""
    await attempt.fail(DeviceBusy("no slot is free"))


async def ignore(attempt: Attempt) -> None:
    """Hear the dispatch and say nothing, until cancelled."""
    await attempt.cancelled.wait()


def stall(*texts: str) -> Script:
    """Accept, say so much, then nothing, until cancelled."""

    async def play(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.tokens(*texts)
        await attempt.cancelled.wait()

    return play


def fail(error: FleetError, *texts: str) -> Script:
    """Accept, say so much, then give up."""

    async def play(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.tokens(*texts)
        await attempt.fail(error)

    return play


def blurt(*payloads: bytes) -> Script:
    """Accept, then send bytes as they are."""

    async def play(attempt: Attempt) -> None:
        await attempt.ack()
        for payload in payloads:
            await attempt.raw(payload)
        await attempt.cancelled.wait()

    return play


def babble(*kind: frames.Frame) -> Script:
    """Accept, then send frames as they are."""
    return blurt(*[codec.encode(frames.to_wire(frame)) for frame in kind])


class Hold:
    """A script that accepts, says so much, and waits for the test's word before it plays the rest."""

    def __init__(self, *texts: str, then: Script | None = None, ack: bool = True) -> None:
        self.reached = asyncio.Event()
        self.released = asyncio.Event()
        self._texts = texts
        self._ack = ack
        self._then = then

    async def __call__(self, attempt: Attempt) -> None:
        if self._ack:
            await attempt.ack()
        await attempt.tokens(*self._texts)
        self.reached.set()
        await self.released.wait()
        await (self._then or _finish)(attempt)


async def _finish(attempt: Attempt) -> None:
    await attempt.end()


async def patient(attempt: Attempt) -> None:
    """Accept, and load for ever."""
    await attempt.ack()
    await attempt.send(KeepAlive(Phase.LOAD, eta_s=1.5))
    await attempt.cancelled.wait()


class ScriptedDevice:
    """A peer on the bus with a name, slots and scripts: one per attempt, the last one for all further."""

    def __init__(
        self, bus: Bus, subjects: Subjects, tasks: asyncio.TaskGroup, name: str, scripts: Sequence[Script], **beat: Any
    ) -> None:
        self.bus = bus
        self.name = name
        self.boot = "boot-1"
        self.attempts: list[Attempt] = []
        self.cancels: list[tuple[str, int]] = []
        self.proofs_asked = 0
        self.proof: dict[str, Any] | None = {"ok": True}
        """What it answers when it is asked to generate one token; None keeps silent."""
        self.most_at_once = 0
        """Witness: attempts that were open together."""
        self.beats = 0
        self._subjects = subjects
        self._tasks = tasks
        self._scripts = list(scripts)
        self._beat: dict[str, Any] = {
            "interval_s": 60.0,  # one heartbeat is enough for a test, unless it is about heartbeats
            "models": (ModelInfo(name=MODEL, size_bytes=10**9, loaded=True),),
            "continues": True,
        } | beat
        self._playing: list[asyncio.Task[None]] = []
        self._subscriptions: list[Subscription] = []

    async def start(self) -> None:
        """Hear dispatches, cancellations and probes."""
        for verb, handler in (("job", self._job), ("cancel", self._cancel), ("probe", self._probe)):
            self._subscriptions.append(await self.bus.subscribe(self._subjects.device(self.name, verb), handler))
        await self.bus.flush()

    async def die(self) -> None:
        """Hear and say nothing any more, at once."""
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        self._subscriptions.clear()
        for task in self._playing:
            task.cancel()
        await self.bus.flush()

    async def beat(self, **fields: Any) -> None:
        """Send one heartbeat."""
        self.beats += 1
        beat = Heartbeat(device=self.name, boot=self.boot, seq=self.beats, **self._beat | fields)
        await self.bus.publish(self._subjects.heartbeat(self.name), codec.encode(codec.plain(beat)))

    async def attempt(self, number: int = 1) -> Attempt:
        """Wait for the n-th dispatch."""
        await until(lambda: len(self.attempts) >= number, f"{self.name} gets {number} dispatches")
        return self.attempts[number - 1]

    def _job(self, delivery: Delivery) -> None:
        attempt = Attempt(self, delivery)
        script = self._scripts[min(len(self.attempts), len(self._scripts) - 1)]
        self.attempts.append(attempt)
        open_now = sum(not (one.over or one.cancelled.is_set()) for one in self.attempts)
        self.most_at_once = max(self.most_at_once, open_now)
        self._playing.append(self._tasks.create_task(_play(script, attempt)))

    def _probe(self, delivery: Delivery) -> None:
        answer: dict[str, Any] = {"state": "ready", "boot": self.boot, "in_flight": 0}
        if codec.decode(delivery.data).get("generate"):
            self.proofs_asked += 1
            if self.proof is None:
                return
            answer |= self.proof
        self._playing.append(self._tasks.create_task(self.bus.publish(delivery.reply, codec.encode(answer))))

    def _cancel(self, delivery: Delivery) -> None:
        order = codec.decode(delivery.data)
        self.cancels.append((str(order["job"]), int(order["attempt"])))
        for attempt in self.attempts:
            if (attempt.dispatch.job, attempt.dispatch.attempt) == self.cancels[-1]:
                attempt.cancelled.set()


async def _play(script: Script, attempt: Attempt) -> None:
    await script(attempt)
