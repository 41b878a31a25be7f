"""The ledger as a process: what is built, in which order it starts, and how it stops."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from common import codec
from common.bus import Bus
from common.bus.jetstream import JetStream
from common.bus.nats import connect_nats
from common.bus.options import options_from
from common.clock import LoopClock
from common.discovery import EndpointStats, ServiceInfo, discoverable
from common.errors import ConfigError, LedgerUnavailable
from common.lifecycle import Stop, run
from common.logs import configure, get_logger
from common.reloading import Member, Reloader, reloadable
from common.settings import load
from common.subjects import Subjects, own_inbox
from dispatcher.ledger import schema
from dispatcher.ledger.answering import QUEUE, Answering
from dispatcher.ledger.arrivals import Arrivals
from dispatcher.ledger.database import Database, opened, place_of
from dispatcher.ledger.desk import Desk
from dispatcher.ledger.drain import FIRST_WAIT_S, LONGEST_WAIT_S, Drain
from dispatcher.ledger.key_desk import KeyDesk
from dispatcher.ledger.knobs import KNOBS, prepare
from dispatcher.ledger.reserving import Reserving
from dispatcher.ledger.retention import prune
from dispatcher.ledger.sqlite_file import sole_writer
from dispatcher.ledger.store import Store
from dispatcher.ledger.talk.desk import TalkDesk
from dispatcher.settings import LedgerSettings

log = get_logger("ledger")

FIRST_PRUNE_S = 60.0
PRUNE_S = 6 * 3600.0
LAPSE_S = 60.0

LAST_S = 8.0
"""What the last records get to be written; what is not stays in the stream until the next start."""


def main() -> int:
    """Run one ledger until a signal; gives the exit status."""
    try:
        settings = load(LedgerSettings)
    except ConfigError as error:
        raise SystemExit(f"drover: {error.message}") from error
    configure("ledger", level=settings.log.level, fmt=settings.log.format)
    return run(lambda stop: serve(settings, stop), reloads=True)


async def serve(settings: LedgerSettings, stop: Stop) -> None:
    """Run until `stop`, then write what lies in the stream. Raises `ConfigError` where the database can't be this one's, and
    `LedgerUnavailable` where there is no room for its file."""
    place = place_of(settings.ledger.database_url.get_secret_value(), settings.ledger.state_dir)
    options = options_from(settings.bus, name="drover-ledger", inbox_prefix=own_inbox("ledger"))
    with sole_writer(place.file):
        async with opened(place) as database, connect_nats(options) as bus, asyncio.TaskGroup() as tasks:
            preparing = tasks.create_task(_prepared(database))
            ending = tasks.create_task(stop.wait())
            await asyncio.wait((preparing, ending), return_when=asyncio.FIRST_COMPLETED)
            preparing.cancel()
            if not stop.requested:
                await _run(settings, database, bus, stop)
            ending.cancel()
    log.info("ledger.stopped")


async def _run(settings: LedgerSettings, database: Database, bus: Bus, stop: Stop) -> None:
    async with ledger(settings, database, bus, stop) as at, asyncio.TaskGroup() as tasks:
        log.info("ledger.open", database=database.place.shown, nats=bus.connected)
        work = tasks.create_task(at.drain.run())
        beside = [tasks.create_task(_prune(at.reloader, database)), tasks.create_task(_lapse(at.keys.reserving))]
        await stop.wait()
        for task in beside:
            task.cancel()
        at.drain.stop()
        await asyncio.wait((work,), timeout=LAST_S)
        work.cancel()


async def _prune(reloader: Reloader[LedgerSettings], database: Database) -> None:
    """Forget what is too old, a little after the start and then at intervals."""
    wait_s = FIRST_PRUNE_S
    while True:
        await asyncio.sleep(wait_s)
        wait_s, section = PRUNE_S, reloader.tree.ledger
        try:
            gone = await prune(
                database,
                now_unix_s=LoopClock().unix_s(),
                days=section.days,
                power_days=section.power_days,
                conversation_days=section.conversation_days,
            )
        except (LedgerUnavailable, ConfigError) as error:
            log.warning("ledger.unpruned", error=error.code, message=error.message)
        else:
            log.info("ledger.pruned", **codec.plain(gone))


async def _lapse(reserving: Reserving) -> None:
    """Count as spent what was set aside for jobs whose record does not come; not before those that wait have been read."""
    while True:
        await asyncio.sleep(LAPSE_S)
        try:
            number = await reserving.lapse()
        except LedgerUnavailable as error:
            log.warning("ledger.unlapsed", error=error.code, message=error.message)
        else:
            if number:
                log.warning("ledger.lapsed", reservations=number)


@dataclass(frozen=True, slots=True)
class Open:
    """A ledger that answers; its drain has to be run."""

    drain: Drain
    desk: Desk
    keys: KeyDesk
    talk: TalkDesk
    reloader: Reloader[LedgerSettings]


@asynccontextmanager
async def ledger(
    settings: LedgerSettings, database: Database, bus: Bus, stop: Stop | None = None
) -> AsyncIterator[Open]:
    """Answer questions. `stop` passes on the wish to read the settings again."""
    subjects = Subjects(settings.bus.prefix)
    arrivals = Arrivals()
    store = Store(database, written=arrivals.tell)
    drain = Drain(bus, JetStream(bus), subjects, store, ack_wait_s=settings.ledger.ack_wait_s)
    talk = TalkDesk(
        bus,
        subjects,
        database,
        clock=LoopClock(),
        most=settings.ledger.conversations,
        most_bytes=settings.ledger.conversation_bytes,
        kept_days=settings.ledger.conversation_days,
    )
    at = Open(
        drain,
        Desk(bus, subjects, database, arrivals=arrivals),
        KeyDesk(bus, subjects, database),
        talk,
        Reloader(settings, KNOBS, prepare(talk), process="ledger"),
    )
    name = f"ledger-{secrets.token_hex(4)}"
    info = _info(name, database)
    async with (
        at.desk.open(),
        at.keys.open(),
        at.talk.open(),
        discoverable(bus, info, lambda: _stats(subjects, at)),
        reloadable(bus, subjects, at.reloader, Member(name, "ledger", "ledger"), stop),
    ):
        yield at


async def _prepared(database: Database) -> None:
    """Return when the tables are there; a database that is away is waited for."""
    wait_s, told = FIRST_WAIT_S, False
    while True:
        try:
            await schema.upgrade(database)
        except LedgerUnavailable as error:
            if not told:
                log.warning("ledger.no_database", error=error.code, message=error.message)
                told = True
            await asyncio.sleep(wait_s)
            wait_s = min(LONGEST_WAIT_S, wait_s * 2)
        else:
            return


def _info(name: str, database: Database) -> ServiceInfo:
    return ServiceInfo(
        name="llm-ledger",
        id=name,
        version=_version(),
        description="Drover ledger: keeps what happened",
        metadata={"database": database.place.shown},
    )


@cache
def _version() -> str:
    return version("drover")


def _stats(subjects: Subjects, at: Open) -> list[EndpointStats]:
    tally = at.drain.tally
    data = {
        "state": str(tally.state),
        "trouble": tally.trouble,
        "written": tally.written,
        "rejected": tally.rejected,
        "batches": tally.batches,
    }
    asked: tuple[tuple[str, str, Answering, dict[str, Any]], ...] = (
        ("ledger", subjects.ledger("*"), at.desk.tally, data),
        ("keys", subjects.keys("*"), at.keys.tally, {}),
        ("conversations", subjects.conversations("*"), at.talk.tally, {}),
    )
    return [
        EndpointStats(
            name=name,
            subject=subject,
            queue_group=QUEUE,
            requests=told.asked,
            errors=told.failed,
            last_error=told.last_error,
            data=more,
        )
        for name, subject, told, more in asked
    ]
