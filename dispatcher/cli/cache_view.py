"""How the caches of a fleet look on a terminal: figures by dispatcher, entries, and one entry whole; it asks nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from common.cache_orders import SHARED, store_kind
from dispatcher.cli.cache_words import age, plain, saved
from dispatcher.cli.columns import Column, fitted

Told = Mapping[str, Any]

QUESTION_CHARS = 160
"""Of a question in a table; the whole one is in `drover cache show ID`."""

HITS = ("exact", "semantic", "attached")
_COUNTS = (*HITS, "miss", "bypass")
_HELD = ("entries", "size_bytes", "evicted", "expired")
"""What a store has, and what went out of it."""


def figures(answers: Sequence[Told], width: int) -> RenderableType:
    """Draw the figures of each dispatcher, their sum where there are several, and what is behind them."""
    rows = [_row(answer) for answer in answers]
    total = _sum(rows)
    table = fitted(_FIGURES, [*rows, total] if len(rows) > 1 else rows, width)
    return Group(table, *(Text(line) for line in (*_in_words(total), *_behind(answers, total))))


def _row(answer: Told) -> Told:
    store, counts = _of(answer, "store"), _of(answer, "counts")
    return {
        "dispatcher": answer.get("dispatcher", ""),
        "mode": answer.get("mode", ""),
        "store": store.get("kind", ""),
        "state": store.get("state", ""),
        **{name: store.get(name, 0) for name in _HELD},
        **{name: counts.get(name, 0) for name in _COUNTS},
        "refused": sum(_of(counts, "refused").values()),
        "reported": answer.get("reported", 0),
        "saved": _of(answer, "saved"),
    }


def _sum(rows: Sequence[Told]) -> Told:
    """Add up: what a store has that several share counts once."""
    shared = [row for row in rows if row["store"] == SHARED]
    apart = [row for row in rows if row["store"] != SHARED]
    spared: Counter[str] = Counter()
    for row in rows:
        spared.update({name: value for name, value in row["saved"].items() if value})
    return {
        "dispatcher": "all",
        "mode": "",
        "store": "",
        "state": "",
        **{name: max((row[name] for row in shared), default=0) + sum(row[name] for row in apart) for name in _HELD},
        **{name: sum(row[name] for row in rows) for name in (*_COUNTS, "refused", "reported")},
        "saved": spared,
    }


def _in_words(total: Told) -> Iterator[str]:
    """Say what a narrow table leaves out."""
    yield (
        f"hits: {total['exact']} exact, {total['semantic']} alike, {total['attached']} joined; "
        f"none: {total['miss']} missed, {total['refused']} refused, {total['bypass']} bypassed"
    )
    if what := saved({"saved": {**total["saved"], "energy_estimated": True}}):
        yield f"saved: {what}"


def _behind(answers: Sequence[Told], total: Told) -> Iterator[str]:
    """Tell why there was no hit, what was not kept, how likeness is judged, and what ails a store; all dispatchers together."""
    for title, name in (("refused", "refused"), ("not kept", "not_kept")):
        reasons: Counter[str] = Counter()
        for answer in answers:
            reasons.update(_of(_of(answer, "counts"), name))
        if reasons:
            yield f"{title}: " + ", ".join(f"{plain(why)} {count}" for why, count in reasons.most_common())
    yield f"made room: {total['evicted']}, expired: {total['expired']}, reported wrong: {total['reported']}"
    yield from dict.fromkeys(_likeness(answer) for answer in answers)
    details: dict[str, list[str]] = {}
    for answer in answers:
        for part in ("store", "index"):
            if detail := _of(answer, part).get("detail"):
                details.setdefault(f"{part}: {detail}", []).append(str(answer.get("dispatcher", "")))
    yield from (plain(f"{', '.join(names)}: {detail}") for detail, names in details.items())


def _vectors(index: Told) -> str:
    """Say what there is to compare; a tenant is not told of all vectors."""
    return f"{index.get('entries', 0)} vectors ({index.get('kind')}, {index.get('state')}), " if index else ""


def _likeness(answer: Told) -> str:
    index = _of(answer, "index")
    return plain(
        f"likeness: {_vectors(index)}embedder {answer.get('embedder') or 'none'}, judge {answer.get('judge') or 'none'}"
    )


def _of(told: Told, name: str) -> Mapping[str, Any]:
    value = told.get(name)
    return value if isinstance(value, Mapping) else {}


def _share(row: Told) -> str:
    """Give the part of the requests that might have been answered from the cache and were."""
    hits = sum(row[name] for name in HITS)
    return f"{100 * hits / (hits + row['miss']):.0f} %" if hits + row["miss"] else ""


def _saved(row: Told, name: str, digits: int) -> str:
    value = row["saved"].get(name)
    return f"{value:,.{digits}f}" if value else ""


def size(size_bytes: int) -> str:
    """Write bytes as people read them."""
    if size_bytes < 1 << 10:
        return f"{size_bytes} B"
    return f"{size_bytes / (1 << 10):.1f} KiB" if size_bytes < 1 << 20 else f"{size_bytes / (1 << 20):.1f} MiB"


_FIGURES: tuple[Column[Told], ...] = (
    Column("dispatcher", 0, lambda row: plain(str(row["dispatcher"])), right=False),
    Column("mode", 1, lambda row: plain(str(row["mode"])), right=False),
    Column("store", 2, lambda row: plain(str(row["store"])), right=False),
    Column("state", 1, lambda row: plain(str(row["state"])), right=False),
    Column("entries", 0, lambda row: str(row["entries"])),
    Column("size", 5, lambda row: size(row["size_bytes"])),
    Column("exact", 3, lambda row: str(row["exact"])),
    Column("alike", 3, lambda row: str(row["semantic"])),
    Column("joined", 4, lambda row: str(row["attached"])),
    Column("miss", 3, lambda row: str(row["miss"])),
    Column("hits", 0, _share),
    Column("refused", 6, lambda row: str(row["refused"])),
    Column("bypass", 8, lambda row: str(row["bypass"])),
    Column("saved s", 2, lambda row: _saved(row, "s", 1)),
    Column("saved J", 4, lambda row: _saved(row, "energy_j", 0)),
    Column("saved USD", 7, lambda row: _saved(row, "cost_usd", 4)),
)


def entry_table(found: Sequence[Told], width: int) -> Table:
    """Draw one row per entry; what it is called by stays in one piece, and of a long question the beginning is shown."""
    apart = any(entry.get("dispatcher") for entry in found)
    columns = tuple(column for column in _ENTRIES if apart or column.title != "kept by")
    return fitted(columns, found, width)


def _question(entry: Told) -> str:
    question = plain(" ".join(str(entry.get("question", "")).split()))
    return question if len(question) <= QUESTION_CHARS else f"{question[: QUESTION_CHARS - 1].rstrip()}…"


_ENTRIES: tuple[Column[Told], ...] = (
    Column("id", 0, lambda entry: plain(str(entry.get("id", ""))), right=False),
    Column("question", 0, _question, right=False, words=True),
    Column("tenant", 2, lambda entry: plain(str(entry.get("tenant", ""))), right=False),
    Column("model", 5, lambda entry: plain(str(entry.get("model", ""))), right=False),
    Column("of", 4, lambda entry: plain(str(entry.get("device", ""))), right=False),
    Column("age", 1, lambda entry: age(entry.get("age_s"))),
    Column("hits", 0, lambda entry: str(entry.get("hits", 0))),
    Column("size", 6, lambda entry: size(int(entry.get("size_bytes", 0)))),
    Column("alike", 7, lambda entry: "yes" if entry.get("semantic") else "no", right=False),
    Column("kept by", 3, lambda entry: plain(str(entry.get("dispatcher", ""))), right=False),
)


def whole(answer: Told) -> RenderableType:
    """Draw one entry with its answer, as the dispatcher that was asked for it tells it."""
    entry = answer["entries"][0]
    owner = "" if store_kind(answer) == SHARED else f" at {answer.get('dispatcher', '')}"
    facts = {
        "entry": f"{entry.get('id', '')} of the tenant {entry.get('tenant', '')}{owner}",
        "question": entry.get("question", ""),
        "given by": f"{entry.get('device', '')} with {entry.get('model', '')}, {age(entry.get('age_s'))} ago",
        "since": f"{entry.get('hits', 0)} hits, {size(int(entry.get('size_bytes', 0)))}"
        + ("" if entry.get("semantic") else ", not given by likeness"),
        **_receipt(answer.get("receipt")),
    }
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(Text(name), Text(plain(str(value), keep="\n\t")))
    return Group(table, Text(), Text(plain(str(answer.get("text", "")), keep="\n\t")))


def _receipt(receipt: object) -> dict[str, str]:
    if not isinstance(receipt, Mapping):
        return {}
    usage = _of(receipt, "usage")
    parts = [f"{receipt['total_s']:.1f} s"] if receipt.get("total_s") else []
    if usage.get("completion_tokens"):
        parts.append(f"{usage['completion_tokens']} tokens")
    if receipt.get("energy_j") is not None:
        parts.append(f"about {receipt['energy_j']:.1f} J")
    if receipt.get("cost_usd"):
        parts.append(f"{receipt['cost_usd']:.6f} USD")
    if receipt.get("simulated"):
        parts.append("simulated")
    return {"took": ", ".join(parts)} if parts else {}
