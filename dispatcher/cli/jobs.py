"""`drover jobs`: the jobs that the ledger has, the last to end first, as a table or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from common import codec
from common.bus import Bus
from common.errors import GarbledReply
from common.ledger import MOST_ROWS, JobsQuery
from common.subjects import Subjects
from dispatcher.cli.batch_view import LOG_WIDTH
from dispatcher.cli.connect import open_bus, shell_settings
from dispatcher.cli.jobs_view import job_table
from dispatcher.cli.ledger_answers import job_rows
from dispatcher.cli.running import say
from dispatcher.cli.times import span

Told = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which jobs, as the options have it."""

    job: str | None = None
    tenant: str | None = None
    device: str | None = None
    model: str | None = None
    state: str | None = None
    since: str | None = None
    until: str | None = None
    limit: int = 20

    def query(self, now: datetime) -> JobsQuery:
        """Give the first question to the ledger. Raises `BadRequest`."""
        since, until = span(self.since, self.until, now=now)
        fields = {
            "job": self.job,
            "tenant": self.tenant,
            "device": self.device,
            "model": self.model,
            "state": self.state,
            "since_unix_s": since,
            "until_unix_s": until,
            "limit": min(self.limit, MOST_ROWS),
        }
        return codec.build(JobsQuery, {name: value for name, value in fields.items() if value is not None})


async def jobs(wanted: Wanted, *, as_json: bool) -> int:
    """Print the jobs. Raises `NoResponders` when no ledger runs, `BadRequest` for a time that is none."""
    query = wanted.query(datetime.now(UTC))
    settings = shell_settings()
    async with open_bus(settings) as bus:
        found, more = await _pages(bus, Subjects(settings.bus.prefix), query, wanted.limit)
    if as_json:
        sys.stdout.write(f"{codec.encode_pretty(found)}\n")
        return 0
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
    console.print(job_table(found, console.width) if found else "no jobs")
    if more:
        say(f"these are the {len(found)} that ended last: --limit and --since show others")
    return 0


async def _pages(bus: Bus, subjects: Subjects, query: JobsQuery, limit: int) -> tuple[list[Told], bool]:
    """Ask page after page until there are enough; tell whether there are more."""
    found: list[Told] = []
    while True:
        rows, before = await job_rows(bus, subjects, query)
        found += rows
        if before is None or not rows or len(found) >= limit:
            return found[:limit], before is not None or len(found) > limit
        if before == query.before:
            raise GarbledReply("the ledger gives the same page again and again: it may be of another version")
        query = replace(query, before=before, limit=min(MOST_ROWS, limit - len(found)))
