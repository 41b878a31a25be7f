"""The files of a replay: a line per job and run beside what happened, the figures, and the plot."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import codec
from common.errors import ConfigError
from dispatcher.experiments.manifest import Rows
from dispatcher.experiments.writing import beside, write_manifest
from dispatcher.lab.bench.table import safe
from dispatcher.lab.replay.outcome import Lap, Outcome
from dispatcher.lab.replay.records import Recorded
from dispatcher.lab.replay.telling import manifest


def figures(outcomes: Sequence[Outcome], said: Sequence[str]) -> dict[str, Any]:
    """Give the figures for programs."""
    return {"outcomes": [asdict(one) for one in outcomes], "notes": list(said)}


def write(
    folder: Path,
    told: dict[str, Any],
    laps: Sequence[Lap],
    outcomes: Sequence[Outcome],
    jobs: Sequence[Recorded],
    *,
    plot: bool,
    settings: Mapping[str, str],
) -> list[Path]:
    """Write all, and draw with `plot`; `jobs` are those that happened, and `settings` say how they were replayed. Gives the files.
    Raises `ConfigError`."""
    seconds = _seconds(laps, outcomes, jobs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / "replay.json", folder / "replay.csv"]
        files[0].write_text(f"{codec.encode_pretty(told)}\n", encoding="utf-8")
        files[1].write_text(_csv(laps), encoding="utf-8")
        rows = Rows(file=files[1].name, count=sum(len(lap.played) for lap in laps))
        found = manifest(outcomes, told["notes"], seconds, rows=rows, settings=settings, now_unix_s=time.time())
        files.append(write_manifest(beside(files[1]), found))
        return files if not plot else [*files, *_drawn(folder, seconds, outcomes)]
    except OSError as error:
        raise ConfigError(f"--out {folder} can't be written: {error.strerror or error}") from error


def _drawn(folder: Path, seconds: Mapping[str, Sequence[float]], outcomes: Sequence[Outcome]) -> list[Path]:
    from dispatcher.lab.replay.plots import draw  # noqa: PLC0415  # matplotlib is an extra

    return draw(outcomes, seconds, folder / "replay")


def _seconds(laps: Sequence[Lap], outcomes: Sequence[Outcome], jobs: Sequence[Recorded]) -> dict[str, list[float]]:
    """Give the seconds of what was answered, for each outcome by its label."""
    seconds = {outcomes[0].label: [job.total_s for job in jobs if job.total_s is not None]}
    for lap, one in zip(laps, outcomes[1:], strict=True):
        rows = [played.row for played in lap.played]
        seconds[one.label] = [row.latency_s for row in rows if row.success and row.latency_s is not None]
    return seconds


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
