"""The frames of one stream as they arrive, and whether all have arrived; what is done about a loss is not known here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

from common import codec, frames
from common.bus import Delivery
from common.errors import (
    BadRequest,
    BusDisconnected,
    BusTimeout,
    GarbledReply,
    Interrupted,
    NoDispatcher,
    NotPermitted,
)

MOST_WAITING = 256
"""Above it text that waits for its reader is put together: what a slow reader costs is then the text, and not a message for each
of its pieces."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Pieces of text that came one behind the other: those from `first` to `last`."""

    first: int
    last: int
    text: str


class ChatInbox:
    """The frames of one stream in the order of arrival, and whether all have arrived. A reader that is slow gets more at once."""

    def __init__(self) -> None:
        self.over = False
        """True when the dispatcher has nothing more to say: a terminal frame, the end of the stream, or nobody there."""
        self._waiting: deque[Delivery | _Run] = deque()
        self._crowded = MOST_WAITING
        self._arrived = asyncio.Event()
        self._lost = False
        self._tokens = 0

    def put(self, _attempt: int, delivery: Delivery) -> None:
        self._waiting.append(delivery)
        self._arrived.set()
        if len(self._waiting) > self._crowded:
            self._waiting = deque(_joined(self._waiting))
            self._crowded = len(self._waiting) + MOST_WAITING

    def lose(self) -> None:
        """Note that the connection is lost, and with it what was under way."""
        self._lost = True
        self._arrived.set()

    async def read(self, silence_s: float) -> AsyncIterator[frames.Frame]:
        """Give the frames, the terminal one last. Raises what `Drover.frames` says."""
        while not self.over:
            while self._waiting and not self.over:
                yield self._take(self._waiting.popleft())
            if not self.over:
                await self._more(silence_s)

    def _take(self, delivery: Delivery | _Run) -> frames.Frame:
        if isinstance(delivery, _Run):
            self._require_all(frames.Token(delivery.first, delivery.text))
            self._tokens = delivery.last + 1
            return frames.Token(delivery.first, delivery.text)
        if delivery.no_responders:
            self.over = True
            raise NoDispatcher("no dispatcher listens on the bus: start one with `drover dispatcher` or `make up`")
        if delivery.refused:
            self.over = True
            raise NotPermitted(delivery.refused)
        if not delivery.data:
            self.over = True
            raise Interrupted("the end of the answer did not arrive: send the request again")
        frame = frames.from_wire(codec.decode(delivery.data))
        self.over = isinstance(frame, frames.Terminal)
        self._require_all(frame)
        return frame

    def _require_all(self, frame: frames.Frame) -> None:
        """Raise `Interrupted` when a token is missing: NATS drops what is sent while a connection is away."""
        match frame:
            case frames.Token() if frame.seq == self._tokens:
                self._tokens += 1
            case frames.Token():
                raise Interrupted(
                    f"piece {self._tokens} of the answer did not arrive (piece {frame.seq} did): send the request again"
                )
            case frames.End() if frame.tokens != self._tokens:
                raise Interrupted(
                    f"{self._tokens} of {frame.tokens} pieces of the answer arrived: send the request again"
                )
            case _:
                pass

    async def _more(self, silence_s: float) -> None:
        if self._lost:
            raise BusDisconnected("the connection was lost while the answer was under way: send the request again")
        self._arrived.clear()
        try:
            async with asyncio.timeout(silence_s):
                await self._arrived.wait()
        except TimeoutError as error:
            raise BusTimeout(
                f"the dispatcher has been silent for {silence_s:g} s: the job may be lost, send it again"
            ) from error


def _joined(waiting: Iterable[Delivery | _Run]) -> Iterator[Delivery | _Run]:
    """Put runs of text together; what is anything else, or can't be read, stays as it came, to be judged in its turn."""
    first, last, texts = 0, -1, list[str]()
    for one in waiting:
        run = one if isinstance(one, _Run) else _text_of(one)
        if texts and (run is None or run.first != last + 1):
            yield _Run(first, last, "".join(texts))
            texts = []
        if run is None:
            yield one
            continue
        if not texts:
            first = run.first
        last = run.last
        texts.append(run.text)
    if texts:
        yield _Run(first, last, "".join(texts))


def _text_of(delivery: Delivery) -> _Run | None:
    if not delivery.data:
        return None
    try:
        frame = frames.from_wire(codec.decode(delivery.data))
    except (BadRequest, GarbledReply):
        return None
    return _Run(frame.seq, frame.seq, frame.text) if isinstance(frame, frames.Token) else None
