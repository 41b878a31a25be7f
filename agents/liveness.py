"""Whether the engine behind the backend shows life: when it produced something last, and why it is doubted, if it is.

A backend that answers questions about its models proves nothing: a hung Ollama does so. It knows neither jobs nor probes.
"""

from __future__ import annotations

from collections.abc import Callable

from common.clock import Clock
from common.logs import get_logger

log = get_logger("liveness")


class EngineLiveness:
    """The engine's last sign of life. `changed` is called when `fault` differs, and must return at once."""

    def __init__(self, clock: Clock, *, changed: Callable[[], None]) -> None:
        self.fault: str | None = None
        """Why the engine is taken for hung; it stays until something is heard of it."""
        self._clock = clock
        self._changed = changed
        self._heard_s = float("-inf")

    def beat(self) -> None:
        """Note that the engine produced something just now; whatever it was doubted for is over."""
        self._heard_s = self._clock.monotonic()
        self.trust()

    def trust(self) -> None:
        """Drop the doubt."""
        if self.fault is not None:
            self.fault = None
            log.info("engine.recovered")
            self._changed()

    def doubt(self, reason: str) -> None:
        """Take the engine for hung; the latest reason counts."""
        if self.fault is None:
            log.warning("engine.hung", reason=reason)
        if self.fault != reason:
            self.fault = reason
            self._changed()

    def silent_s(self, since_s: float) -> float:
        """Give the seconds since the engine was heard, or since `since_s` when work that goes on began later."""
        return max(0.0, self._clock.monotonic() - max(self._heard_s, since_s))
