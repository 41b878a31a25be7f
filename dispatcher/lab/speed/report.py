"""How the figures of `drover lab speed` look on the terminal: progress on standard error, one table or JSON on standard output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common import codec
from common.errors import FleetError
from dispatcher.lab.speed.door.view import ROWS, grid, judged
from dispatcher.lab.speed.fleet import FLEETS
from dispatcher.lab.speed.likeness import ENTRIES, ENTRIES_IN_REDIS
from dispatcher.lab.speed.run import QUICK, Plan, speed
from dispatcher.routing.strategies import STRATEGIES

_LOOK = (("us", "µs"), ("ratio", "ratio"))

_ROWS = (
    ("throughput, 64 in flight", (
        ("raw_requests_per_s", "bare nats-py request/reply, 1/s"),
        ("bare_relay_per_s", "the same through a bare relay, 1/s"),
        ("jobs_per_s", "jobs through dispatcher and agent, 1/s"),
        ("throughput_ratio", "jobs / bare requests"),
        ("throughput_ratio_to_relay", "jobs / bare relay"),
        ("dispatcher_cpu_ms_per_job", "dispatcher, CPU-ms a job"),
        ("agent_cpu_ms_per_job", "agent, CPU-ms a job"),
    )),
    ("durable lane, 64 in flight", (
        ("durable_jobs_per_s", "jobs from queue to stored result, 1/s"),
        ("durable_ratio", "durable jobs / bare requests"),
        ("durable_dispatcher_cpu_ms_per_job", "dispatcher, CPU-ms a durable job"),
    )),
    ("latency, one at a time", (
        ("raw_p50_ms", "bare request p50, ms"),
        ("raw_p99_ms", "bare request p99, ms"),
        ("bare_relay_p50_ms", "bare relay p50, ms"),
        ("job_p50_ms", "job p50, ms"),
        ("job_p99_ms", "job p99, ms"),
        ("p50_ratio", "job p50 / bare p50"),
    )),
    ("streams, 50 at once, 64-byte chunks", (
        ("direct_chunks_per_s", "device to producer direct, chunks/s"),
        ("relayed_chunks_per_s", "relayed by the dispatcher, chunks/s"),
        ("relay_ratio", "relayed / direct"),
    )),
    ("HTTP, 8 connections", (
        ("http_bridge_cpu_ms", "bridge, CPU-ms a request"),
        ("http_all_cpu_ms", "all three, CPU-ms a request"),
        ("http_stream_bridge_cpu_ms", "bridge, CPU-ms a streamed request"),
        ("http_stream_all_cpu_ms", "all three, CPU-ms a streamed request"),
    )),
    *ROWS,
    ("the very same request again: exact hits", (
        ("hits_per_s", "answered, 64 in flight, 1/s"),
        ("hit_ratio", "the same / bare requests"),
        ("hits_to_jobs", "the same / jobs that run"),
        ("hit_dispatcher_cpu_ms", "dispatcher, CPU-ms an answer"),
        ("hit_p50_ms", "one at a time p50, ms"),
        ("hit_p50_ratio", "the same / bare request p50"),
        ("hit_p95_ms", "one at a time p95, ms"),
        ("raw_p95_ms", "bare request p95, ms"),
        ("hit_p95_ratio", "p95 / bare request p95"),
    )),
    ("the cache's part of a job, vectors apart", (
        ("named_us", "its name, CPU-µs"),
        ("hit_exact_us", "an exact hit, all told, CPU-µs"),
        ("miss_exact_us", "added to a miss, exact, CPU-µs"),
        ("miss_semantic_us", "added to a miss, semantic, CPU-µs"),
        ("look_hit_us", "look among 200: one is the same, CPU-µs"),
        ("look_refused_us", "look among 200: near ones refused, CPU-µs"),
        ("look_miss_us", "look among 200: none is near, CPU-µs"),
    )),
    *((f"answers of 2 KiB kept in {where}", (
        (f"{name}_hit_us", "found, µs"),
        (f"{name}_miss_us", "not found, µs"),
        (f"{name}_used_us", "noted that it was given, µs"),
        (f"{name}_put_us", "kept, µs"),
        (f"{name}_beside_bytes", "memory beside its packed bytes, bytes"),
    )) for name, where in (("memory", "process"), ("redis", "Redis"))),
    *((f"a decision, {devices:,} devices of 3 models", tuple(
        (f"decide_{devices}_{name}_us", f"{name}, µs") for name in sorted(STRATEGIES)
    )) for devices in FLEETS),
    *((f"the same with a seat taken, {devices:,} devices", (
        *((f"seat_{devices}_{name}_us", f"{name}, µs") for name in sorted(STRATEGIES)),
        (f"wait_{devices}_us", "a place in the line of a full fleet, µs"),
        (f"wait_{devices}_kb", "what one who waits holds, KB"),
    )) for devices in FLEETS),
    ("what is read off a question of 250 characters", (
        ("features_us", "features, µs"),
        ("prompt_signals_us", "signals for the trained router, µs"),
        ("embed_question_us", "its vector by the static embedder, µs"),
    )),
    ("a like question; ratio: to matrix @ vector", (
        *((f"near_{entries}_{unit}", f"{entries:,} entries, {label}") for entries in ENTRIES for unit, label in _LOOK),
        ("near_entry_bytes", "what an entry takes in process, bytes"),
        ("redis_trip_us", "the way to Redis and back, µs"),
        *((f"near_redis_{entries}_{unit}", f"{entries:,} entries in Redis, {label}")
          for entries in ENTRIES_IN_REDIS for unit, label in _LOOK),
        *((f"near_sets_{entries}_{unit}", f"{entries:,} entries in a vector set, {label}")
          for entries in ENTRIES_IN_REDIS for unit, label in _LOOK),
    )),
)  # fmt: skip


def run_speed(*, quick: bool, rounds: int, output: Path | None, plot: Path | None, as_json: bool) -> int:
    """Measure and show; gives the exit status."""
    err = Console(stderr=True)
    try:
        result = speed(QUICK if quick else replace(Plan(), rounds=rounds), output, err.print)
    except FleetError as error:
        err.print(f"drover: {error.message}", markup=False)
        return 1
    if plot is not None:
        from dispatcher.lab.speed.door.plot import draw  # noqa: PLC0415  # matplotlib, where a picture is wanted

        draw(result, plot)
    console = Console()
    if as_json:
        console.print_json(codec.encode_pretty(result))
    else:
        console.print(table(result))
        console.print(grid(result["figures"]))
        for line in judged(result["expected"]):
            console.print(line, highlight=False)
    return 0


def table(result: dict[str, Any]) -> Table:
    """Lay the figures out: the median of the rounds, and their range."""
    machine = result["machine"]
    shown = Table(
        title=f"drover {result['drover']} · Python {machine['python']} · {machine['cpus']} CPUs · {machine['arch']} · "
        f"{result['plan']['rounds']} rounds",
        caption="Machines are noisy: trust the ratios, which were taken side by side.",
    )
    for name, style in (("figure", "bold"), ("median", ""), ("min", "dim"), ("max", "dim")):
        shown.add_column(name, style=style, justify="left" if name == "figure" else "right")
    for heading, rows in _ROWS:
        shown.add_section()
        shown.add_row(f"[cyan]{heading}[/cyan]", "", "", "")
        for key, label in rows:
            figure = result["figures"].get(key)
            if figure is None:
                shown.add_row(f"  {label}", "left out", "", "")  # no such server here
                continue
            shown.add_row(f"  {label}", *(_number(figure[one]) for one in ("median", "min", "max")))
    return shown


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
