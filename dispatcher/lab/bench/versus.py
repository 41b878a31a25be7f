"""Each arm less the first, as a table of the page; what is paired with what, the summary knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from dispatcher.lab.bench.summary import Summary

FEW = 6
"""With fewer conversations all of them may lean to one side by chance: 5 do in 1 of 16 cases, 6 in 1 of 32."""

MINUS = "\N{MINUS SIGN}"
_ABOUT = (
    "The same questions under both, so this says more than whether two intervals above overlap. "
    "One interval in twenty misses by chance, and many are shown."
)
_HEADS = (
    '<th>strategy</th><th>both answered</th><th>mean latency, s</th><th>J an answer</th><th class="text">so it is</th>'
)


def versus(summaries: Sequence[Summary]) -> Iterator[str]:
    """Give the table of differences to the first arm, if there is another."""
    others = [one for one in summaries if one.versus]
    if not others:
        return
    body = "".join(f"<tr>{''.join(_differences(one))}</tr>" for one in others)
    yield f"<h2>Less {escape(others[0].versus)}</h2>"
    yield f'<p class="pale">{_ABOUT}</p>'
    yield f'<div class="wide"><table class="narrow"><thead><tr>{_HEADS}</tr></thead><tbody>{body}</tbody></table></div>'


def _differences(one: Summary) -> Iterator[str]:
    yield f"<td>{escape(one.name)}</td><td>{one.pairs}</td>"
    for value, low, high in (
        (one.latency_diff_s, one.latency_diff_low_s, one.latency_diff_high_s),
        (one.energy_diff_j, one.energy_diff_low_j, one.energy_diff_high_j),
    ):
        yield f"<td>{signed(value)}<small>{spread(low, high)}</small></td>"
    yield f'<td class="text">{verdict(one)}</td>'


def verdict(one: Summary) -> str:
    """Say what the paired differences show: nothing where zero is within the interval, or where it rests on a few conversations."""
    if one.conversations < FEW:
        return "too few conversations to tell"
    words = [
        word
        for low, high, less, more in (
            (one.latency_diff_low_s, one.latency_diff_high_s, "quicker", "slower"),
            (one.energy_diff_low_j, one.energy_diff_high_j, "more frugal", "thirstier"),
        )
        if low is not None and high is not None
        for word in ([less] if high < 0 else [more] if low > 0 else [])
    ]
    return " and ".join(words) or "not told apart"


def spread(low: float | None, high: float | None) -> str:
    """Write an interval of differences."""
    return "" if low is None or high is None else f"{signed(low)} to {signed(high)}"


def signed(value: float | None) -> str:
    """Write a difference with its sign; what is below a thousandth is nothing."""
    if value is None or abs(value) < 0.0005:
        return "" if value is None else "0"
    return ("+" if value > 0 else MINUS) + number(abs(value))


def number(value: float | None) -> str:
    """Write a figure with three digits."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def share(value: float) -> str:
    """Write a share; 99.6 % is not all."""
    return f"{100 * value:.0f} %" if value in {0.0, 1.0} else f"{min(99.9, max(0.1, 100 * value)):.3g} %"
