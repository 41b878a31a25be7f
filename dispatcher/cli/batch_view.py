"""How `drover ask --file` looks: the progress of the questions and the table at the end, on standard error; it asks nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dispatcher.cli.cache_words import plain
from dispatcher.cli.results import Group, Row, Summary
from dispatcher.cli.running import say

LOG_WIDTH = 140
"""Columns of the table where there is no terminal to ask for its width."""

Report = Callable[[Row], None]
"""Called once for each question that is done with."""


def progress(total: int) -> AbstractContextManager[Report]:
    """Show how far the work is: a bar on a terminal, lines elsewhere."""
    return _bar(total) if sys.stderr.isatty() else _lines(total)


@contextmanager
def _bar(total: int) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("asking", total=total)
        failures = 0

        def report(row: Row) -> None:
            nonlocal failures
            failures += bool(row.error)
            if row.error:
                progress.console.print(plain(f"{row.id} turn {row.turn}: {row.error}"), markup=False, highlight=False)
            progress.update(task, advance=1, description=f"asking ({failures} failed)" if failures else "asking")

        yield report


@contextmanager
def _lines(total: int) -> Iterator[Report]:
    """One line per tenth of the work, and one per failure: for logs."""
    done = failures = 0

    def report(row: Row) -> None:
        nonlocal done, failures
        done += 1
        failures += bool(row.error)
        if row.error:
            say(f"{row.id} turn {row.turn}: {row.error}")
        if done == total or done * 10 // total > (done - 1) * 10 // total:
            say(f"{done} of {total} done, {failures} failed")

    yield report


def print_summary(summary: Summary, *, total: int, took_s: float) -> None:
    """Print the table of devices and models, how often each reason was given, and how many questions were answered."""
    table = Table()
    for column in ("device", "model"):
        table.add_column(column)
    for column in ("answers", "errors", "first token p50", "p95", "total p50", "p95", "tokens/s", "J/token"):
        table.add_column(column, justify="right")
    for group in summary.groups:
        table.add_row(
            Text(plain(group.device) or "(none)"),
            Text(plain(group.model) or "(none)"),
            str(group.answers),
            str(group.errors),
            _seconds(group.first_token_p50_s),
            _seconds(group.first_token_p95_s),
            _seconds(group.total_p50_s),
            _seconds(group.total_p95_s),
            "" if group.tokens_per_s is None else f"{group.tokens_per_s:.1f}",
            _joules(group),
        )
    console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else LOG_WIDTH)
    console.print(table)
    for reason, count in summary.reasons:
        console.print(f"{count:6d}  {plain(reason)}", markup=False)
    console.print(f"{summary.answered} of {total} answered in {took_s:.1f} s", markup=False)


def _joules(group: Group) -> str:
    """Put `~` before what not only sensors saw."""
    if group.joules_per_token is None:
        return ""
    return f"{'' if group.measured else '~'}{group.joules_per_token:.2g}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"
