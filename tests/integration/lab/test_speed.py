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
    arguments = ("lab", "speed", "--quick", "--json", "--plot", str(tmp_path / "bridge.png"))
    done = await drover(*arguments, cwd=tmp_path, guard_s=240.0)
    told = json.loads(done.out)
    figures = told["figures"]

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
        "door_open_whole_all_cpu_ms",
        "door_budget_stream_ledger_cpu_ms",
        "door_ollama_stream_agent_cpu_ms",
        "door_ttft_64_p99_added_ms",
        "door_idle_events_kb_each",
        "door_idle_chats_core_percent",
        "door_slow_reader_ratio",
        "door_pages_3_1_ratio",
        "door_pages_50_none_ledger_percent",
        "door_pages_50_20_bridge_percent",
    } <= figures.keys()
    pages = {f"door_pages_{devices}_{count}_bridge_percent" for devices in (3, 50) for count in (1, 20)}
    assert {"door_open_whole_all_cpu_ms", "door_open_stream_all_cpu_ms", "door_both_rss_mb"} | pages == {
        one["figure"] for one in told["expected"] if one["met"] == (one["median"] <= one["limit"])
    }
    assert (tmp_path / "bridge.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
async def test_open_pages_are_measured_alone(tmp_path: Path) -> None:
    """Each fleet without pages, with one and with many; a page whose stream or question is refused would end it."""
    status, out, err = await module("door.pages", "--rounds", "1", "--seconds", "0.2", "--jobs", "9", cwd=tmp_path)
    wanted = [
        f"door_pages_{devices}_{rest}"
        for devices in (3, 50)
        for rest in ("none_bridge_percent", "1_ratio", "20_bridge_percent", "20_ledger_percent")
    ]

    assert (0, "") == (status, err if status else "")
    assert [] == [name for name in wanted if not re.search(rf"^{name} +-?[\d.]+ ", out, re.MULTILINE)]


@pytest.mark.slow
async def test_scale_is_measured(tmp_path: Path) -> None:
    """Heartbeats as a share of a core, and memory over many jobs."""
    status, out, err = await module("scale", "--devices", "30", "--seconds", "1", "--jobs", "2000", cwd=tmp_path)

    assert (0, "") == (status, err if status else "")
    assert re.search(r"30 devices, a heartbeat a second each: -?[\d.]+ % of a core", out)
    assert re.search(r"dispatcher: [\d.]+ MiB after 200 jobs, [\d.]+ MiB after 2000", out)


@pytest.mark.slow
async def test_a_full_cache_is_weighed(tmp_path: Path) -> None:
    """Memory with and without, and what the cache itself counts."""
    status, out, err = await module("full", "--answers", "40", cwd=tmp_path)

    assert (0, "") == (status, err if status else "")
    assert re.search(r"^40 answers, [\d.]+ MiB as it counts them$", out, re.MULTILINE)
    assert re.search(r"^the full cache takes -?[\d.]+ MiB$", out, re.MULTILINE)


@pytest.mark.slow
async def test_who_knows_an_answer_can_tell_by_time(tmp_path: Path) -> None:
    """The control shows that the instrument sees what there is to see; of the others no test asserts a figure."""
    status, out, err = await module("secrecy", "--questions", "30", "--seconds", "1", "--no-redis", cwd=tmp_path)
    rows = [line for line in out.splitlines() if line.startswith("memory")]

    assert (0, "") == (status, err if status else "")
    assert 9 == len(rows)
    assert [True] * 3 == [line.endswith("*") for line in rows if " control " in line]


async def module(name: str, *arguments: str, cwd: Path) -> tuple[int | None, str, str]:
    """Run one of the measurements on its own; give its status, and what it said."""
    process = await create_subprocess_exec(
        sys.executable, "-m", f"dispatcher.lab.speed.{name}", *arguments,
        cwd=cwd, env=clean_environment(), stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()
