"""The composition root of the dispatcher: what is built, in which order it starts, and how it stops."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version

from common.bus import Bus
from common.bus.jetstream import JetStream
from common.bus.mux import reply_mux
from common.bus.nats import connect_nats
from common.bus.options import options_from
from common.clock import LoopClock, loop_s
from common.discovery import EndpointStats, ServiceInfo, discoverable
from common.durable import Names
from common.errors import BusError, ConfigError
from common.lifecycle import Stop, guarding, run
from common.logs import configure, get_logger
from common.reloading import Member, Reloader, reloadable
from common.settings import load
from common.subjects import QUEUE_DISPATCH, Subjects, as_token, own_inbox
from common.tracing import traced
from dispatcher.cache import Cache, CacheDesk, running_cache
from dispatcher.delivery.audience import Audience, audience
from dispatcher.delivery.courier import Courier
from dispatcher.delivery.kept import ReplayCache
from dispatcher.doors import Doors
from dispatcher.durable.service import DurableLane
from dispatcher.gauges import watched
from dispatcher.intake import Intake
from dispatcher.knobs import KNOBS, limits_of, manners_of, prepare, rules_of
from dispatcher.peers import Peers, peers
from dispatcher.pipeline import Pipeline, Spawn
from dispatcher.record import Recorder
from dispatcher.record.events import DeviceEvents, EventSink, RouteEvents
from dispatcher.record.ledger import LedgerSink
from dispatcher.record.log import LogSink
from dispatcher.roster import Change, DeviceEvent, Roster
from dispatcher.rounds import Classifier, Rounds
from dispatcher.router import Router
from dispatcher.router.life import running_router
from dispatcher.settings import DispatcherSettings
from dispatcher.sharing import Sharing
from dispatcher.shelf import Shelf, shelf

log = get_logger("dispatcher")

SWEEP_S = 0.25
"""A quarter of a heartbeat interval: a device is found suspect or dead at most this much late."""

TICK_S = 0.25
"""Half of the time in which a producer that is gone is asked for: with its answer it is found within three quarters of a second."""

LAST_RECORDS_S = 2.0
"""What the last records get to reach their stream."""

LAST_WORDS_S = 2.0
"""What cancelled jobs get for their terminal frame; it is a matter of milliseconds on a bus that works."""


def main() -> int:
    """Run one dispatcher until a signal; gives the exit status."""
    try:
        settings = load(DispatcherSettings)
    except ConfigError as error:
        raise SystemExit(f"drover: {error.message}") from error
    configure("dispatcher", level=settings.log.level, fmt=settings.log.format)
    return run(lambda stop: serve(settings, stop), reloads=True)


async def serve(settings: DispatcherSettings, stop: Stop) -> None:
    """Run until `stop`; then take no new jobs, and give those that run their grace."""
    async with (
        traced(settings.traces.endpoint, "drover-dispatcher", settings.dispatcher.id or ""),
        connect_nats(options_from(settings.bus, name="drover-dispatcher", inbox_prefix=own_inbox("dispatcher"))) as bus,
        dispatcher(settings, bus, stop) as pipeline,
        watched(settings.metrics.address, bus, pipeline),
    ):
        log.info("dispatcher.ready", dispatcher=pipeline.courier.dispatcher, nats=bus.connected)
        await stop.wait()
        log.info("dispatcher.stopping", running=pipeline.running)


@asynccontextmanager
async def dispatcher(settings: DispatcherSettings, bus: Bus, stop: Stop | None = None) -> AsyncIterator[Pipeline]:
    """Build a dispatcher on any bus; leaving the context closes the doors, lets jobs finish, and cancels the rest. `stop` passes
    on the wish to read the settings again."""
    subjects = Subjects(settings.bus.prefix)
    name = as_token(settings.dispatcher.id) if settings.dispatcher.id else f"disp-{secrets.token_hex(4)}"
    roster = _roster(settings, name)
    # New at each start, also under a fixed name: slots count from 1, and a device must not take a new job for an old one.
    life = f"{name}-{secrets.token_hex(4)}"[-64:]
    async with (
        reply_mux(bus, subjects.inbox(life)) as mux,
        audience(bus, mux) as hall,
        peers(bus, mux, subjects, life, asyncio.get_running_loop().time) as others,
        shelf(bus, mux, Names.below(subjects).answers, settings.replay) as answers,
        running_router(roster, settings.routing, settings.embed, settings.dispatcher.id and name) as router,
        running_cache(
            settings.cache,
            embedding=router.embedding,
            fleet=lambda: roster.fleet,
            strategy=router.strategy_of,
            may_use=router.may_use,
            clock=LoopClock(),
        ) as cache,
    ):
        courier = Courier(
            bus,
            mux,
            roster,
            limits=limits_of(settings),
            subjects=subjects,
            dispatcher=name,
            hedge_share=settings.delivery.hedge_share,
            rules=rules_of(settings),
        )
        ledger = _ledger(settings, bus, roster, name)
        sharing = _sharing(settings, hall, others, answers)
        pipeline = _pipeline(settings, router, cache, sharing, courier, ledger=ledger)
        reloader = Reloader(settings, KNOBS, prepare(pipeline), process="dispatcher")
        async with asyncio.TaskGroup() as jobs:
            spawn = guarding(jobs)
            durable = _durable(settings, bus, pipeline, spawn)
            desk = CacheDesk(cache, dispatcher=name, embedding=router.embedding, clock=pipeline.clock)
            doors = Doors(pipeline, spawn, desk, queued=lambda: durable.searching)
            changes = RouteEvents(bus, subjects, name, router.feedback.told)
            keeper = jobs.create_task(_keep(pipeline, DeviceEvents(bus, subjects), changes))
            speaker = jobs.create_task(_speak(hall, pipeline.sharing.kept, pipeline.clock.monotonic))
            pulse = jobs.create_task(pipeline.courier.pulse.beat(mux))
            telling = None if ledger is None else jobs.create_task(ledger.keep())
            async with doors.ears(bus), durable.tended():
                courier.settled_s = loop_s() + settings.roster.settle_s
                await bus.publish(subjects.roll_call(), b"")
                await asyncio.sleep(settings.roster.roll_call_s)
                presence = jobs.create_task(others.keep())
                shelving = jobs.create_task(answers.keep(bus))
                async with (
                    doors.open(bus),
                    durable.open(),
                    discoverable(bus, _info(name), lambda: _stats(pipeline)),
                    reloadable(bus, subjects, reloader, Member(name, name, "dispatcher"), stop),
                ):
                    # Whoever is told that we are ready must find us: the server knows the subscriptions then.
                    await bus.flush()
                    yield pipeline
                # Until its last job is over the others ask this one: a job that is sent again meanwhile must find it.
                await _finish(pipeline, reloader.tree.dispatcher.grace_s)
                presence.cancel()
                shelving.cancel()
                await _go(pipeline.bus, others)
            if ledger is not None and telling is not None:
                await ledger.flush(LAST_RECORDS_S)
                telling.cancel()
            keeper.cancel()
            speaker.cancel()
            pulse.cancel()


def _roster(settings: DispatcherSettings, name: str) -> Roster:
    ages = settings.roster
    return Roster(
        dispatcher=name,
        suspect_after=ages.suspect_after,
        dead_after=ages.dead_after,
        forget_after_s=ages.forget_after_s,
    )


def _sharing(settings: DispatcherSettings, hall: Audience, others: Peers, answers: Shelf) -> Sharing:
    clock, replay = LoopClock(), settings.replay
    kept = ReplayCache(clock.monotonic, ttl_s=replay.ttl_s, entries=replay.entries, size_bytes=replay.size_mb << 20)
    return Sharing(clock=clock, audience=hall, kept=kept, peers=others, shelf=answers)


def _ledger(settings: DispatcherSettings, bus: Bus, roster: Roster, name: str) -> LedgerSink | None:
    """Make what tells the ledger; it hears the roster from the first heartbeat on."""
    if not settings.ledger.enabled:
        return None
    subjects = Subjects(settings.bus.prefix)
    sink = LedgerSink(bus, JetStream(bus), subjects, clock=LoopClock(), dispatcher=name, fleet=lambda: roster.fleet)
    roster.on_change(sink.note)
    return sink


def _pipeline(
    settings: DispatcherSettings,
    router: Router,
    cache: Cache,
    sharing: Sharing,
    courier: Courier,
    *,
    ledger: LedgerSink | None,
) -> Pipeline:
    clock, bus, subjects = sharing.clock, courier.bus, Subjects(settings.bus.prefix)
    return Pipeline(
        bus=bus,
        clock=clock,
        subjects=subjects,
        intake=Intake(clock, subjects, settings.admission.default_timeout_s),
        roster=courier.roster,
        router=router,
        courier=courier,
        rounds=_rounds(settings, courier, router),
        cache=cache,
        recorder=Recorder(LogSink(), EventSink(bus, subjects), *(() if ledger is None else (ledger,))),
        sharing=sharing,
    )


def _rounds(settings: DispatcherSettings, courier: Courier, router: Router) -> Rounds:
    routing = settings.routing
    return Rounds(
        courier=courier,
        router=router,
        manners=manners_of(settings),
        classifier=Classifier(courier, router, timeout_s=routing.classifier_s) if routing.classifier_s > 0 else None,
    )


def _durable(settings: DispatcherSettings, bus: Bus, pipeline: Pipeline, spawn: Spawn) -> DurableLane:
    def room() -> int:
        """Slots that look free, less those who wait for one already."""
        devices = pipeline.roster.fleet.devices.values()
        waiting = pipeline.courier.line.waiting + pipeline.cache.waiting
        return sum(device.free_slots for device in devices if device.usable) - waiting

    return DurableLane(bus, pipeline, settings.durable, room=room, spawn=spawn)


async def _keep(pipeline: Pipeline, events: DeviceEvents, changes: RouteEvents) -> None:
    """Age the roster, tell its changes and those of the routing, and wake who waits for what limits have opened again."""
    roster, line = pipeline.roster, pipeline.courier.line
    roster.on_change(events.note)
    roster.on_change(_log_change)
    while True:
        roster.sweep(pipeline.clock.monotonic())
        if line.waiting:
            line.reopen(pipeline.router.shut())
        await events.publish()
        await changes.publish()
        await asyncio.sleep(SWEEP_S)


async def _speak(hall: Audience, kept: ReplayCache, now: Callable[[], float]) -> None:
    """Let nobody wait in silence, and forget old answers."""
    while True:
        await asyncio.sleep(TICK_S)
        await hall.tick(now())
        kept.sweep()


def _log_change(event: DeviceEvent) -> None:
    if event.notable:
        write = (
            log.info if event.change in {Change.JOINED, Change.RECOVERED, Change.LEFT, Change.RESTORED} else log.warning
        )
        write(f"device.{event.change}", device=event.device.name, state=str(event.device.beat.state))


async def _finish(pipeline: Pipeline, grace_s: float) -> None:
    """Let running jobs end; after the grace they are cancelled, each with its terminal frame."""
    try:
        async with asyncio.timeout(grace_s):
            await pipeline.idle()
    except TimeoutError:
        log.warning("dispatcher.cut", running=pipeline.stop_all())
        await _last_words(pipeline)


async def _go(bus: Bus, others: Peers) -> None:
    """Say goodbye, and have the server know all that was said."""
    await others.leave()
    try:
        await bus.flush(timeout_s=2.0)
    except BusError as error:
        log.warning("dispatcher.unflushed", error=error.code)


async def _last_words(pipeline: Pipeline) -> None:
    try:
        async with asyncio.timeout(LAST_WORDS_S):
            await pipeline.idle()
    except TimeoutError:
        log.warning("dispatcher.unfinished", running=pipeline.running)


def _info(name: str) -> ServiceInfo:
    return ServiceInfo(
        name="llm-dispatcher",
        id=name,
        version=_version(),
        description="Drover dispatcher: picks a device for every chat job",
        metadata={"dispatcher": name},
    )


@cache
def _version() -> str:
    """The installed version; to look it up takes milliseconds."""
    return version("drover")


def _stats(pipeline: Pipeline) -> list[EndpointStats]:
    tally = pipeline.tally
    devices = pipeline.roster.fleet.devices.values()
    return [
        EndpointStats(
            name="chat",
            subject=pipeline.subjects.work("chat", "*"),
            queue_group=QUEUE_DISPATCH,
            requests=tally.jobs,
            errors=tally.errors,
            last_error=tally.last_error,
            processing_ns=tally.busy_ns,
            data={
                "running": pipeline.running,
                "waiting": pipeline.courier.line.waiting,
                "queue_limit": pipeline.courier.line.rules.limit,
                "devices": {device.name: str(device.liveness) for device in devices},
                "slots": sum(device.beat.slots for device in devices if device.usable),
                "answers_kept": len(pipeline.sharing.kept),
                "cache": pipeline.cache.state(),
                "other_dispatchers": len(pipeline.sharing.peers.others),
                "free_slots": sum(device.free_slots for device in devices if device.usable),
            },
        )
    ]
