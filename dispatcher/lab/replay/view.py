"""How a replay looks: the table beside what happened, and the differences in words; it measures nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from dispatcher.cli.cache_words import plain
from dispatcher.cli.columns import Column, fitted
from dispatcher.cli.figures import joules, money, three
from dispatcher.lab.replay.outcome import HAPPENED, Outcome, Spread

FLEETS_OWN = "(its own)"


def table(outcomes: Sequence[Outcome], notes: Sequence[str], width: int) -> RenderableType:
    """Draw what happened and each run, the differences, and what a reader must know."""
    columns = [one for one in _COLUMNS if not one.rank or any(one.cell(row) for row in outcomes)]
    return Group(
        fitted(columns, outcomes, width),
        Text("seconds are p50 / p95; ~ estimated, not measured", style="dim"),
        *(Text(line) for line in differences(outcomes)),
        Text(),
        *(Text(f"- {note}", style="dim") for note in notes),
    )


def _strategy(row: Outcome) -> str:
    return "" if row.name == HAPPENED else plain(row.strategy) or FLEETS_OWN


def _spread(spread: Spread) -> str:
    return " / ".join(three(value) for value in (spread.p50_s, spread.p95_s) if value is not None)


def _number(value: float | None) -> str:
    return "" if value is None else three(value)


_COLUMNS: tuple[Column[Outcome], ...] = (
    Column("fleet", 0, lambda row: plain(row.name), right=False, names=True),
    Column("strategy", 1, _strategy, right=False),
    Column("answered", 0, lambda row: f"{row.answered}/{row.jobs}"),
    Column("queue s", 7, lambda row: _spread(row.queue)),
    Column("first token s", 8, lambda row: _spread(row.first)),
    Column("total s", 0, lambda row: _spread(row.total)),
    Column("energy", 2, lambda row: joules(row.taken.joules, measured=row.measured)),
    Column("J/token", 3, lambda row: _number(row.taken.per_token)),
    Column("cost", 5, lambda row: money(row.cost, plain(row.currency))),
    Column("idle W", 4, lambda row: _number(row.idle_w)),
)


def differences(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Say of each run what it is less what happened."""
    before = outcomes[0]
    for one in outcomes[1:]:
        told = [
            f"{name} {_change(now, then)}"
            for name, now, then in (
                ("median total", one.total.p50_s, before.total.p50_s),
                ("p95", one.total.p95_s, before.total.p95_s),
                ("energy per token", one.taken.per_token, before.taken.per_token),
            )
            if now is not None and then
        ]
        where = ", ".join(f"{device} {count}" for device, count in one.devices)
        yield f"{plain(one.label)}: {'; '.join(told) or 'nothing to compare with'}. Answered by {plain(where) or 'nobody'}."


def _change(now: float, then: float) -> str:
    share = 100 * (now / then - 1)
    return "as it was" if abs(share) < 0.5 else f"{share:+.0f} %".replace("-", "\N{MINUS SIGN}")
