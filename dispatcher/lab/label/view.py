"""What a person sees of a labelling: how far it is and what it has cost, on standard error; it asks nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dispatcher.cli.running import say
from dispatcher.lab.label.judge import Standing
from dispatcher.lab.label.money import Purse
from dispatcher.lab.label.run import Tally

_SHOWN = 10

_MEANS = {
    Standing.AGREED: "both orders agree",
    Standing.TIE: "a tie",
    Standing.ORDER: "the judge's lead changed with the places, taken as a tie",
    Standing.ONCE: "judged once",
    Standing.GOLD: "by the right answer",
}


def progress(total: int, purse: Purse) -> AbstractContextManager[Callable[[Tally], None]]:
    """Show how far the work is: a bar on a terminal, a line for each tenth elsewhere."""
    return _bar(total, purse) if sys.stderr.isatty() else _lines(total, purse)


@contextmanager
def _bar(total: int, purse: Purse) -> Iterator[Callable[[Tally], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("labelling", total=total)

        def tell(tally: Tally) -> None:
            bar.update(task, completed=_gone_through(tally), description=f"labelling, ${purse.spent_usd:.4f}")

        yield tell


@contextmanager
def _lines(total: int, purse: Purse) -> Iterator[Callable[[Tally], None]]:
    told = 0

    def tell(tally: Tally) -> None:
        nonlocal told
        count = _gone_through(tally)
        if count == total or count * 10 // total > told * 10 // total:
            say(
                f"{count} of {total} rows, {len(tally.failed) + len(tally.unparsable)} without a label, ${purse.spent_usd:.4f}"
            )
        told = count

    yield tell


def _gone_through(tally: Tally) -> int:
    return tally.done + len(tally.failed) + len(tally.unparsable)


def summary(tally: Tally, purse: Purse, *, known: int, left: int) -> str:
    """Tell what came of it, and name each row without a label."""
    kinds = ", ".join(f"{count} {_MEANS[Standing(kind)]}" for kind, count in sorted(tally.standings.items()))
    head = f"{tally.done} of {left} rows labelled{f' ({kinds})' if kinds else ''}, {known + tally.done} in the file; "
    lines = [f"{head}spent ${purse.spent_usd:.4f} in all"]
    if tally.unparsable:
        at = ", ".join(map(str, sorted(tally.unparsable)[:_SHOWN]))
        lines.append(
            f"{len(tally.unparsable)} without a label, since the judge's verdict could not be read, even asked again: "
            f"lines {at}{_more(len(tally.unparsable))}; the same command asks them anew"
        )
    for line, why in sorted(tally.failed.items())[:_SHOWN]:
        lines.append(f"line {line} failed: {why}")
    if len(tally.failed) > _SHOWN:
        lines.append(f"… {len(tally.failed)} lines failed in all")
    lines += [
        f"{count} answers of the {name} model were cut: raise --max-tokens"
        for name, count in tally.cut.items()
        if count
    ]
    if tally.stopped:
        lines.append(f"stopped: {tally.stopped}")
    return "\n".join(lines)


def _more(count: int) -> str:
    return f" and {count - _SHOWN} more" if count > _SHOWN else ""
