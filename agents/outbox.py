"""The frames of one attempt on their way out: numbered, gathered, in order; it knows the protocol, and no backend.

Text goes out at once when none went out lately, and is gathered otherwise: the first token is never late, and a fast model
costs 40 messages a second, not 400. For a dispatcher, whose frames are MessagePack, the acknowledgement waits a moment for
company: a short job is one message.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from common import codec, frames
from common.bus import Bus, Delivery
from common.clock import Clock
from common.codec import Encoding
from common.errors import PayloadTooLarge
from common.frames import Ack, End, Err, Frame, KeepAlive, Terminal, Token

SILENCE_S = 1.0
"""After this long without a frame a keep-alive goes out."""

ACK_S = 0.02
"""So long an acknowledgement waits; a twentieth of what a dispatcher allows it."""

MAX_PIECES = 64
"""So many tokens go out together at most, however short the time."""

HEADROOM = 4096
"""Bytes below the bus's limit that several frames in one message keep free."""

MAX_TEXT = 32_768
"""Characters in one frame at most: escaped to six bytes each they still fit a bus that carries 256 KiB."""


class Outbox:
    """Writes to one reply subject, in the encoding of the dispatch. Its methods raise the bus's errors."""

    def __init__(self, bus: Bus, delivery: Delivery, *, clock: Clock) -> None:
        self.flush_s = 0.0
        """How long text is gathered."""
        self.streams = True
        """Whether somebody watches: then the first token waits for nothing."""
        self.reply = delivery.reply
        self._bus = bus
        self._encoding = codec.sniff(delivery.data)
        self._clock = clock
        self._pieces: list[str] = []
        self._tokens = 0
        self._flush_at = 0.0
        self._sent_at = clock.monotonic()
        self._closed = False
        self._accepted = False
        self._held = b""
        # The ticker and the job write to the same stream; the lock keeps the numbers in order and the end last.
        self._lock = asyncio.Lock()

    async def accept(self, boot: str) -> None:
        """Say that the job is taken, and in which life of the agent."""
        self._accepted = True
        ack = codec.encode(frames.to_wire(Ack(boot=boot)), self._encoding)
        if self._encoding is Encoding.MSGPACK:
            self._held, self._sent_at = ack, self._clock.monotonic()
            self._flush_at = 0.0 if self.streams else self._sent_at + ACK_S
        else:
            await self._bus.publish(self.reply, ack)

    async def text(self, piece: str) -> None:
        """Add text, and send it if it is time."""
        self._pieces.append(piece)
        if len(self._pieces) >= MAX_PIECES or self._clock.monotonic() >= self._flush_at:
            async with self._lock:
                await self._flush()

    async def tick(self, sign: KeepAlive) -> None:
        """Send gathered text that has waited long enough, or the sign of life after a second of silence."""
        now = self._clock.monotonic()
        if now < self._due_at():
            return
        async with self._lock:
            if self._closed:
                return
            if self._pieces:
                await self._flush()
            elif self._held:
                await self._publish(b"")
            else:
                await self._send(sign)

    def _due_at(self) -> float:
        if self._held:
            return self._sent_at + ACK_S
        return self._flush_at if self._pieces else self._sent_at + SILENCE_S

    async def end(self, terminal: Terminal) -> None:
        """Send the rest of the text, the last frame and the end of the stream."""
        self._closed = True
        async with self._lock:
            await self._flush(last=True)
            try:
                await self._send(replace(terminal, tokens=self._tokens) if isinstance(terminal, End) else terminal)
            except PayloadTooLarge as error:
                await self._send(Err(error))
            if not self._accepted or self._encoding is not Encoding.MSGPACK:
                # `nats req --wait-for-empty` waits for it; a dispatcher has closed its ears at the terminal frame.
                await self._bus.publish(self.reply, frames.END_OF_STREAM)

    async def _flush(self, *, last: bool = False) -> None:
        """Send the text; a short rest waits for the last frame."""
        text = "".join(self._pieces)
        self._pieces.clear()
        together = last and self._encoding is Encoding.MSGPACK and len(text) <= MAX_TEXT
        for start in range(0, len(text), MAX_TEXT):
            token = Token(self._tokens, text[start : start + MAX_TEXT])
            self._tokens += 1
            if together:
                self._held += codec.encode(frames.to_wire(token), self._encoding)
            else:
                await self._send(token)
            self._flush_at = self._sent_at + self.flush_s

    async def _send(self, frame: Frame) -> None:
        await self._publish(codec.encode(frames.to_wire(frame), self._encoding))

    async def _publish(self, payload: bytes) -> None:
        """Send what was held, and this behind it; alone when both are too much for the bus."""
        held, self._held = self._held, b""
        if len(held) + len(payload) > self._bus.max_payload - HEADROOM and held and payload:
            await self._bus.publish(self.reply, held)
            held = b""
        await self._bus.publish(self.reply, held + payload)
        self._sent_at = self._clock.monotonic()
