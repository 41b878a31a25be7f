"""A measurement of speed as a manifest: all figures of one machine, with the range of its rounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dispatcher.experiments.manifest import Arm, Figure, Kind, Manifest, Metric, Rows
from dispatcher.experiments.writing import environment

SHOWN: Mapping[str, tuple[str, str]] = {
    "raw_requests_per_s": ("bare nats-py request/reply, 64 in flight", "1/s"),
    "bare_relay_per_s": ("the same through a bare relay", "1/s"),
    "jobs_per_s": ("jobs through dispatcher and agent", "1/s"),
    "throughput_ratio": ("jobs over bare requests", ""),
    "durable_jobs_per_s": ("jobs from queue to stored result", "1/s"),
    "raw_p50_ms": ("bare request, median", "ms"),
    "job_p50_ms": ("job, median", "ms"),
    "job_p99_ms": ("job, 99 % within", "ms"),
    "relayed_chunks_per_s": ("chunks of streams that the dispatcher relays", "1/s"),
    "relay_ratio": ("the same over chunks sent directly", ""),
    "hits_per_s": ("answers from the cache", "1/s"),
    "hit_p50_ms": ("answer from the cache, median", "ms"),
    "dispatcher_cpu_ms_per_job": ("CPU of the dispatcher for a job", "ms"),
    "agent_cpu_ms_per_job": ("CPU of the agent for a job", "ms"),
    "http_bridge_cpu_ms": ("CPU of the bridge for a request", "ms"),
    "http_all_cpu_ms": ("CPU of all three for a request", "ms"),
    "door_pages_50_20_bridge_percent": ("CPU of the bridge for an open page, one of 20, 50 devices", "% of a core"),
    "door_pages_50_20_ledger_percent": ("CPU of the ledger for the same", "% of a core"),
}
"""What is shown side by side; all others are in the rows, which have a line for each round."""

_MORE = ("per_s", "ratio")
_NOISE = "Machines are noisy: trust the ratios, which were taken side by side. Low and high are the least and the most of rounds."


def manifest(result: Mapping[str, Any], *, rows: Rows, now_unix_s: float) -> Manifest:
    """Give the manifest of what the JSON file holds."""
    figures, rounds = result["figures"], int(result["plan"]["rounds"])
    there = [name for name in SHOWN if name in figures]
    return Manifest(
        kind=Kind.SPEED,
        title="Speed of this machine",
        made_unix_s=now_unix_s,
        drover=str(result["drover"]),
        n=rounds,
        repeats=rounds,
        data={"in flight": str(result["plan"]["in_flight"]), "seconds a figure": str(result["plan"]["seconds"])},
        environment=environment(),
        caveats=(_NOISE, "An agent that echoes stands for a device: nothing of a model is in these figures."),
        metrics=tuple(
            Metric(
                name=name, what=SHOWN[name][0], unit=SHOWN[name][1], better="high" if name.endswith(_MORE) else "low"
            )
            for name in there
        ),
        arms=(Arm(name="this machine", n=rounds, figures={name: _figure(figures[name]) for name in there}),),
        rows=rows,
    )


def _figure(one: Mapping[str, float]) -> Figure:
    low, high = one["min"], one["max"]
    return Figure(value=one["median"], low=low, high=high, spread=(high - low) / 2)
