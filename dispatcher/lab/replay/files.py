"""The files of a replay: a line per job and run beside what happened, the figures, and the plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import codec
from common.errors import ConfigError
from dispatcher.lab.bench.table import safe
from dispatcher.lab.replay.outcome import Lap, Outcome
from dispatcher.lab.replay.records import Recorded


def figures(outcomes: Sequence[Outcome], said: Sequence[str]) -> dict[str, Any]:
    """Give the figures for programs."""
    return {"outcomes": [asdict(one) for one in outcomes], "notes": list(said)}


def write(
    folder: Path,
    told: dict[str, Any],
    laps: Sequence[Lap],
    outcomes: Sequence[Outcome],
    jobs: Sequence[Recorded] | None,
) -> list[Path]:
    """Write all, and draw where `jobs` are given: those that happened. Gives the files. Raises `ConfigError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / "replay.json", folder / "replay.csv"]
        files[0].write_text(f"{codec.encode_pretty(told)}\n", encoding="utf-8")
        files[1].write_text(_csv(laps), encoding="utf-8")
        return files if jobs is None else [*files, *_drawn(folder, laps, outcomes, jobs)]
    except OSError as error:
        raise ConfigError(f"--out {folder} can't be written: {error.strerror or error}") from error


def _drawn(folder: Path, laps: Sequence[Lap], outcomes: Sequence[Outcome], jobs: Sequence[Recorded]) -> list[Path]:
    from dispatcher.lab.replay.plots import draw  # noqa: PLC0415  # matplotlib is an extra

    seconds = {outcomes[0].label: [job.total_s for job in jobs if job.total_s is not None]}
    for lap, one in zip(laps, outcomes[1:], strict=True):
        rows = [played.row for played in lap.played]
        seconds[one.label] = [row.latency_s for row in rows if row.success and row.latency_s is not None]
    return draw(outcomes, seconds, folder / "replay")


_COLUMNS = (
    "fleet", "strategy", "record", "tenant", "priority", "due_s", "success", "error", "device", "model", "attempts",
    "prompt_tokens", "completion_tokens", "queue_s", "first_token_s", "total_s", "joules",
    "recorded_device", "recorded_model", "recorded_prompt_tokens", "recorded_completion_tokens", "recorded_queue_s",
    "recorded_first_token_s", "recorded_total_s", "recorded_joules", "recorded_measured",
)  # fmt: skip


def _csv(laps: Sequence[Lap]) -> str:
    """Write each job of each run beside what happened; seconds are those of life."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for lap in laps:
        for one in lap.played:
            row, job = one.row, one.due.job
            cells = (
                lap.arm.devices, lap.arm.strategy, job.name, job.tenant, str(job.priority), one.due.at_s, row.success, row.error,
                row.device, row.model, row.attempts, row.prompt_tokens, row.completion_tokens, row.queue_s, row.first_token_s,
                row.latency_s, one.joules, job.device, job.model, job.prompt_tokens, job.completion_tokens, job.queue_s,
                job.first_token_s, job.total_s, job.joules, job.measured,
            )  # fmt: skip
            writer.writerow([_cell(cell) for cell in cells])
    return out.getvalue()


def _cell(value: object) -> object:
    match value:
        case bool():
            return int(value)
        case float():
            return f"{value:.6g}"
        case str():
            return safe(value)
        case _:
            return value
