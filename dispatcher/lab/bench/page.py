"""One self-contained HTML page of a bench: table, plots, how it was measured; no script, and nothing is fetched from anywhere."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from dispatcher.lab.bench.plan import Arm
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.summary import Summary
from dispatcher.lab.bench.versus import number, share, versus

_CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1240px; padding: 0 1.2rem;
       color: #1c2430; background: #fff; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
p { margin: .4rem 0; max-width: 75ch; } .pale { color: #5b6675; }
.note { background: #fff6df; border-left: 4px solid #e0a100; padding: .5rem .8rem; margin: .8rem 0; max-width: none; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 12.5px; width: 100%; }
th, td { padding: .25rem .45rem; text-align: right; border-bottom: 1px solid #e4e8ee; }
th { font-weight: 600; color: #5b6675; border-bottom: 2px solid #cdd4dd; vertical-align: bottom; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td { white-space: nowrap; }
td.best { background: #e5f5ea; font-weight: 600; }
table.narrow { width: auto; min-width: 50%; }
small { color: #7a8594; font-size: 11px; display: block; line-height: 1.1; }
svg { width: 100%; height: auto; } svg text { font-family: system-ui, sans-serif !important; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: 14px; }
dt { color: #5b6675; } dd { margin: 0; }
"""

_LEGEND = (
    "Percentiles are of all that was asked: a question without an answer counts as one that takes for ever. Means and joules are "
    "of answers. Small figures are 95 % bootstrap intervals over conversations: what other questions of these kinds might give, "
    "not what another day would. Green: the lowest of a column, among the strategies that answered the most."
)

ABSENT = "-"

Figures = Sequence[tuple[str, str, str]]
"""Title, a line about it, and the SVG."""


def page(
    title: str, summaries: Sequence[Summary], figures: Figures, facts: Mapping[str, str], notes: Sequence[str]
) -> str:
    """Write the page."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_CSS}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="note">{escape(note)}</p>' for note in notes),
        "<h2>Strategies</h2>",
        f'<p class="pale">{_LEGEND}</p>',
        f'<div class="wide">{_table(summaries)}</div>',
        *versus(summaries),
    ]
    for heading, about, svg in figures:
        parts += [f'<h2>{escape(heading)}</h2><p class="pale">{escape(about)}</p>', _apart(svg)]
    parts += ["<h2>How it was measured</h2><dl>"]
    parts += [f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items()]
    return "\n".join([*parts, "</dl></body></html>", ""])


def _apart(svg: str) -> str:
    """Keep the ids of one plot from those of the next: both stand in one document."""
    prefix = f"p{uuid.uuid5(uuid.NAMESPACE_OID, svg).hex[:8]}-"
    return (
        svg.replace('id="', f'id="{prefix}').replace("url(#", f"url(#{prefix}").replace('href="#', f'href="#{prefix}')
    )


_HEADS = (
    ("strategy", ""), ("answers", "of asked"), ("latency p50, s", ""), ("mean, s", ""), ("p95, s", ""), ("first token p50, s", ""),
    ("queue mean, s", ""), ("tokens out", "in"), ("tokens/s", ""), ("J an answer", ""), ("J a token", ""),
    ("cost, USD", ""), ("escalated", ""), ("predicted", "off by, median"),
)  # fmt: skip


_LOWEST = (
    "latency_p50_s", "latency_mean_s", "latency_p95_s", "first_token_p50_s", "energy_per_answer_j", "energy_per_token_j",
)  # fmt: skip


def best(summaries: Sequence[Summary]) -> dict[str, float]:
    """Give the lowest figure of each column among the arms that answered the most: few answers are easily quick and cheap."""
    most = max((one.success_rate for one in summaries), default=0.0)
    of_them = [one for one in summaries if one.success_rate == most > 0.0]
    found = {name: [value for one in of_them if (value := getattr(one, name)) is not None] for name in _LOWEST}
    return {name: min(values) for name, values in found.items() if values}


_CACHE_HEAD = ("from cache", "of answers")
"""Of a bench that asks a cache."""


def _table(summaries: Sequence[Summary]) -> str:
    cached = any(one.cache != "off" for one in summaries)
    most, lowest = max((one.success_rate for one in summaries), default=0.0), best(summaries)
    head = "".join(
        f"<th>{escape(name)}{f'<small>{escape(more)}</small>' if more else ''}</th>"
        for name, more in (*_HEADS, *([_CACHE_HEAD] if cached else []))
    )
    rows = ((*_cells(one, lowest if one.success_rate == most else {}), *_cached(one, cached)) for one in summaries)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(one: Summary, lowest: Mapping[str, float]) -> Iterator[str]:
    def figure(name: str, low: float | None = None, high: float | None = None) -> str:
        value = getattr(one, name)
        mark = ' class="best"' if value is not None and value == lowest.get(name) else ""
        spread = f"<small>{number(low)} to {number(high) or 'never'}</small>" if low is not None else ""
        return f"<td{mark}>{number(value) or ABSENT}{spread}</td>"

    cache = "" if one.cache == "off" else f"<small>cache {escape(one.cache)}</small>"
    yield f"<td>{escape(one.strategy)}{cache}</td>"
    yield f"<td>{share(one.success_rate)}<small>of {one.n}{_success_spread(one)}</small></td>"
    yield figure("latency_p50_s", one.latency_p50_low_s, one.latency_p50_high_s)
    yield figure("latency_mean_s", one.latency_mean_low_s, one.latency_mean_high_s)
    yield figure("latency_p95_s")
    yield figure("first_token_p50_s")
    yield figure("queue_mean_s")
    yield f"<td>{one.tokens_out:,}<small>{one.tokens_in:,}</small></td>"
    yield figure("tokens_per_s")
    yield figure("energy_per_answer_j", one.energy_per_answer_low_j, one.energy_per_answer_high_j)
    yield figure("energy_per_token_j")
    yield f"<td>{'' if one.cost_usd is None else f'{one.cost_usd:.5f}'}</td>"
    yield f"<td>{one.escalations}</td>"
    yield f"<td>{'' if one.prediction_error is None else f'{100 * one.prediction_error:.0f} %'}</td>"


def _cached(one: Summary, shown: bool) -> Iterator[str]:
    """Give the cell of the cache: the share of hits, and how many of them were by likeness, with what they saved."""
    if not shown:
        return
    if one.cache_hit_rate is None:
        yield f"<td>{ABSENT}</td>"
        return
    facts = [f"{share(one.cache_hit_rate_low or 0.0)} to {share(one.cache_hit_rate_high or 0.0)}"]
    facts.append(f"{one.cache_by_likeness} of {one.cache_hits} alike")
    if one.cache_saved_s is not None:
        joules = f", {number(one.cache_saved_j)} J" if one.cache_saved_j is not None else ""
        facts.append(f"saved {number(one.cache_saved_s)} s{joules}")
    yield f"<td>{share(one.cache_hit_rate)}{''.join(f'<small>{escape(fact)}</small>' for fact in facts)}</td>"


def _success_spread(one: Summary) -> str:
    same = one.success_rate_low == one.success_rate_high
    return "" if same else f"; {100 * one.success_rate_low:.0f} to {100 * one.success_rate_high:.0f} %"


def groups(rows: Sequence[BenchRow], arms: Sequence[Arm]) -> dict[str, list[BenchRow]]:
    """Give the rows of each arm under its name, in the order of the summaries."""
    found: dict[Arm, list[BenchRow]] = {arm: [] for arm in arms}
    for row in rows:
        found.setdefault(row.arm, []).append(row)
    return {arm.name: mine for arm, mine in found.items() if mine}
