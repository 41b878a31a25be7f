"""Finds out whether another agent has this device's name: asks before the doors open, and listens as long as they are.

Cards that were cloned share a host name, and then both devices would take every job. It decides nothing of jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from common import codec
from common.bus import Bus, Delivery
from common.clock import Clock
from common.errors import BusError, BusTimeout, ConfigError, FleetError
from common.lifecycle import Stop
from common.logs import get_logger
from common.messages import DeviceState, Heartbeat

log = get_logger("agent")

ASK_S = 1.0
"""What an agent gets to answer. After a power cut the server keeps the subscriptions of the connection that is gone for
minutes, so that no answer is the usual case for a device that was just switched on again."""

AGAIN_S = 0.5

WAIT_S = 10.0
"""How long the one before gets to finish: one that was restarted may still drain."""

SAY_S = 60.0

LEAST_FRESH_S = 3.0
"""Time in which a namesake that was heard is believed to be there, however fast it beats."""


async def sole_bearer(bus: Bus, probe: str, device: str, stop: Stop, *, wait_s: float = WAIT_S) -> bool:
    """Return when nobody answers on the subject `probe`: True, or False when asked to stop meanwhile.

    Raises `ConfigError` when somebody still does after `wait_s`. Who has answered once is gone only when the bus says so, or
    after two silences in a row: one may be a pause of a busy device.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    patience = 1
    while (other := await _bearer(bus, probe, patience)) is not None:
        patience = 2
        if loop.time() >= until:
            raise ConfigError(
                f"another agent bears the name {device!r} on this bus (its boot is {other}): "
                "stop that one, or give this device a name of its own with DROVER_DEVICE",
                retry_after_s=WAIT_S,
            )
        log.info("agent.name_awaited", device=device, other=other)
        try:
            async with asyncio.timeout(AGAIN_S):
                await stop.wait()
        except TimeoutError:
            continue
        return False
    return not stop.requested


async def _bearer(bus: Bus, probe: str, patience: int) -> str | None:
    """Ask who is there, as long as nothing is heard, up to `patience` times; give its boot."""
    for _ in range(patience):
        try:
            answer = await bus.request(probe, b"{}", timeout_s=ASK_S)
        except BusTimeout:
            continue
        except BusError:
            return None
        return boot_of(answer)
    return None


def boot_of(answer: Delivery) -> str:
    """Read off an answer to a probe which agent gave it."""
    try:
        return str(codec.decode(answer.data).get("boot", "unknown"))
    except FleetError:
        return "unknown"


class Namesakes:
    """Hears the heartbeats under the agent's own name. `changed` is called when `trouble` differs, and must return at once."""

    def __init__(self, device: str, boot: str, *, clock: Clock, changed: Callable[[], None]) -> None:
        self._device = device
        self._boot = boot
        self._clock = clock
        self._changed = changed
        self._other = ""
        self._fresh_until_s = float("-inf")
        self._said_at_s = float("-inf")

    @property
    def trouble(self) -> str | None:
        """Say who else has the name, as long as it is heard."""
        if self._clock.monotonic() >= self._fresh_until_s:
            return None
        return f"another agent (boot {self._other}) has the name {self._device!r}: set DROVER_DEVICE on one of the two"

    def hear(self, delivery: Delivery) -> None:
        """Take a heartbeat; one of an agent that goes, as the one before a restart does, is no trouble."""
        try:
            wire = codec.decode(delivery.data)
            if wire.get("boot") == self._boot:
                return
            beat = codec.build(Heartbeat, wire)
        except FleetError:
            return  # dispatchers hear it, too, and say so
        leaves = beat.state in {DeviceState.DRAINING, DeviceState.STOPPED}
        before = self.trouble
        if not leaves:
            self._note(beat)
        elif beat.boot == self._other:
            self._fresh_until_s = float("-inf")
        if before != self.trouble:
            self._changed()

    @asynccontextmanager
    async def listening(self, bus: Bus, subject: str) -> AsyncIterator[None]:
        """Hear the heartbeats on `subject` for the life of the context."""
        hearing = await bus.subscribe(subject, self.hear)
        try:
            yield
        finally:
            await hearing.unsubscribe()

    def _note(self, beat: Heartbeat) -> None:
        now = self._clock.monotonic()
        self._other = beat.boot
        self._fresh_until_s = now + max(LEAST_FRESH_S, 3 * beat.interval_s)
        if now >= self._said_at_s + SAY_S:
            self._said_at_s = now
            log.warning("agent.name_taken", device=self._device, other=beat.boot, way_out="set DROVER_DEVICE")
