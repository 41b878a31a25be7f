"""A ledger as a process of its own, that a test may kill at any moment."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import select

from common.bus import Bus
from common.errors import LedgerUnavailable, NoResponders
from common.records import Entry
from dispatcher.ledger.database import Place, opened
from dispatcher.ledger.tables import jobs
from tests.commands import clean_environment, end
from tests.integration.ledger.builders import payload, subject_of

GUARD_S = 90.0
POLL_S = 0.02
LOOK_S = 0.2
"""Between looks into a database: each opens it, which takes from the ledger that is waited for."""


class LedgerProcess:
    """One running ledger."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def kill(self) -> None:
        """End it at once."""
        os.kill(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """Ask it to end, and give the status."""
        os.kill(self.process.pid, signal.SIGTERM)
        async with asyncio.timeout(GUARD_S):
            return await self.process.wait()


@asynccontextmanager
async def ledger_process(nats_url: str, database_url: str, cwd: Path, **more: str) -> AsyncIterator[LedgerProcess]:
    """Run one; what is left of it at the end is stopped."""
    knobs = {"NATS_URL": nats_url, "DATABASE_URL": database_url, "DROVER_LEDGER_ACK_WAIT_S": "0.5"} | more
    command = (sys.executable, "-P", "-m", "dispatcher", "ledger", "serve")
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=clean_environment(**knobs), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        yield LedgerProcess(process)
    finally:
        await end(process)


async def records_in(place: Place) -> list[str]:
    """The records that are written, each as often as it stands there; none where no ledger has made the tables yet."""
    try:
        async with opened(place) as database, database.reading() as connection:
            return list((await connection.execute(select(jobs.c.record).order_by(jobs.c.record))).scalars())
    except LedgerUnavailable:
        return []


async def until(holds: Callable[[], Awaitable[bool]], *, every_s: float = POLL_S) -> None:
    """Look again and again, until it holds."""
    async with asyncio.timeout(GUARD_S):
        while not await holds():  # noqa: ASYNC110  # another process's doings raise no event
            await asyncio.sleep(every_s)


async def tell(bus: Bus, entry: Entry) -> None:
    """Tell of something when there is a stream that takes it: a ledger answers questions before it has made that."""
    async with asyncio.timeout(GUARD_S):
        while True:
            try:
                await bus.request(subject_of(entry), payload(entry), timeout_s=GUARD_S)
            except NoResponders:
                await asyncio.sleep(POLL_S)
            else:
                return
