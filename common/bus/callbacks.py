"""Running what others hand to a bus (handlers, hooks) so that nothing they raise reaches the connection.

It knows neither vendors nor connections; both buses use it, so both count and log alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from common.bus import Delivery, Handler
from common.logs import get_logger

log = get_logger("bus")

Hook = Callable[[], None]
"""Called on the event loop when a connection is lost or found again; it must return at once."""


@dataclass(slots=True)
class Counters:
    """What went wrong on one bus since it was opened."""

    reconnects: int = 0
    handler_failures: int = 0
    """Handlers and hooks that raised."""
    dropped: int = 0
    """Messages that found their subscription's waiting room full."""
    errors: int = 0
    """Faults that the server or the vendor's client reported."""


def hand_over(counters: Counters, handler: Handler, delivery: Delivery) -> None:
    """Call a handler with one message; what it raises is counted and logged, without the message's content."""
    try:
        handler(delivery)
    except Exception:
        counters.handler_failures += 1
        log.exception("bus.handler_failed", subject=delivery.subject, size_bytes=len(delivery.data))


class Hooks:
    """The callbacks for one event, in the order in which they were added."""

    def __init__(self, event: str, counters: Counters) -> None:
        self._event = event
        self._counters = counters
        self._hooks: list[Hook] = []

    def add(self, hook: Hook) -> Hook:
        """Add a hook; gives what takes it away again."""
        self._hooks.append(hook)
        return lambda: self._drop(hook)

    def _drop(self, hook: Hook) -> None:
        if hook in self._hooks:
            self._hooks.remove(hook)

    def run(self) -> None:
        """Call all of them; one that raises is counted and logged, and the others still run."""
        for hook in tuple(self._hooks):
            try:
                hook()
            except Exception:
                self._counters.handler_failures += 1
                log.exception("bus.hook_failed", on=self._event)
