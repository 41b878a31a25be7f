"""Hears every frame that any producer of a tenant is sent, whether or not it still reads; it judges streams, not jobs."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from common import codec, frames
from common.bus import Delivery
from common.errors import BadRequest, GarbledReply
from tests.commands import GUARD_S


@dataclass(slots=True)
class Stream:
    """What came to one reply subject. `after` counts what came behind the terminal frame, the closing empty payload aside."""

    job: str = ""
    pieces: list[str] = field(default_factory=list)
    terminals: int = 0
    after: int = 0
    begun_s: float = 0.0
    """When its producer was first sent something."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An attempt that its producer was told of."""

    at_s: float
    job: str
    device: str
    attempt: int


class Wiretap:
    """Use it as the handler of `_INBOX_producer.<tenant>.*.i.>`."""

    def __init__(self) -> None:
        self.streams: dict[str, Stream] = defaultdict(Stream)
        self.placed: list[Placed] = []
        self.garbled = 0
        self._texts: dict[str, set[str]] = defaultdict(set)
        self._telling: dict[str, Stream] = {}
        self._place: dict[str, Placed] = {}
        self._changed = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        stream = self.streams[delivery.subject]
        if delivery.data:
            self._take(delivery.subject, stream, delivery.data)
        self._changed.set()

    def _take(self, subject: str, stream: Stream, payload: bytes) -> None:
        now_s = _now()
        stream.begun_s = stream.begun_s or now_s
        try:
            wire = codec.decode(payload)
            if "t" not in wire and "error" not in wire:
                return  # no frame, but a reply to one question, as to a cancel
            frame = frames.from_wire(wire)
        except (BadRequest, GarbledReply):
            self.garbled += 1
            return
        if stream.terminals and not isinstance(frame, frames.Terminal):
            stream.after += 1
        match frame:
            case frames.Ack(job=str(job)):
                stream.job = job
            case frames.RouteNote():
                stream.job = frame.job
                self._place[frame.job] = Placed(now_s, frame.job, frame.device, frame.attempt)
                self.placed.append(self._place[frame.job])
            case frames.Token():
                stream.pieces.append(frame.text)
                self._telling[subject] = stream
            case frames.End() | frames.Err():
                self._close(stream, frame, str(wire.get("job") or ""))
                self._telling.pop(subject, None)

    def _close(self, stream: Stream, frame: frames.Terminal, job: str) -> None:
        stream.terminals += 1
        stream.job = stream.job or job
        if isinstance(frame, frames.End):
            stream.job = stream.job or str((frame.route or {}).get("job", ""))
            self._texts[stream.job].add("".join(stream.pieces))
        stream.pieces.clear()

    def taken_s(self, job: str) -> list[float]:
        """Give when a dispatcher took the job: once for each time that it was sent."""
        return [stream.begun_s for stream in self.streams.values() if stream.job == job]

    def resent(self) -> int:
        """Give how often jobs were taken again."""
        named = [stream.job for stream in self.streams.values() if stream.job]
        return len(named) - len(set(named))

    def duplicated(self) -> set[str]:
        """Name the jobs of which somebody was told more than one end, or anything after it, or two different answers."""
        twice = {
            stream.job or subject for subject, stream in self.streams.items() if stream.terminals > 1 or stream.after
        }
        return twice | {job for job, texts in self._texts.items() if len({_bare(text) for text in texts}) > 1}

    async def until_streaming(self, among: Container[str] | None = None) -> Placed:
        """Wait for a job of which its producer has some text and not all, on a device `among` those or any; gives where it runs."""
        async with asyncio.timeout(GUARD_S):
            while True:
                self._changed.clear()
                await self._changed.wait()
                for stream in self._telling.values():
                    placed = self._place.get(stream.job)
                    if placed is not None and (among is None or placed.device in among):
                        return placed

    async def until_placed(self, fits: Callable[[Placed], bool], *, within_s: float = GUARD_S) -> Placed:
        """Wait for an attempt that fits, among those that were not heard yet."""
        seen = len(self.placed)
        async with asyncio.timeout(within_s):
            while True:
                for placed in self.placed[seen:]:
                    if fits(placed):
                        return placed
                seen = len(self.placed)
                self._changed.clear()
                await self._changed.wait()


def _bare(text: str) -> str:
    """Leave out the label: the same answer of two devices is one answer."""
    return text.partition("] ")[2] if text.startswith("[simulated ") else text


def _now() -> float:
    return asyncio.get_running_loop().time()
