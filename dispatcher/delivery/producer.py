"""The dispatcher's end of the stream to the producer: the one writer of what a producer sees.

Three ways: frames as they come, frames whose text is held back until it is complete, or one reply.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from common import codec, frames
from common.bus import Bus
from common.codec import Encoding
from common.errors import FleetError
from common.frames import END_OF_STREAM, Phase
from dispatcher.outcomes import Candidate, Job

PIECE_CHARS = 128 * 1024
"""Text is sent in pieces that stay below the 1 MiB that NATS carries, also when JSON makes 6 bytes of each character."""

HELD_SILENCE_S = 1.0
"""While text is held back, the producer hears this often that it grows."""


class Producer:
    """Writes to one producer. After `end` or `error` it writes nothing more."""

    def __init__(self, bus: Bus, job: Job) -> None:
        self._bus = bus
        self._job = job
        self._framed = job.request.stream
        self._held = job.request.hold or not job.request.stream
        self._text: list[str] = []
        self._seq = 0
        self._finished = False
        self._sent_s = asyncio.get_running_loop().time()
        self.visible_chars = 0
        """Characters that the producer has; from then on the job can only be continued, not begun again."""

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def streams(self) -> bool:
        """True when the producer sees text as it comes."""
        return not self._held

    async def ack(self) -> None:
        await self._frame(frames.Ack(self._job.id))

    async def route(self, candidate: Candidate, attempt: int) -> None:
        if self._framed:
            note = frames.RouteNote(self._job.id, candidate.device, candidate.model, candidate.reason, attempt)
            await self._frame(note)

    async def keep_alive(self, frame: frames.KeepAlive) -> None:
        await self._frame(frame)

    async def token(self, text: str) -> None:
        self._text.append(text)
        if not self._held:
            self.visible_chars += len(text)
            await self._show(text)
        elif (now_s := asyncio.get_running_loop().time()) - self._sent_s >= HELD_SILENCE_S:
            # The device speaks, and so sends no keep-alives; a producer that hears nothing takes the dispatcher for dead.
            self._sent_s = now_s
            await self.keep_alive(frames.KeepAlive(Phase.DECODE))

    def restart(self) -> None:
        """Forget the text of a failed attempt, unless the producer has it already."""
        if not self.visible_chars:
            self._text.clear()

    async def end(self, end: frames.End, route: dict[str, Any]) -> None:
        """Finish with the answer."""
        if not self._framed:
            await self._reply(codec.encode(reply_to_wire(self._job.id, self.text, end, route), self._job.encoding))
            self._finished = True
            return
        if self._held:
            await self._show(self.text)
        last = replace(end, tokens=self._seq, route=route)
        await self._last(last)

    async def error(self, error: FleetError, route: dict[str, Any] | None = None) -> None:
        """Finish with an error; nothing happens when the stream has its terminal frame already."""
        if self._framed:
            await self._last(frames.Err(error, route))
        elif not self._finished:
            await refuse(self._bus, self._job.reply, error, self._job.encoding, job=self._job.id)

    async def _show(self, text: str) -> None:
        for start in range(0, len(text), PIECE_CHARS):
            await self._frame(frames.Token(self._seq, text[start : start + PIECE_CHARS]))
            self._seq += 1

    async def _last(self, frame: frames.Terminal) -> None:
        if self._finished:
            return
        await self._frame(frame)
        self._finished = True
        await self._reply(END_OF_STREAM)

    async def _frame(self, frame: frames.Frame) -> None:
        if self._framed:
            await self._reply(codec.encode(frames.to_wire(frame), self._job.encoding))

    async def _reply(self, payload: bytes) -> None:
        await self._bus.publish(self._job.reply, payload)


def reply_to_wire(job: str, text: str, end: frames.End, route: dict[str, Any]) -> dict[str, Any]:
    """Give the one reply of a request that does not stream."""
    wire: dict[str, Any] = {
        "job": job,
        "text": text,
        "device": route["device"],
        "model": route["model"],
        "reason": route["reason"],
        "finish": str(end.finish),
        "usage": frames.usage_to_wire(end.usage),
        "route": route,
    }
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
