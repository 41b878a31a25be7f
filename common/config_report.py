"""What a process's settings are, and where each came from, as lines and as JSON; it knows no process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from common.origins import Source, Told

WIDEST = 60
"""Characters of a value on one line."""


def lines(process: str, knobs: Sequence[Told], *, everything: bool) -> Iterator[str]:
    """Say how each knob stands: all of them, or those that somebody has set. `*` marks what differs from the default."""
    shown = [one for one in knobs if everything or one.origin.source is not Source.DEFAULT]
    yield process
    width = max((len(one.knob) for one in shown), default=0)
    values = max((len(_short(one.value)) for one in shown), default=0)
    for one in shown:
        default = f"  (default {_short(one.default) or 'not set'})" if one.changed else ""
        value = (_short(one.value) or "(not set)").ljust(values)
        yield f"  {'*' if one.changed else ' '} {one.knob:<{width}}  {value}  {one.origin}{default}".rstrip()
        if one.origin.passed_over is not None:
            yield f"    {'':<{width}}  .env line {one.origin.passed_over} is passed over: the environment wins"
    if len(shown) < len(knobs):
        yield f"  {len(knobs) - len(shown)} more have their defaults (--all)"


def wire(knobs: Sequence[Told]) -> list[dict[str, Any]]:
    """Give them as JSON has them."""
    return [
        {
            "page": one.page,
            "knob": one.knob,
            "value": one.value,
            "default": one.default,
            "changed": one.changed,
            "source": str(one.origin.source),
            "line": one.origin.line,
            "passed_over_line": one.origin.passed_over,
        }
        for one in knobs
    ]


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
