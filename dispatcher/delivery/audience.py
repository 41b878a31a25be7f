"""All who wait for an answer here: makes listeners, hears which of them are gone, and lets none wait in silence.

It knows no job. One slot of the dispatcher's own reply subjects serves all listeners: NATS says there, at once, when a frame
finds nobody.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from common.bus import Bus, Delivery
from common.bus.mux import ReplyMux
from common.logs import get_logger
from dispatcher.delivery.answer import SharedAnswer
from dispatcher.delivery.listener import Listener, Seat

log = get_logger("audience")


class Audience:
    """The listeners of one dispatcher. Open one with `audience`."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.reply: Callable[[int], str] = lambda _: ""
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[SharedAnswer, Listener]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def seated(self, seat: Seat, answer: SharedAnswer) -> Listener:
        """Make a listener for `answer`, which it is not yet told of."""
        number = next(self._numbers)
        listener = Listener(self.bus, seat, self.reply(number), lambda: self._forget(number))
        self._open[number] = (answer, listener)
        return listener

    def hear(self, number: int, delivery: Delivery) -> None:
        """Let a listener go whose frame found nobody; what else comes to the subject is an answer that nobody asked for."""
        found = self._open.get(number)
        if found is not None and delivery.no_responders:
            answer, listener = found
            log.info("listener.gone", job=listener.seat.job)
            answer.leave(listener)

    async def tick(self, now_s: float) -> None:
        """Speak to those who wait in silence; call it some times a second. A bug met for one answer is logged: whoever calls this
        does so for all."""
        for answer in dict.fromkeys(answer for answer, _ in self._open.values()):
            try:
                await answer.tick(now_s)
            except Exception:
                log.exception("answer.tick_crashed")

    def _forget(self, number: int) -> None:
        self._open.pop(number, None)


@asynccontextmanager
async def audience(bus: Bus, mux: ReplyMux) -> AsyncIterator[Audience]:
    """Hear who is gone, for the life of the context."""
    one = Audience(bus)
    with mux.slot(one.hear) as reply:
        one.reply = reply
        yield one
