"""How an explained decision looks on a terminal: a bar for each option, those that are out, and what would change it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

BAR = 24
"""Characters of a score of 1."""

_COLOURS = ("cyan", "magenta", "green")
_SIGNS = ("█", "▓", "▒")
"""Parts differ in their sign too: not everybody sees colours, and not every terminal has them."""

MOST_ROWS = 20

Told = Mapping[str, Any]


def explained(told: Told) -> RenderableType:
    """Draw all of a decision as `routing.record` and `routing.explain` give it."""
    return Group(*_parts(told))


def _parts(told: Told) -> Iterator[RenderableType]:
    yield _head(told)
    options = told.get("options", [])
    if options:
        yield _options(told, options[:MOST_ROWS])
        if told.get("options_in_all", 0) > MOST_ROWS:
            yield Text(f"and {told['options_in_all'] - MOST_ROWS} more options", style="dim")
    if told.get("removed"):
        yield _removed(told["removed"][:MOST_ROWS])
    if told.get("error"):
        yield Text(f"nobody: {told['error']['message']}", style="red")
    if (feedback := told.get("feedback")) and feedback["learned"] != feedback["configured"]:
        yield Text(
            f"learned from {feedback['outcomes']} outcomes: weights {_weights(feedback['learned'])}, "
            f"configured {_weights(feedback['configured'])}"
        )
    for change in told.get("changes", []):
        yield Text(f"· {change}")
    if told.get("strategies"):
        yield Text(
            "by strategy: " + ", ".join(f"{name} {where}" for name, where in told["strategies"].items()), style="dim"
        )


def _weights(weights: Told) -> str:
    return ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())


def _head(told: Told) -> Text:
    weights = _weights(told["weights"])
    features = ", ".join(
        f"{name} {value:g}" for name, value in told["features"].items() if isinstance(value, int | float)
    )
    chosen = told.get("chosen")
    where = f"{chosen['device']} with {chosen['model']}" if chosen else "nobody"
    return Text(f"{told['strategy']}: {where}\n{features}" + (f"\nweights: {weights}" if weights else ""))


def _options(told: Told, options: Sequence[Told]) -> Table:
    table = Table(expand=False)
    for column in ("device", "model"):
        table.add_column(column, no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column(_legend(told), no_wrap=True, min_width=BAR)
    for column in ("wait", "load", "1st token", "total", "J"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in options:
        predicted = one["predicted"]
        table.add_row(
            one["device"],
            one["model"],
            f"{one['score']:.2f}",
            _bar(one),
            *(f"{predicted[name]:.1f}" for name in ("wait_s", "load_s", "first_token_s", "total_s", "energy_j")),
        )
    return table


def _legend(told: Told) -> Text:
    legend = Text()
    for name, sign, colour in zip(_PARTS, _SIGNS, _COLOURS, strict=True):
        if name in told["weights"]:
            legend.append(f"{sign} {_PARTS[name]} ", style=colour)
    return legend if legend else Text("score")


_PARTS = {"tokens": "fit", "topic": "topic", "health": "health"}


def _bar(one: Told) -> Text:
    """Draw the parts of the score one behind the other; a score without parts is one bar."""
    bar = Text()
    parts = one.get("parts") or {"tokens": one["score"]}
    for name, sign, colour in zip(_PARTS, _SIGNS, _COLOURS, strict=True):
        bar.append(sign * round(BAR * min(1.0, max(0.0, parts.get(name, 0.0)))), style=colour)
    return bar


def _removed(removed: Sequence[Told]) -> Table:
    table = Table(expand=False, title="out", title_justify="left")
    for column in ("device", "model", "filter", "reason"):
        table.add_column(column, no_wrap=column != "reason")
    for out in removed:
        table.add_row(out["device"], out.get("model", ""), out["filter"], out["reason"])
    return table
