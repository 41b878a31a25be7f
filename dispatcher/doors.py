"""What the dispatcher hears: jobs, control, heartbeats. Handlers only read and hand over; they know no step but the pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common import codec
from common.bus import Bus, Delivery
from common.errors import BadRequest, FleetError, UnknownJob
from common.heartbeats import read_heartbeat
from common.logs import get_logger
from common.subjects import QUEUE_DISPATCH
from dispatcher.pipeline import Pipeline

log = get_logger("doors")


class Doors:
    """What the dispatcher hears: jobs, control, heartbeats. Handlers only read and hand over."""

    def __init__(self, pipeline: Pipeline, jobs: asyncio.TaskGroup) -> None:
        self._pipeline = pipeline
        self._jobs = jobs
        self.garbled_beats = 0

    @asynccontextmanager
    async def ears(self, bus: Bus) -> AsyncIterator[None]:
        """Hear devices and cancellations, as long as a job runs."""
        subjects = self._pipeline.subjects
        beats = await bus.subscribe(subjects.heartbeat("*"), self._heartbeat, pending=4096)
        control = await bus.subscribe(subjects.control("*", "*"), self._control)
        try:
            yield
        finally:
            await beats.unsubscribe()
            await control.unsubscribe()

    @asynccontextmanager
    async def open(self, bus: Bus) -> AsyncIterator[None]:
        """Take jobs."""
        work = await bus.subscribe(self._pipeline.subjects.work("chat", "*"), self._job, queue=QUEUE_DISPATCH)
        try:
            yield
        finally:
            await work.drain()

    def _job(self, delivery: Delivery) -> None:
        self._pipeline.take(delivery, self._jobs.create_task)

    def _heartbeat(self, delivery: Delivery) -> None:
        try:
            beat = read_heartbeat(delivery, self._pipeline.subjects)
        except BadRequest as error:
            self.garbled_beats += 1
            if self.garbled_beats == 1:
                log.warning("heartbeat.garbled", subject=delivery.subject, error=error.message)
            return
        self._pipeline.roster.observe(beat, self._pipeline.clock.monotonic())

    def _control(self, delivery: Delivery) -> None:
        """Only the dispatcher that owns the job answers; the others keep silent, or the first "unknown" would win."""
        _, job, verb = self._pipeline.subjects.tokens(delivery.subject)
        tenant = _tenant(delivery.data)
        if verb == "cancel" and self._pipeline.cancel(job, "on request", tenant=tenant):
            self._reply(delivery, {"job": job, "cancelled": True})
        elif verb == "status":
            try:
                self._reply(delivery, self._pipeline.status(job, tenant=tenant))
            except UnknownJob:
                return

    def _reply(self, delivery: Delivery, body: dict[str, object]) -> None:
        if delivery.reply:
            self._jobs.create_task(_send(self._pipeline.bus, delivery.reply, codec.encode(body)))


async def _send(bus: Bus, subject: str, payload: bytes) -> None:
    try:
        await bus.publish(subject, payload)
    except FleetError as error:
        log.warning("reply.unsent", error=error.code)


def _tenant(payload: bytes) -> str | None:
    """Read whose job is meant, from a body that operators leave out; one that can't be read says nothing."""
    try:
        tenant = codec.decode_request(payload).get("tenant")
    except BadRequest:
        return None
    return tenant if isinstance(tenant, str) else None
