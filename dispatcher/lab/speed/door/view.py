"""How the figures of a bridge look on the terminal; it measures nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from dispatcher.lab.speed.door.delay import AT_ONCE
from dispatcher.lab.speed.door.pages import FLEETS, JOBS_PER_S, PAGES
from dispatcher.lab.speed.door.price import CASES, PROCESSES, WAYS
from dispatcher.lab.speed.door.stage import SLOTS

Figures = Mapping[str, Mapping[str, float]]

ROWS = (
    *((f"bridge: time to the first text, {at_once} at once, a simulated device", tuple(
        row for percent in (50, 99) for name in [f"door_ttft_{at_once}_p{percent}"] for row in (
            (f"{name}_direct_ms", f"asked directly, p{percent}, ms"),
            (f"{name}_ms", f"through the bridge, p{percent}, ms"),
            (f"{name}_added_ms", f"added, p{percent}, ms"),
            (f"{name}_ratio", f"through / directly, p{percent}"),
        )
    )) for at_once in AT_ONCE),
    ("bridge: the same beside a bare request of nats-py", (
        ("door_ttft_1_p50_added_ratio", "added, 1 at once, p50 / bare request p50"),
    )),
    ("bridge: 16 streams as fast as they go", (
        ("door_events_per_s", "events/s"),
        ("door_chunks_per_s", "64-byte chunks in them, chunks/s"),
        ("door_chunks_ratio", "the same / device to producer direct"),
        ("door_events_beside_slow_per_s", "events/s, a long answer beside them read at 512 bytes a second"),
        ("door_slow_reader_ratio", "the same / that answer read at once"),
    )),
    *((f"bridge: idle clients, {what}", (
        (f"door_idle_{kind}_clients", "clients"),
        (f"door_idle_{kind}_mb", "memory of the bridge above its own, MB"),
        (f"door_idle_{kind}_kb_each", "each, KB"),
        (f"door_idle_{kind}_core_percent", "CPU of the bridge, % of a core"),
    )) for kind, what in (("events", "events of a queued job"), ("chats", "chats that wait in the line"))),
    *((f"bridge: open pages, {devices} devices and {JOBS_PER_S:g} jobs a second", (
        (f"door_pages_{devices}_none_bridge_percent", "bridge without pages, % of a core"),
        (f"door_pages_{devices}_none_ledger_percent", "ledger without pages, % of a core"),
        *(row for count in PAGES for name in [f"door_pages_{devices}_{count}"] for row in (
            (f"{name}_bridge_percent", f"bridge, each of {count}, % of a core"),
            (f"{name}_ledger_percent", f"ledger, each of {count}, % of a core"),
            (f"{name}_ratio", f"bridge with {count} / without"),
        )),
    )) for devices in FLEETS),
    ("memory after 20 requests, no embedder", (
        ("door_bridge_rss_mb", "bridge, RSS, MB"),
        ("door_dispatcher_rss_mb", "dispatcher, RSS, MB"),
        ("door_both_rss_mb", "both, RSS, MB"),
        ("door_both_pss_mb", "both, PSS (what they share counts once), MB"),
    )),
)  # fmt: skip

_CASES = {
    "open": "no key",
    "key": "a key",
    "budget": "a key with a budget",
    "ollama": f"no key, device speaks Ollama's API, {SLOTS} slots",
}
_SAID = {
    "door_open_whole_all_cpu_ms": "the whole path, CPU-ms a short request",
    "door_open_stream_all_cpu_ms": "the whole path, CPU-ms a short streamed request",
    "door_both_rss_mb": "bridge and dispatcher, MB of RSS without the embedder",
    **{
        f"door_pages_{devices}_{count}_bridge_percent": f"bridge for an open page, one of {count}, {devices} devices: % of a core"
        for devices in FLEETS
        for count in PAGES
    },
}


def grid(figures: Figures) -> Table:
    """Lay out what a short request costs: a line for each way, a column for each process, medians of the rounds."""
    shown = Table(title="CPU-ms of a short request over HTTP, 8 connections; medians")
    shown.add_column("request", style="bold")
    for process in (*PROCESSES, "all"):
        shown.add_column(process, justify="right")
    for case in CASES:
        shown.add_section()
        for way in WAYS:
            costs = [figures[f"door_{case.name}_{way}_{process}_cpu_ms"]["median"] for process in (*PROCESSES, "all")]
            shown.add_row(f"{way}, {_CASES[case.name]}", *(f"{cost:.2f}" for cost in costs))
    return shown


def judged(expected: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Write what was expected, and whether it is so here and now."""
    for one in expected:
        word = "[green]met[/green]" if one["met"] else "[red]missed[/red]"
        yield f"{word:22} {_SAID[one['figure']]}: {one['median']:.3g}, expected at most {one['limit']:g}"
