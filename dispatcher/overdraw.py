"""Devices that draw more than they say, told once to the log, since limits on watts count with what they say; it limits nothing."""

from __future__ import annotations

from common.logs import get_logger
from common.messages import Heartbeat
from dispatcher.routing.draw import overdrawn

log = get_logger("overdraw")

MOST_DEVICES = 1000
"""Devices that are remembered; beyond that all are told anew, so that names which nobody has twice take no memory."""


class Overdraw:
    """Tells each device once for each of its boots."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def look(self, beat: Heartbeat) -> None:
        """Look at a heartbeat."""
        if not overdrawn(beat) or self._told.get(beat.device) == beat.boot:
            return
        if len(self._told) >= MOST_DEVICES:
            self._told.clear()
        self._told[beat.device] = beat.boot
        log.warning(
            "device.draws_more",
            device=beat.device,
            watts=beat.watts,
            busy_w=beat.busy_w,
            source=beat.watts_source,
            hint="limits on watts trust what it says: set DROVER_POWER_BUSY_W there",
        )
