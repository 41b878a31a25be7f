"""What measures speed runs, and measure something: their figures are for people, and no test asserts one."""

from __future__ import annotations

import json
import re
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path

import pytest

from tests.commands import clean_environment, drover


@pytest.mark.slow
async def test_a_quick_round_measures_everything(tmp_path: Path) -> None:
    """Every figure is there, and no speed is nothing."""
    done = await drover("lab", "speed", "--quick", "--json", cwd=tmp_path, guard_s=150.0)
    figures = json.loads(done.out)["figures"]

    speeds = [name for name in figures if name.endswith("_per_s")]
    assert (done.status, []) == (0, [name for name in speeds if not figures[name]["median"] > 0])
    assert {
        "throughput_ratio",
        "p50_ratio",
        "relay_ratio",
        "dispatcher_cpu_ms_per_job",
        "decide_1000_hybrid_us",
        "near_100000_ratio",
        "near_entry_bytes",
        "embed_question_us",
        "hit_ratio",
        "hit_p50_ratio",
        "hit_p95_ms",
        "miss_exact_us",
        "miss_semantic_us",
        "look_hit_us",
        "memory_hit_us",
        "memory_beside_bytes",
    } <= figures.keys()


@pytest.mark.slow
async def test_scale_is_measured(tmp_path: Path) -> None:
    """Heartbeats as a share of a core, and memory over many jobs."""
    arguments = ("--devices", "30", "--seconds", "1", "--jobs", "2000")
    process = await create_subprocess_exec(
        sys.executable, "-m", "dispatcher.lab.speed.scale", *arguments,
        cwd=tmp_path, env=clean_environment(), stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    out, err = await process.communicate()

    assert (process.returncode, "") == (0, err.decode() if process.returncode else "")
    assert re.search(r"30 devices, a heartbeat a second each: -?[\d.]+ % of a core", out.decode())
    assert re.search(r"dispatcher: [\d.]+ MiB after 200 jobs, [\d.]+ MiB after 2000", out.decode())
