"""The durable lane as a service of a dispatcher: built, opened, kept up over every failure of the server, and closed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from common.bus import Bus
from common.bus.jetstream import JetStream
from common.bus.streams import Puller, Streams
from common.durable import Names
from common.durable_client import DurableJobs
from common.errors import FleetError, StreamsUnavailable
from common.logs import get_logger
from common.messages import Priority
from dispatcher.durable.cancelling import QUEUE_CANCEL, Cancelling
from dispatcher.durable.claims import Claims
from dispatcher.durable.declare import JANITOR, declare
from dispatcher.durable.ending import Ending
from dispatcher.durable.janitor import Janitor, Office
from dispatcher.durable.lane import Lane
from dispatcher.durable.letters import Letters
from dispatcher.durable.pulling import PullLoop
from dispatcher.durable.reading import Reading
from dispatcher.durable.tending import tend
from dispatcher.durable.verdict import RetryPolicy
from dispatcher.pipeline import Pipeline, Spawn
from dispatcher.settings import DurableSection

log = get_logger("durable")

AGAIN_S = 1.0
"""After a failure of the server, and at most so often."""

UNAVAILABLE_S = 30.0
"""Where the server keeps no streams: it may be another one after the next reconnect."""


class DurableLane:
    """The lane of one dispatcher."""

    def __init__(
        self,
        bus: Bus,
        pipeline: Pipeline,
        settings: DurableSection,
        *,
        room: Callable[[], int],
        spawn: Spawn,
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._room = room
        self._spawn = spawn
        self.subjects = pipeline.subjects
        self.names = Names.below(self.subjects)
        self.streams: Streams = JetStream(bus)
        # New at each start: whoever is delivered a job again must not take his own claim of a life before for his own.
        self.name = f"{pipeline.courier.dispatcher}-{secrets.token_hex(4)}"
        claims = Claims(self.streams.bucket(self.names.claims), self.name)
        letters = Letters(self.streams, self.names, self.subjects, pipeline.clock)
        reading = Reading(pipeline.clock, self.subjects, settings.life_s)
        self.lane = Lane(
            streams=self.streams,
            names=self.names,
            subjects=self.subjects,
            clock=pipeline.clock,
            pipeline=pipeline,
            claims=claims,
            reading=reading,
            ending=Ending(
                clock=pipeline.clock,
                claims=claims,
                letters=letters,
                reading=reading,
                policy=RetryPolicy(settings.tries, settings.first_delay_s, settings.longest_delay_s),
                fleet=lambda: pipeline.roster.fleet,
                began_s=pipeline.clock.monotonic(),
                steady_s=settings.steady_s,
            ),
            ack_wait_s=settings.ack_wait_s,
            try_s=settings.try_s,
        )
        self.janitor = Janitor(
            self.streams,
            self.names,
            self.subjects,
            reading=reading,
            letters=letters,
            claims=claims,
            most_tries=settings.tries,
            ack_wait_s=settings.ack_wait_s,
        )
        self.ready = asyncio.Event()
        """Set while jobs are pulled."""
        self.searching = False
        """Orders to cancel are looked up in the queue here, and answered: also while nothing is pulled yet."""

    @asynccontextmanager
    async def tended(self) -> AsyncIterator[None]:
        """Give signs of life for the jobs that run; left when the pipeline has none, it returns when their results are stored."""
        async with asyncio.TaskGroup() as tasks:
            tending = tasks.create_task(tend(self.lane))
            try:
                yield
                await self.lane.end()
            finally:
                tending.cancel()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Pull jobs, and hear orders to cancel; those that run go on after it."""
        if not self._settings.enabled:
            yield
            return
        queue = DurableJobs(self._bus, self.streams, tenant="default", subjects=self.subjects)
        cancelling = Cancelling(self.lane, queue, self._spawn)
        orders = []
        for subject in (self.subjects.control("*", "cancel", owner) for owner in (None, "*")):
            orders.append(await self._bus.subscribe(subject, cancelling.hear_own))
            orders.append(await self._bus.subscribe(subject, cancelling.hear, queue=QUEUE_CANCEL))
        self.searching = True
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(self._serve())
            try:
                yield
            finally:
                self.searching = False
                self.lane.stop()
                serving.cancel()
                for order in orders:
                    await order.unsubscribe()

    async def _serve(self) -> None:
        """Pull for ever; where that is not possible, the live lane goes on without."""
        told, back = "", asyncio.Event()
        self._bus.on_reconnect(back.set)
        async with AsyncExitStack() as stack:
            pullers: dict[str, Puller] = {}
            while True:
                back.clear()
                try:
                    await declare(self.streams, self.names, self.subjects, self._settings)
                    if not pullers:
                        pullers = await self._pullers(stack)
                    told = ""
                    await self._work(pullers)
                except* FleetError as group:
                    error = _first(group)
                # A task group that fails while it is cancelled raises its failure alone, and whoever waits for our end waits on.
                _require_life()
                self.ready.clear()
                if told != error.code:
                    told = error.code
                    log.warning("durable.off", error=error.code, message=error.message)
                await _either(back, UNAVAILABLE_S if isinstance(error, StreamsUnavailable) else AGAIN_S)

    async def _pullers(self, stack: AsyncExitStack) -> dict[str, Puller]:
        """Open a reader for each class and one for the janitor, once: they outlive the loss of a connection."""
        readers = [(self.names.jobs, str(priority)) for priority in Priority] + [(self.names.advisories, JANITOR)]
        async with AsyncExitStack() as opened:
            pullers = {
                name: await opened.enter_async_context(self.streams.puller(stream, name)) for stream, name in readers
            }
            stack.push_async_exit(opened.pop_all())
        return pullers

    async def _work(self, pullers: Mapping[str, Puller]) -> None:
        """Pull jobs and keep house, until the server fails."""
        classes = {priority: pullers[priority] for priority in Priority}
        pulling = PullLoop(classes, lambda: self._room() - self.lane.arriving, self.lane.stirred)
        now = asyncio.get_running_loop().time
        office = Office(self.streams.bucket(self.names.claims), self.name, self._settings.ack_wait_s, now)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.janitor.work(office, pullers[JANITOR], self._settings.sweep_s))
            log.info("durable.ready", dispatcher=self.name)
            self.ready.set()
            await pulling.run(lambda pulled: self.lane.begin(pulled, self._spawn))


async def _either(back: asyncio.Event, wait_s: float) -> None:
    """Return when the connection is back, or after the time."""
    try:
        async with asyncio.timeout(wait_s):
            await back.wait()
    except TimeoutError:
        pass  # try again


def _require_life() -> None:
    """Raise `CancelledError` when this task was asked to end."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _first(group: BaseExceptionGroup[FleetError]) -> FleetError:
    """Give one error of a group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, FleetError):
        raise error
    return error
