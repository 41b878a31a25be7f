"""The events that operators and the bridge watch: `evt.job.<state>.<job>`, `evt.dev.<state>.<device>`. Lossy by design."""

from __future__ import annotations

from collections import deque
from typing import Any

from common import codec, energy
from common.bus import Bus
from common.errors import BusError
from common.frames import COST_DIGITS
from common.subjects import Subjects
from dispatcher.outcomes import JobRecord
from dispatcher.roster import DeviceEvent


class EventSink:
    """Publishes a summary of each record."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects

    async def write(self, record: JobRecord) -> None:
        await self._bus.publish(self._subjects.job_event(record.state, record.job), codec.encode(summary(record)))


def summary(record: JobRecord) -> dict[str, Any]:
    """Give a record as operators read it."""
    wire = {
        "job": record.job,
        "tenant": record.tenant,
        "priority": None if record.priority is None else str(record.priority),
        "state": str(record.state),
        "device": record.device,
        "model": record.model,
        "reason": record.reason,
        "attempts": len(record.attempts),
        "queue_s": record.queue_s,
        "first_token_s": record.first_token_s,
        "total_s": record.total_s,
        "prompt_tokens": record.usage.prompt_tokens,
        "completion_tokens": record.usage.completion_tokens,
        "cost_usd": record.cost_usd,
        "cost_estimated": record.cost_estimated or None,
        "saved_usd": record.saved_usd,
        "saved_against": record.saved_against,
        "cloud_usd": record.cloud_usd,
        "energy": None if record.energy is None else energy.to_wire(record.energy),
        "escalated": record.escalated,
        "cache": None if record.cached is None else record.cached.account(),
        "error": record.error,
        "error_message": record.error_message,
        "decision": record.decision,
    }
    return {
        key: round(value, COST_DIGITS if key.endswith("_usd") else 4) if isinstance(value, float) else value
        for key, value in wire.items()
        if value is not None
    }


class RouteEvents:
    """Publishes what feedback changed in the routing, taking it from where it collects."""

    def __init__(self, bus: Bus, subjects: Subjects, dispatcher: str, waiting: deque[dict[str, Any]]) -> None:
        self._bus = bus
        self._subject = subjects.route_event("changed", dispatcher)
        self._dispatcher = dispatcher
        self._waiting = waiting

    async def publish(self) -> None:
        """Send what has collected; while there is no bus it waits, the oldest giving way to the newest."""
        while self._waiting:
            body = {"dispatcher": self._dispatcher, **self._waiting[0]}
            try:
                await self._bus.publish(self._subject, codec.encode(body))
            except BusError:
                return
            self._waiting.popleft()


class DeviceEvents:
    """Collects the roster's changes, which come in the middle of other work, and publishes them when asked."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects
        self._waiting: deque[DeviceEvent] = deque(maxlen=1000)

    def note(self, event: DeviceEvent) -> None:
        if event.notable:
            self._waiting.append(event)

    async def publish(self) -> None:
        """Send what has collected; while there is no bus it waits, the oldest giving way to the newest."""
        while self._waiting:
            event = self._waiting[0]
            body = {"device": event.device.name, "state": str(event.change), "boot": event.device.beat.boot}
            try:
                await self._bus.publish(
                    self._subjects.device_event(event.change, event.device.name), codec.encode(body)
                )
            except BusError:
                return
            self._waiting.popleft()
