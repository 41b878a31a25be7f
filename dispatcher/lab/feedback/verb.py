"""`drover lab feedback`: worlds in, a table, a file of figures and a plot out; what is computed stands in the modules beside it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from common import codec
from common.errors import ConfigError
from dispatcher.lab.feedback.fleet import Plan
from dispatcher.lab.feedback.study import Study, study


def feedback_verb(plan: Plan, output: Path, *, seeds: int, first_seed: int, target_s: float, plots: bool) -> str:
    """Run the study, write feedback.json and the plot below `output`, and give the table. Raises `ConfigError`."""
    if not 0 < plan.shift_at < plan.jobs:
        raise ConfigError(f"the shift after {plan.shift_at} of {plan.jobs} jobs leaves nothing before, or behind it")
    found = study(plan, seeds=seeds, first_seed=first_seed, target_s=target_s, progress=_progress)
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / "feedback.json").write_text(codec.encode_pretty(_as_json(found, first_seed)), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{output} can't be written: {error}") from error
    written = [output / "feedback.json", *(_draw(found, output / "feedback") if plots else [])]
    return "\n".join([table(found), f"written: {', '.join(map(str, written))}"])


def table(found: Study) -> str:
    """Write one line for each stretch of the jobs: seconds, and the paired difference over the seeds."""
    head = f"{'':8} {'':18} {'fixed':>8} {'learned':>8}  difference [95 %], {found.seeds} simulated fleets"
    lines = [
        f"{row.figure:8} {row.stretch:18} {row.fixed:8.2f} {row.learned:8.2f}  {row.difference}  "
        f"({100 * row.difference.value / row.fixed:+.0f} %)"
        for row in found.rows
    ]
    return "\n".join([head, *lines])


def _as_json(found: Study, first_seed: int) -> dict[str, object]:
    return {
        "simulated": True,
        "plan": asdict(found.plan),
        "seeds": [first_seed, first_seed + found.seeds - 1],
        "target_s": found.target_s,
        "rows": [asdict(row) for row in found.rows],
    }


def _draw(found: Study, stem: Path) -> list[Path]:
    try:
        from dispatcher.lab.feedback.plots import draw  # noqa: PLC0415  # matplotlib is an extra, and slow to import
    except ModuleNotFoundError as error:
        raise ConfigError(
            "plots need matplotlib: install the extra lab of Drover's wheel, or give --no-plots"
        ) from error
    return draw(found, stem)


def _progress(done: int) -> None:
    sys.stderr.write(f"drover: {done} fleets done\n")
