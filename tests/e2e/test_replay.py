"""`drover lab replay` as people run it: recorded jobs on a simulated fleet beside what happened, and an interruption."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import psutil
import pytest

from tests.commands import drover, gone, running
from tests.experiments import sound

pytest.importorskip("matplotlib", reason="the plot needs it; it is of the extra lab")

NOWHERE = {"OLLAMA_HOST": "http://127.0.0.1:9"}


def records(folder: Path, count: int, every_s: float) -> str:
    """Write jobs as the ledger exports them, and one that failed."""
    rows = [
        {
            "record": f"01J00000000000000000000{number:03}",
            "job": f"j{number}",
            "tenant": ("home", "lab")[number % 2],
            "state": "failed" if number == count else "done",
            "received_unix_s": 1e9 + every_s * number,
            "total_s": 5.0,
            "priority": ("interactive", "batch")[number % 2],
            "asked_model": "auto",
            "device": "old",
            "usage": {"prompt_tokens": 30 + number, "completion_tokens": 20 + number},
            "energy": {"joules": 50.0, "measured": True, "cost": 0.00001, "currency": "EUR"},
        }
        for number in range(count + 1)
    ]
    (folder / "jobs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return "jobs.jsonl"


@pytest.mark.slow
async def test_recorded_jobs_run_again_beside_what_happened(tmp_path: Path) -> None:
    """Every job has its answer, of the recorded length to the token; latency, energy and cost are told, and what is not known."""
    options = (
        "--jobs",
        records(tmp_path, 4, 20.0),
        "--devices",
        "orin-nano",
        "--speed",
        "50",
        "--out",
        "out",
        "--plot",
    )
    done = await drover("lab", "replay", *options, "--json", cwd=tmp_path, guard_s=180, **NOWHERE)
    told = json.loads(done.out)
    before, after = told["outcomes"]
    rows = list(csv.DictReader((tmp_path / "out/replay.csv").read_text().splitlines()))

    assert (0, 4, 4) == (done.status, before["jobs"], after["answered"])
    assert all(row["completion_tokens"] == row["recorded_completion_tokens"] for row in rows)
    assert all(row["prompt_tokens"] == row["recorded_prompt_tokens"] for row in rows)
    assert ["interactive", "batch"] * 2 == [row["priority"] for row in rows]
    assert ({"orin-nano"}, "EUR") == ({row["device"] for row in rows}, after["currency"])
    assert (True, True) == (0 < after["taken"]["joules"], 0 < after["total"]["p50_s"] <= after["total"]["p95_s"])
    assert {"1 failed", "50 times faster", "never recorded"} == {
        words
        for words in ("1 failed", "50 times faster", "never recorded")
        if any(words in note for note in told["notes"])
    }
    assert b"\x89PNG" == (tmp_path / "out/replay.png").read_bytes()[:4]
    [run] = sound(tmp_path / "out")
    assert ("replay", 4, True) == (str(run.manifest.kind), run.manifest.rows.count, run.manifest.simulated)
    assert [before["total"]["p50_s"], after["total"]["p50_s"]] == [
        arm.figures["latency_p50"].value for arm in run.manifest.arms
    ]


@pytest.mark.slow
async def test_an_interruption_leaves_nothing_running(tmp_path: Path) -> None:
    """Ctrl-C while jobs are under way: the fleet goes with the command."""
    options = ("--jobs", records(tmp_path, 60, 20.0), "--devices", "orin-nano", "--speed", "50")
    async with running("lab", "replay", *options, cwd=tmp_path, **NOWHERE) as replay:
        await replay.until("3 of 60 done")
        fleet: list[psutil.Process] = replay.children()
        replay.signal(signal.SIGINT)
        status = await replay.ended()
        await gone(*fleet)

    assert (130, True) == (status, len(fleet) >= 4)
