"""The frames of one attempt on their way out: numbered, gathered, in order; it knows the protocol, and no backend.

Text goes out at once when none went out lately, and is gathered otherwise: the first token is never late, and a fast model
costs 40 messages a second, not 400.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from common import codec, frames
from common.bus import Bus, Delivery
from common.clock import Clock
from common.errors import PayloadTooLarge
from common.frames import Ack, End, Err, Frame, KeepAlive, Terminal, Token

SILENCE_S = 1.0
"""After this long without a frame a keep-alive goes out."""

MAX_PIECES = 64
"""So many tokens go out together at most, however short the time."""

MAX_TEXT = 32_768
"""Characters in one frame at most: escaped to six bytes each they still fit a bus that carries 256 KiB."""


class Outbox:
    """Writes to one reply subject, in the encoding of the dispatch. Its methods raise the bus's errors."""

    def __init__(self, bus: Bus, delivery: Delivery, *, clock: Clock) -> None:
        self.flush_s = 0.0
        """How long text is gathered."""
        self.reply = delivery.reply
        self._bus = bus
        self._encoding = codec.sniff(delivery.data)
        self._clock = clock
        self._pieces: list[str] = []
        self._tokens = 0
        self._flush_at = 0.0
        self._sent_at = clock.monotonic()
        self._closed = False
        # The ticker and the job write to the same stream; the lock keeps the numbers in order and the end last.
        self._lock = asyncio.Lock()

    async def accept(self, boot: str) -> None:
        """Say that the job is taken, and in which life of the agent."""
        await self._send(Ack(boot=boot))

    async def text(self, piece: str) -> None:
        """Add text, and send it if it is time."""
        self._pieces.append(piece)
        if len(self._pieces) >= MAX_PIECES or self._clock.monotonic() >= self._flush_at:
            async with self._lock:
                await self._flush()

    async def tick(self, sign: KeepAlive) -> None:
        """Send gathered text that has waited long enough, or the sign of life after a second of silence."""
        now = self._clock.monotonic()
        if now < (self._flush_at if self._pieces else self._sent_at + SILENCE_S):
            return
        async with self._lock:
            if self._closed:
                return
            if self._pieces:
                await self._flush()
            else:
                await self._send(sign)

    async def end(self, terminal: Terminal) -> None:
        """Send the rest of the text, the last frame and the end of the stream."""
        self._closed = True
        async with self._lock:
            await self._flush()
            try:
                await self._send(replace(terminal, tokens=self._tokens) if isinstance(terminal, End) else terminal)
            except PayloadTooLarge as error:
                await self._send(Err(error))
            await self._bus.publish(self.reply, frames.END_OF_STREAM)

    async def _flush(self) -> None:
        text = "".join(self._pieces)
        self._pieces.clear()
        for start in range(0, len(text), MAX_TEXT):
            await self._send(Token(self._tokens, text[start : start + MAX_TEXT]))
            self._tokens += 1
            self._flush_at = self._sent_at + self.flush_s

    async def _send(self, frame: Frame) -> None:
        await self._bus.publish(self.reply, codec.encode(frames.to_wire(frame), self._encoding))
        self._sent_at = self._clock.monotonic()
