"""One party that waits for an answer: the one writer of what it sees, in its own encoding and framing; it knows no other party.

Three ways: frames as they come, frames whose text is held back until it is complete, or one reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from common import codec, energy, frames, vectors
from common.bus import Bus
from common.codec import Encoding
from common.errors import TORN, BusError, FleetError, Interrupted
from common.frames import END_OF_STREAM, Phase
from dispatcher.outcomes import Job

PIECE_CHARS = 128 * 1024
"""Text is sent in pieces that stay below the 1 MiB that NATS carries, also when JSON makes 6 bytes of each character."""

SILENCE_S = 1.0
"""A listener of frames hears this often that the job lives; who hears nothing for longer takes the dispatcher for dead."""

PROBE_S = 0.5
"""So often a frame asks whether anybody hears it. A producer that is gone is found within this while text flows, and while nothing
does within this and a tick: what was said last is said again. Only before anything was said of where a job stands, and what
comes first is worth waiting for, its whole first second may pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where and how one party wants its answer. `deadline_s` is on the loop's clock; `keep_s` is how long the job is to live
    on when nobody listens."""

    job: str
    reply: str
    encoding: Encoding
    framed: bool
    held: bool
    deadline_s: float
    keep_s: float = 0.0


def seat(job: Job) -> Seat:
    """Give the seat of the one who sent a job."""
    request = job.request
    return Seat(
        job=job.id,
        reply=job.reply,
        encoding=job.encoding,
        framed=request.stream,
        held=request.hold or not request.stream,
        deadline_s=job.deadline_s,
        keep_s=request.keep_s,
    )


class Listener:
    """Writes to one party. After `end` or `error` it writes nothing more.

    A bus that is away loses what is written meanwhile: the frames are counted on, so that the gap shows, and the party can send
    its job again. A party of frames that is gone is found by the server's answer to a frame with a reply subject (`gone`); one
    that waits for a single reply can't be asked without answering it, and is noticed only by its own hang-up or the deadline.
    """

    __slots__ = (
        "_bus",
        "_closed",
        "_ending",
        "_gone",
        "_loop",
        "_probe_s",
        "_sent_s",
        "_seq",
        "_tick",
        "_torn",
        "finished",
        "seat",
    )

    def __init__(self, bus: Bus, seat: Seat, gone: str, closed: Callable[[], None]) -> None:
        self.seat = seat
        self.finished = False
        self._bus = bus
        self._gone = gone
        self._closed = closed
        self._ending = False
        self._seq = 0
        self._loop = asyncio.get_running_loop()
        self._sent_s = self._loop.time()
        self._probe_s = self._sent_s + PROBE_S
        self._tick: asyncio.Future[None] | None = None
        self._torn = False

    @property
    def live(self) -> bool:
        """True when it sees text as it comes."""
        return not self.seat.held

    async def ack(self) -> None:
        """Say that the job is taken."""
        await self._frame(frames.Ack(self.seat.job))

    async def note(self, note: frames.RouteNote) -> None:
        """Say where the job runs."""
        await self._frame(note)

    async def keep_alive(self, frame: frames.KeepAlive) -> None:
        """Say that the job lives, and what it waits for."""
        await self._frame(frame)

    async def text(self, text: str) -> None:
        """Show the next piece, if this party sees text before the end."""
        if not self.seat.held:
            await self._show(text)
        elif self._loop.time() - self._sent_s >= SILENCE_S:
            # The device speaks, and so sends no keep-alives; a producer that hears nothing takes the dispatcher for dead.
            await self._frame(frames.KeepAlive(Phase.DECODE))

    async def tick(self, frame: frames.KeepAlive, silence_s: float = SILENCE_S) -> None:
        """Say that the job lives, if nothing was said for `silence_s`; called at any moment, also while another writes."""
        if self.finished or self._ending or self._tick is not None or self._loop.time() - self._sent_s < silence_s:
            return
        self._tick = self._loop.create_future()
        try:
            await self._frame(frame)
        finally:
            self._tick.set_result(None)
            self._tick = None

    async def end(self, text: str, end: frames.End, route: dict[str, Any]) -> None:
        """Finish with the answer. Raises `PayloadTooLarge` when it is too long for one message, `BusError` without a bus."""
        with self._once() as first:
            if first:
                await self._end(text, end, route)

    async def _end(self, text: str, end: frames.End, route: dict[str, Any]) -> None:
        if not self.seat.framed:
            wire = reply_to_wire(self.seat.job, text, end, route)
            await self._publish(codec.encode(wire, self.seat.encoding))
            self.close()
            return
        if self.seat.held:
            await self._show(text)
        if self._torn:
            # It is no answer, though the job is done: who counts the frames sees it, and who does not is told.
            await self._last(frames.Err(_torn(self.seat.job), route))
            return
        await self._last(replace(end, tokens=self._seq, route=route))

    async def error(self, error: FleetError, route: dict[str, Any] | None = None) -> None:
        """Finish with an error; nothing happens when it is finished already. Raises `BusError`."""
        with self._once() as first:
            if first and self.seat.framed:
                await self._last(frames.Err(error, route))
            elif first:
                await refuse(self._bus, self.seat.reply, error, self.seat.encoding, job=self.seat.job)
                self.close()

    @contextmanager
    def _once(self) -> Iterator[bool]:
        """Give True to the one who may write the end: nobody did so, nor is about to. What fails may be tried again."""
        if self.finished or self._ending:
            yield False
            return
        self._ending = True
        try:
            yield True
        finally:
            self._ending = False

    def close(self) -> None:
        """Write nothing more."""
        if not self.finished:
            self.finished = True
            self._closed()

    async def _show(self, text: str) -> None:
        for start in range(0, len(text), PIECE_CHARS):
            seq, self._seq = self._seq, self._seq + 1
            if not await self._frame(frames.Token(seq, text[start : start + PIECE_CHARS])):
                self._torn = True

    async def _last(self, frame: frames.Terminal) -> None:
        payload = codec.encode(frames.to_wire(frame), self.seat.encoding)
        if self._tick is not None:
            await self._tick  # a keep-alive that waits for a congested bus must not come behind the end
        await self._publish(payload)
        self.close()
        await self._publish(END_OF_STREAM)

    async def _frame(self, frame: frames.Frame) -> bool:
        """Send one; False when the bus could not."""
        if not self.seat.framed or self.finished:
            return True
        self._sent_s = now_s = self._loop.time()
        payload = codec.encode(frames.to_wire(frame), self.seat.encoding)
        try:
            if now_s < self._probe_s:
                await self._bus.publish(self.seat.reply, payload)
            else:
                self._probe_s = now_s + PROBE_S
                await self._bus.publish(self.seat.reply, payload, reply=self._gone)
        except BusError:
            return False  # the gap in the count tells its reader
        return True

    async def _publish(self, payload: bytes) -> None:
        await self._bus.publish(self.seat.reply, payload)


def _torn(job: str) -> Interrupted:
    return Interrupted(
        f"a part of the answer was lost while the dispatcher had no connection: send it again under the same id ({job})",
        cause=TORN,
    )


REPLY_ROUTE = ("device", "model", "reason")
"""What a reply needs of an answer's account."""


def reply_to_wire(job: str, text: str, end: frames.End, route: dict[str, Any]) -> dict[str, Any]:
    """Give the one reply of a request that does not stream. Its embeddings are numbers, for whoever has no library of ours."""
    wire: dict[str, Any] = {
        "job": job,
        **({"embeddings": [vectors.shown(one) for one in end.embeddings]} if end.embeddings else {"text": text}),
        **{name: route[name] for name in REPLY_ROUTE},
        "finish": str(end.finish),
        "usage": frames.usage_to_wire(end.usage),
        "route": route,
    }
    if end.energy is not None:
        wire["energy"] = energy.to_wire(end.energy)
    if end.tool_calls:
        wire["tool_calls"] = [codec.plain(call) for call in end.tool_calls]
    return wire


async def refuse(bus: Bus, reply: str, error: FleetError, encoding: Encoding, *, job: str | None = None) -> None:
    """Answer with an error alone, in the way of a NATS service (ADR-32): readable body, and the code in the headers.

    The end of the stream follows, since who asked for frames waits for it; who asked for one reply does not hear it.
    """
    if not reply:
        return
    body: dict[str, Any] = {"error": error.to_wire()}
    if job is not None:
        body["job"] = job
    headers = {"Nats-Service-Error": _header(error.message), "Nats-Service-Error-Code": error.code}
    await bus.publish(reply, codec.encode(body, encoding), headers=headers)
    await bus.publish(reply, END_OF_STREAM)


def _header(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:400]
