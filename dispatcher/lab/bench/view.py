"""How a bench looks on a terminal: what is done, how long it will take, and the table at the end; it measures nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from dispatcher.cli.batch_view import LOG_WIDTH
from dispatcher.cli.running import say
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.summary import Summary
from dispatcher.lab.bench.versus import number, share

Report = Callable[[Sequence[BenchRow]], None]


def progress(total: int, done: int) -> AbstractContextManager[Report]:
    """Show how far the work is, `done` of it before: a bar on a terminal, lines elsewhere."""
    return _bar(total, done) if sys.stderr.isatty() else _lines(total, done)


@contextmanager
def _bar(total: int, done: int) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task("measuring", total=total, completed=done)
        failures = 0

        def report(rows: Sequence[BenchRow]) -> None:
            nonlocal failures
            for row in rows:
                if row.error:
                    failures += 1
                    shown.console.print(_trouble(row), markup=False, highlight=False)
            now = rows[-1].arm.name
            words = f"{now} ({failures} failed)" if failures else now
            shown.update(task, advance=len(rows), description=words)

        yield report


@contextmanager
def _lines(total: int, done: int) -> Iterator[Report]:
    """One line per twentieth of the work, and one per failure: for logs."""
    failures = 0

    def report(rows: Sequence[BenchRow]) -> None:
        nonlocal done, failures
        before, done = done, done + len(rows)
        for row in rows:
            if row.error:
                failures += 1
                say(_trouble(row))
        if done == total or done * 20 // total > before * 20 // total:
            say(f"{done} of {total} done, {failures} failed, now {rows[-1].arm.name}")

    yield report


def _trouble(row: BenchRow) -> str:
    return f"{row.arm.name}, {row.query_set} {row.query_id} turn {row.turn}: {row.error}: {row.error_message}"


def print_table(summaries: Sequence[Summary]) -> None:
    """Print the summary on standard output."""
    table = Table(caption="seconds, tokens/s and joules in the fleet's own time")
    table.add_column("strategy")
    heads = ("n", "success", "p50 s", "p95 s", "mean s", "first token p50 s", "tokens/s", "J/answer", "J/token", "USD")
    cached = any(one.cache != "off" for one in summaries)
    for head in (*heads, *(["from cache"] if cached else [])):
        table.add_column(head, justify="right")
    table.add_column("devices")
    for one in summaries:
        table.add_row(
            one.name,
            str(one.n),
            share(one.success_rate),
            *(
                number(value)
                for value in (
                    one.latency_p50_s,
                    one.latency_p95_s,
                    one.latency_mean_s,
                    one.first_token_p50_s,
                    one.tokens_per_s,
                    one.energy_per_answer_j,
                    one.energy_per_token_j,
                )
            ),
            "" if one.cost_usd is None else f"{one.cost_usd:.5f}",
            *([] if not cached else ["" if one.cache_hit_rate is None else share(one.cache_hit_rate)]),
            one.devices,
        )
    Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH).print(table)
