"""How jobs that are over look on a terminal; it asks nobody. What came over the bus may be anything, and is written out plainly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from dispatcher.cli.cache_words import plain
from dispatcher.cli.columns import Column, fitted
from dispatcher.cli.figures import joules, three

Told = Mapping[str, Any]


def job_table(jobs: Sequence[Told], width: int) -> RenderableType:
    """Draw one row per job in `width` characters; times are of this machine's clock."""
    estimated = any(_taken(job) and not _taken(job).get("measured") for job in jobs)
    return Group(
        fitted(_COLUMNS, jobs, width), *([Text("~ estimated, not measured", style="dim")] if estimated else [])
    )


def _text(job: Told, name: str) -> str:
    value = job.get(name)
    return plain(value) if isinstance(value, str) else ""


def _seconds(job: Told, name: str) -> str:
    value = job.get(name)
    return three(value) if isinstance(value, int | float) else ""


def _when(job: Told) -> str:
    try:
        return f"{datetime.fromtimestamp(float(job['received_unix_s']), UTC).astimezone():%m-%d %H:%M:%S}"
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return "?"


def _taken(job: Told) -> Told:
    energy = job.get("energy")
    return energy if isinstance(energy, dict) else {}


def _joules(job: Told) -> str:
    value = _taken(job).get("joules")
    return joules(value, measured=bool(_taken(job).get("measured"))) if isinstance(value, int | float) else ""


def _tokens(job: Told) -> str:
    usage = job.get("usage")
    return str(usage.get("completion_tokens", "")) if isinstance(usage, dict) else ""


def _result(job: Told) -> str:
    cache = job.get("cache")
    if isinstance(cache, dict) and cache.get("outcome") == "hit":
        return "from the cache"
    return _text(job, "error") or _text(job, "finish")


_COLUMNS: tuple[Column[Told], ...] = (
    Column("received", 0, _when, right=False),
    Column(
        "state",
        0,
        lambda job: _text(job, "state"),
        right=False,
        style=lambda job: "" if job.get("state") == "done" else "red",
    ),
    Column("device", 1, lambda job: _text(job, "device"), right=False),
    Column("model", 3, lambda job: _text(job, "model") or _text(job, "asked_model"), right=False),
    Column("total s", 0, lambda job: _seconds(job, "total_s")),
    Column("first s", 6, lambda job: _seconds(job, "first_token_s")),
    Column("queue s", 7, lambda job: _seconds(job, "queue_s")),
    Column("tokens", 5, _tokens),
    Column("energy", 2, _joules),
    Column("ended", 4, _result, right=False),
    Column("tenant", 8, lambda job: _text(job, "tenant"), right=False),
    Column("job", 9, lambda job: _text(job, "job"), right=False),
)
