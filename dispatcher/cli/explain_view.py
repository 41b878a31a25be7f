"""How an explained decision looks on a terminal: a bar for each option, those that are out, and what would change it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from dispatcher.cli.cache_words import cache_line, plainly
from dispatcher.cli.power_view import power

WIDE = 100
BAR, NARROW_BAR = 24, 16
"""Characters of a score of 1, from `WIDE` columns on and below."""

_COLOURS = ("cyan", "magenta", "green")
_SIGNS = ("█", "▓", "▒")
"""Parts differ in their sign too: not everybody sees colours, and not every terminal has them."""

_FIGURES = {"wait": "wait_s", "load": "load_s", "1st token": "first_token_s", "total": "total_s", "J": "energy_j"}

MOST_ROWS = 20

Told = Mapping[str, Any]


def explained(told: Told, width: int = WIDE) -> RenderableType:
    """Draw all of a decision as `routing.record` and `routing.explain` give it, for a terminal of so many columns. Its
    texts are of devices, files and prompts, and are written out plainly."""
    return Group(*_parts(plainly(told), width))


def _parts(told: Told, width: int) -> Iterator[RenderableType]:
    bar = BAR if width >= WIDE else NARROW_BAR
    yield from _opening(told)
    options = told.get("options", [])
    if options:
        yield _options(told, options[:MOST_ROWS], bar, width)
        if told.get("options_in_all", 0) > MOST_ROWS:
            yield Text(f"and {told['options_in_all'] - MOST_ROWS} more options", style="dim")
        yield from _strained(options[:MOST_ROWS])
    if told.get("removed"):
        yield Text(f"\nout: {told.get('removed_in_all', len(told['removed']))}")
        yield _removed(told["removed"][:MOST_ROWS])
    if told.get("devices_out"):
        yield Text("\ndevices out: " + ", ".join(f"{name} {count}" for name, count in told["devices_out"].items()))
    if told.get("error"):
        yield Text(f"nobody: {told['error']['message']}", style="red")
    if told.get("cascade"):
        yield _checked(told["cascade"])
    if told.get("power"):
        yield power(told["power"])
    yield from _beyond(told)


def _strained(options: Sequence[Told]) -> Iterator[Text]:
    """Say which devices lose health for heat or for want of power, and why."""
    strained = {one["device"]: one["strain"] for one in options if one.get("strain")}
    for device, why in strained.items():
        yield Text(f"under strain: {device}: {', '.join(why)}", style="yellow")


def _opening(told: Told) -> Iterator[Text]:
    """Tell who was chosen; an answer from the cache needed no choice."""
    if "strategy" in told:
        yield _head(told)
    if told.get("cache"):
        yield Text(f"cache: {cache_line(told['cache'])}")


def _checked(check: Told) -> Text:
    """Tell how a weak answer was judged before anybody saw it, and whose answer was given."""
    weak, given = check["weak"], check.get(check["given"]) or check["weak"]
    held = "it did not hold" if check["escalated"] else "it held"
    lines = [f"\nweak answer: {weak['device']} with {weak['model']}, {weak['s']:.1f} s: {held} ({check['why']})"]
    if check.get("faults"):
        lines.append("doubts: " + ", ".join(f"{name} {doubt:.2f}" for name, doubt in check["faults"].items()))
    why = f", since the strong one was not to be had ({check['instead']})" if check.get("instead") else ""
    lines.append(f"given: the {check['given']} answer, of {given['device']} with {given['model']}{why}")
    return Text("\n".join(lines))


def _beyond(told: Told) -> Iterator[RenderableType]:
    """Tell what was learned, what would change the outcome, and what other strategies would do."""
    if (feedback := told.get("feedback")) and feedback["learned"] != feedback["configured"]:
        yield Text(
            f"\nlearned from {feedback['outcomes']} outcomes: weights {_weights(feedback['learned'])}, "
            f"configured {_weights(feedback['configured'])}"
        )
    if told.get("changes"):
        yield Text("\n" + "\n".join(f"· {change}" for change in told["changes"]))
    if told.get("strategies"):
        yield _by_strategy(told["strategies"])


def _weights(weights: Told) -> str:
    return ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())


def _head(told: Told) -> Text:
    weights = _weights(told["weights"])
    features = ", ".join(
        f"{name} {value:g}" for name, value in told["features"].items() if isinstance(value, int | float)
    )
    chosen = told.get("chosen")
    where = f"{chosen['device']} with {chosen['model']}" if chosen else "nobody"
    lines = [f"{told['strategy']}: {where}", features, f"weights: {weights}" if weights else "", *_judged(told)]
    return Text("\n".join(line for line in lines if line))


def _judged(told: Told) -> Iterator[str]:
    """Tell what the trained router said, which labelled prompts it looked at, and what the strategy had to do without."""
    features = told["features"]
    verdict = features.get("verdict")
    if verdict:
        yield f"trained router: {'strong' if verdict['strong'] else 'weak'}, {verdict['reason']}"
        yield from _neighbours(verdict)
    if choice := features.get("choice"):
        yield from _choice(choice)
    if features.get("lacks"):
        yield f"without {features['lacks']}"


def _choice(choice: Told) -> Iterator[str]:
    """Tell what a trained router of several models said: the path through its hierarchy, and each model's probability."""
    path = f"{choice['domain'] or 'no known domain'} ({choice['similarity']:.2f}) > {choice['level']} ({choice['complexity']:.2f})"
    yield f"trained router: {path} > {choice['model'] or 'none of the models at hand'}, confidence {choice['confidence']:.2f}"
    for model, probability in choice["probabilities"].items():
        yield f"  {model}: probability {probability:.2f}, gain {choice['gains'][model]:+.2f} over {choice['base']}"
    yield f"  {choice['by']}: {choice['reason']}"
    for words, key in (("not at hand", "not_at_hand"), ("not known to it", "not_known")):
        if choice[key]:
            yield f"  {words}: {', '.join(choice[key])}"
    yield from _neighbours(choice)


def _neighbours(told: Told) -> Iterator[str]:
    """Tell the labelled prompts that were looked at; how they begin only where the owner lets it."""
    for one in told.get("neighbours", ()):
        head = one.get("prompt")
        yield f"  like ({one['similarity']:.2f}, gain {one['gain']:+.2f})" + (f": {head}" if head else "")


def _options(told: Told, options: Sequence[Told], bar: int, width: int) -> Table:
    """Draw an option in one line where the terminal has room for all of them, else its model below its device."""
    flat = _options_table(told, options, bar, between="  ")
    return flat if _UNBOUNDED.measure(flat).maximum <= width else _options_table(told, options, bar, between="\n  ")


_UNBOUNDED = Console(width=10_000, file=io.StringIO())


def _options_table(told: Told, options: Sequence[Told], bar: int, *, between: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("device, model", overflow="fold")  # the one that gives way: no figure is cut
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column(_legend(told), no_wrap=True, min_width=bar)
    costs = any(one["predicted"].get("cost_usd") for one in options)
    for title in _FIGURES:
        table.add_column("\n".join(title.split()), justify="right", no_wrap=True)
    if costs:
        table.add_column("$", justify="right", no_wrap=True)
    for one in options:
        figures = [_short(one["predicted"][name]) for name in _FIGURES.values()]
        if costs:
            figures.append(f"{one['predicted'].get('cost_usd') or 0:.4f}")
        where = Text(one["device"]).append(f"{between}{one['model']}", style="dim")
        table.add_row(where, f"{one['score']:.2f}", _bar(one, bar), *figures)
    return table


def _short(figure: float | None) -> str:
    """Write seconds or joules in five characters at most; a question mark where nobody knows."""
    if figure is None:
        return "?"
    return f"{figure:.1f}" if figure < 1000 else f"{min(figure, 99_999):.0f}"


def _by_strategy(chosen: Mapping[str, str]) -> Text:
    """Say whom the strategies would choose, one line for each answer."""
    groups: dict[str, list[str]] = {}
    for name, where in chosen.items():
        groups.setdefault(where, []).append(name)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return Text(
        "\nby strategy:\n" + "\n".join(f"  {where}: {', '.join(names)}" for where, names in ordered), style="dim"
    )


def _legend(told: Told) -> Text:
    legend = Text()
    for name, sign, colour in zip(_PARTS, _SIGNS, _COLOURS, strict=True):
        if name in told["weights"]:
            legend.append(f"{sign} {_PARTS[name]}\n", style=colour)
    legend.rstrip()
    return legend if legend else Text("score")


_PARTS = {"tokens": "fit", "topic": "topic", "health": "health"}


def _bar(one: Told, width: int) -> Text:
    """Draw the parts of the score one behind the other; a score without parts is one bar."""
    bar = Text()
    parts = one.get("parts") or {"tokens": one["score"]}
    for name, sign, colour in zip(_PARTS, _SIGNS, _COLOURS, strict=True):
        bar.append(sign * round(width * min(1.0, max(0.0, parts.get(name, 0.0)))), style=colour)
    return bar


def _removed(removed: Sequence[Told]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    table.add_column("device", overflow="fold")
    table.add_column("filter", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for out in removed:
        where = f"{out['device']} ({out['model']})" if out.get("model") else out["device"]
        table.add_row(
            Text(where), Text(out["filter"]), Text(out["reason"])
        )  # never as markup: a name may hold brackets
    return table
