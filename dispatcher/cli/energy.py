"""`drover energy`: what jobs took, summed by device, model, tenant, day or site: a table, JSON, and a plot."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from common import codec
from common.errors import BadRequest, ConfigError
from common.ledger import By, EnergyQuery, EnergyRow
from common.subjects import Subjects
from dispatcher.cli.batch_view import LOG_WIDTH
from dispatcher.cli.connect import open_bus, shell_settings
from dispatcher.cli.energy_view import energy_table
from dispatcher.cli.ledger_answers import energy_rows
from dispatcher.cli.running import say
from dispatcher.cli.times import span

Draw = Callable[[Sequence[EnergyRow], By, str, Path], None]
"""Draws the rows with a title to a PNG file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which sums, as the options have it."""

    by: By
    since: str | None = None
    until: str | None = None
    limit: int = 100
    plot: Path | None = None

    def query(self, now: datetime) -> EnergyQuery:
        """Give the question to the ledger. Raises `BadRequest`, also for a plot that would be no PNG, or has no folder to be in."""
        if self.plot is not None and self.plot.suffix.lower() != ".png":
            raise BadRequest(f"--plot {self.plot}: give the name of a .png file")
        if self.plot is not None and not self.plot.parent.is_dir():
            raise BadRequest(
                f"--plot {self.plot}: there is no folder {self.plot.parent}: make it first, or name another"
            )
        since, until = span(self.since, self.until, now=now)
        return EnergyQuery(by=self.by, since_unix_s=since, until_unix_s=until, limit=self.limit)

    @property
    def title(self) -> str:
        """Say of when it is."""
        since = f"since {self.since}" if self.since else "all that the ledger has"
        return f"{since} until {self.until}" if self.until else since


async def energy(wanted: Wanted, draw: Draw | None, *, as_json: bool) -> int:
    """Print the sums, and draw them to `wanted.plot`. Raises `NoResponders` when no ledger runs, `BadRequest`, and `ConfigError`
    where nothing can be drawn or written."""
    query = wanted.query(datetime.now(UTC))
    settings = shell_settings()
    async with open_bus(settings) as bus:
        rows, more = await energy_rows(bus, Subjects(settings.bus.prefix), query)
    if as_json:
        sys.stdout.write(f"{codec.encode_pretty([codec.plain(row) for row in rows])}\n")
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
        console.print(energy_table(rows, wanted.by, console.width) if rows else "no jobs")
    if more:
        say(f"these are {len(rows)} of more groups: --limit shows more, --since fewer")
    if wanted.plot is not None and draw is not None:
        _plotted(rows, wanted, wanted.plot, draw)
    return 0


def _plotted(rows: Sequence[EnergyRow], wanted: Wanted, plot: Path, draw: Draw) -> None:
    if not rows:
        say("there is nothing to draw")
        return
    try:
        draw(rows, wanted.by, wanted.title, plot)
    except OSError as error:
        raise ConfigError(f"--plot {plot} can't be written: {error.strerror or error}") from error
    say(f"drawn to {plot}")
