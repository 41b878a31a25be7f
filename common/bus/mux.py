"""Many answer streams over one subscription: `<root>.<slot>.<attempt>`; it knows nothing of what the answers say.

nats-py has no request for many replies, and a subscription per stream would make the server spread interest for each; one
wildcard subscription and a dictionary serve all streams of a process. The slot and the attempt stand in the subject, so
a late frame of an abandoned attempt is told apart without reading it.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from common.bus import Bus, Delivery

AttemptHandler = Callable[[int, Delivery], None]
"""Called with the attempt number and the message."""


class ReplyMux:
    """The reply subjects of one process. Open one with `reply_mux`."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._slots: dict[str, AttemptHandler] = {}
        self._numbers = itertools.count(1)
        self.strays = 0
        """Messages for slots that are closed: late frames of attempts that were given up."""

    @contextmanager
    def slot(self, handler: AttemptHandler) -> Iterator[Callable[[int], str]]:
        """Open a slot; gives the function from attempt number to reply subject. Closed on leaving, for good."""
        # Whoever answers one knows the root; the rest must not be guessed, or it could speak for others.
        name = f"{next(self._numbers)}-{secrets.token_hex(4)}"
        self._slots[name] = handler
        try:
            yield lambda attempt: f"{self._root}.{name}.{attempt}"
        finally:
            del self._slots[name]

    def deliver(self, delivery: Delivery) -> None:
        """Hand a message to the slot that its subject names, or count it as a stray."""
        slot, _, attempt = delivery.subject[len(self._root) + 1 :].partition(".")
        handler = self._slots.get(slot)
        if handler is None or not (attempt.isascii() and attempt.isdecimal()):
            self.strays += 1
            return
        handler(int(attempt), delivery)


@asynccontextmanager
async def reply_mux(bus: Bus, root: str) -> AsyncIterator[ReplyMux]:
    """Subscribe to `<root>.*.*` for the life of the context."""
    mux = ReplyMux(root)
    subscription = await bus.subscribe(f"{root}.*.*", mux.deliver)
    try:
        yield mux
    finally:
        await subscription.unsubscribe()
