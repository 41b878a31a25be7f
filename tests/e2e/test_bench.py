"""`drover bench` as people run it: a simulated fleet of its own, a running one, an interruption, and what is left behind."""

from __future__ import annotations

import csv
import json
import re
import signal
from pathlib import Path

import psutil
import pytest

from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.table import from_csv
from tests.commands import drover, gone, running
from tests.nats_server import free_port

pytest.importorskip("matplotlib", reason="the report needs it; it is of the extra lab")

FAST = ("--time-factor", "100", "--devices", "nano,pi5", "--max-tokens", "12")
FILES = ("--output-csv", "out/sum.csv", "--output-per-query-csv", "out/rows.csv")
PATIENT = ("--setting", "DROVER_ACCEPT_S=20")
NOWHERE = {"OLLAMA_HOST": "http://127.0.0.1:9", "DROVER_ACCEPT_S": "20"}
QUESTIONS = [
    {"id": "short", "category": "chat", "prompt": "Hi there!"},
    {"id": "long", "category": "code", "prompt": "Explain this function. " * 40},
    {"id": "talk", "category": "chat", "turns": ["What is bread?", "And cake?"]},
]


def questions(folder: Path, times: int = 1) -> str:
    """Write a file with 4 questions in 3 conversations, so often."""
    rows = [{**row, "id": f"{row['id']}-{number}"} for number in range(times) for row in QUESTIONS]
    (folder / "mine.json").write_text(json.dumps(rows))
    return "mine.json"


def rows_of(folder: Path) -> list[BenchRow]:
    return from_csv((folder / "out/rows.csv").read_text(), "rows.csv")


@pytest.mark.slow
async def test_strategies_are_compared_on_a_fleet_of_its_own(tmp_path: Path) -> None:
    """The command line of requirement A7: rows for each question under each strategy, a line for each strategy, and the page."""
    options = (
        "--query-set",
        questions(tmp_path),
        "--thresholds",
        "5",
        "500",
        "--strategies",
        "token",
        "hybrid",
        "energy:eco",
    )
    done = await drover(
        "bench", *options, "--cache-modes", "off", "on", *FILES, *FAST, *PATIENT, cwd=tmp_path, **NOWHERE
    )
    rows = rows_of(tmp_path)
    with (tmp_path / "out/sum.csv").open() as file:
        lines = list(csv.DictReader(file))
    page = (tmp_path / "out/sum.html").read_text()

    assert 0 == done.status, done.err
    assert ({"token:5", "token:500", "hybrid", "energy:eco"}, 32) == ({row.strategy for row in rows}, len(rows))
    by_devices = [row for row in rows if not row.hit]
    assert [] == [row for row in by_devices if not (row.success and row.device in {"nano", "pi5"} and row.simulated)]
    assert [] == [
        row for row in by_devices if None in (row.latency_s, row.first_token_s, row.total_s, row.predicted_total_s)
    ]
    assert [] == [row for row in rows if row.hit and row.cache == "off"]
    assert ["estimated"] == list({row.energy for row in rows if row.energy_j and row.energy_j > 0})
    assert [("token:5", "5", "off", "4"), ("token:5", "5", "on", "4"), ("token:500", "500", "off", "4")] == [
        (line["strategy"], line["threshold"], line["cache"], line["n"]) for line in lines[:3]
    ]
    assert [] == [line for line in lines if float(line["success_rate"]) != 1.0]
    assert (5, True) == (page.count("<svg"), "The devices are simulated" in page)


@pytest.mark.slow
async def test_an_interrupted_bench_goes_on_where_it_was(tmp_path: Path) -> None:
    """Ctrl-C ends its fleet, keeps the rows and writes the figures; the same command asks only what is left; other settings are
    refused."""
    command = ("bench", "-q", questions(tmp_path, times=12), "--strategies", "hybrid", "perf", *FILES, *FAST, *PATIENT)
    async with running(*command, cwd=tmp_path, **NOWHERE) as first:
        await first.until(r"\d+ of 96 done")
        children = [psutil.Process(child.pid) for child in first.children()]
        first.signal(signal.SIGINT)
        status = await first.ended()
        await gone(*children)
    before = rows_of(tmp_path)
    partly = (tmp_path / "out/sum.html").read_text()
    other = await drover(*command, "--seed", "5", cwd=tmp_path, **NOWHERE)
    again = await drover(*command, cwd=tmp_path, **NOWHERE)
    after = rows_of(tmp_path)
    once_more = await drover(*command, cwd=tmp_path, **NOWHERE)

    assert (130, True, True) == (status, 0 < len(before) < 96, len(children) > 5)
    assert f"This is a part: {len(before)} of 96 questions" in partly
    assert (1, True) == (other.status, "seed was 0 and is 5" in other.err)
    assert 0 == again.status, again.err
    assert f"{len(before)} of 96 are in out/rows.csv already" in again.err
    assert (96, 96, before) == (len(after), len({row.key for row in after}), after[: len(before)])
    assert (0, False) == (once_more.status, "starting a simulated fleet" in once_more.err)


@pytest.mark.slow
async def test_a_running_fleet_is_measured_over_both_of_its_doors(tmp_path: Path) -> None:
    """NATS and the HTTP bridge give the same account, random arrivals and a question that fails included."""
    knobs = {"DROVER_HTTP_PORT": "0", "DROVER_NATS_PORT": "0", "DROVER_SIM_TIME_FACTOR": "100", "DROVER_DEVICES": "pi5"}
    (tmp_path / "nobody.json").write_text('[{"prompt": "hi", "model": "gpt-7"}]')
    command = (
        "bench",
        "-q",
        questions(tmp_path),
        "nobody.json",
        "--strategies",
        "token:5",
        "--arrival",
        "poisson",
        "--rate",
        "20",
    )
    async with running("up", cwd=tmp_path, **NOWHERE, **knobs) as up:
        doors = (await up.until(r"drover is up: (http://\S+)  \((nats://\S+)\)")).groups()
        for number, url in enumerate(doors):
            files = ("--output-csv", f"out/{number}.csv", "--no-report")
            done = await drover(*command, "--url", url, *files, cwd=tmp_path, **NOWHERE)
            *rows, failed = sorted(
                from_csv((tmp_path / f"out/{number}-queries.csv").read_text(), url), key=lambda row: not row.success
            )

            assert 1 == done.status, done.err
            assert ("nobody", "unknown_model", "") == (failed.query_set, failed.error, failed.device)
            assert (4, {"pi5"}, {"token:5"}) == (
                len(rows),
                {row.device for row in rows},
                {row.strategy for row in rows},
            )
            assert [] == [
                row for row in rows if None in (row.total_s, row.predicted_total_s, row.complexity, row.energy_j)
            ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--strategies", "hybrit"), "there is no strategy 'hybrit'"),
        (("--thresholds", "100", "many"), "--thresholds 'many' is no number of tokens"),
        (("--cache-modes", "maybe"), "--cache-modes 'maybe' is no cache mode: use off, on, or both"),
        (("--query-set", "missing.json"), "missing.json: there is no such file"),
        (("--setting", "DROVER_HTTP_PORT=1"), "--setting DROVER_HTTP_PORT can't be set"),
        (("--devices", "nano,nano"), "--devices: 'nano' stands twice"),
        (("--arrival", "poisson"), "--arrival poisson needs --rate"),
        (("--url", "nats://127.0.0.1:{port}"), "or leave --url out and a simulated one is started"),
        (("--url", "http://127.0.0.1:{port}"), "or leave --url out and a simulated one is started"),
    ],
)
async def test_what_can_not_be_measured_is_said_at_once(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    """One line with the way out, status 1, and no report."""
    given = [word.format(port=free_port()) for word in options]
    done = await drover("bench", *given, cwd=tmp_path, DROVER_NATS_CONNECT_WAIT_S="1")

    assert (1, True) == (done.status, said in done.err), done.err
    assert ["drover: "] == [line[:8] for line in done.err.splitlines() if not re.match(r"drover: starting", line)]
    assert [] == [*(tmp_path / "results").glob("*.html")]  # a folder of a test


@pytest.mark.slow
async def test_a_fleet_that_dies_costs_no_rows(tmp_path: Path) -> None:
    """A running fleet is killed under the bench: it ends by itself, no row blames a strategy, and what it has stays."""
    knobs = {"DROVER_HTTP_PORT": "0", "DROVER_NATS_PORT": "0", "DROVER_SIM_TIME_FACTOR": "100", "DROVER_DEVICES": "pi5"}
    async with running("up", cwd=tmp_path, **NOWHERE, **knobs) as up:
        url = (await up.until(r"drover is up: (http://\S+)  ")).group(1)
        command = ("bench", "-q", questions(tmp_path, times=300), "--strategies", "perf", "--url", url, *FILES)
        async with running(*command, cwd=tmp_path, **NOWHERE) as bench:
            await bench.until(r"\d+ of 1200 done")
            up.signal(signal.SIGKILL)
            status = await bench.ended()
            said = bench.text
    rows = rows_of(tmp_path)

    assert (1, True) == (status, "the same command goes on there" in said), said
    assert 0 < len(rows) < 1200
    assert {"disconnected", "no_responders", "no_dispatcher", "bus_timeout"}.isdisjoint(row.error for row in rows)
