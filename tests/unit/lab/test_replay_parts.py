"""Recorded jobs as they are read, chosen, timed and reckoned, before any fleet runs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from common import codec
from common.errors import BadRequest, ConfigError
from common.messages import Priority
from common.records import JobEntry
from dispatcher.cells import harmless
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.replay import plan
from dispatcher.lab.replay.caveats import notes, of_idle
from dispatcher.lab.replay.outcome import Lap, Played, Price, happened, metered, outcome, price_of
from dispatcher.lab.replay.plan import Arm, Due
from dispatcher.lab.replay.reckoning import Board, Work, joules
from dispatcher.lab.replay.records import Recorded, chosen, recorded, sped
from dispatcher.lab.replay.source import read

NESTED: dict[str, Any] = {
    "record": "01J0000000000000000000000A",
    "job": "j1",
    "tenant": "acme",
    "state": "done",
    "received_unix_s": 100.0,
    "total_s": 4.0,
    "priority": "batch",
    "asked_model": "llama3.2:1b",
    "device": "orin",
    "usage": {"prompt_tokens": 40, "completion_tokens": 20},
    "energy": {"joules": 36.0, "measured": True, "cost": 0.000003, "currency": "EUR"},
    "cache": {"outcome": "miss"},
}
FLAT: dict[str, Any] = {
    **{name: value for name, value in NESTED.items() if name not in {"usage", "energy", "cache"}},
    "prompt_tokens": 40,
    "completion_tokens": 20,
    "energy_joules": 36.0,
    "energy_measured": True,
    "energy_cost": 0.000003,
    "energy_currency": "EUR",
    "cache_outcome": "miss",
}


def job(at_s: float = 0.0, **more: Any) -> Recorded:
    told: dict[str, Any] = {"name": "r", "state": "done", "prompt_tokens": 40, "completion_tokens": 20, "total_s": 4.0}
    return Recorded(at_s=at_s, **told | more)


def as_text(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def test_a_record_is_the_same_nested_and_flat_and_from_every_kind_of_file(tmp_path: Path) -> None:
    """As it travels, as a table has it, and as a CSV has it, where all is text."""
    pyarrow = pytest.importorskip("pyarrow", reason="of the extra parquet")
    from pyarrow import parquet  # noqa: PLC0415  # as above

    (tmp_path / "a.jsonl").write_text(f"{json.dumps(NESTED)}\n\n")
    (tmp_path / "b.json").write_text(json.dumps([FLAT]))
    (tmp_path / "c.csv").write_text(as_text([FLAT]))
    parquet.write_table(pyarrow.Table.from_pylist([FLAT]), tmp_path / "d.parquet")
    found = [read(tmp_path / name) for name in ("a.jsonl", "b.json", "c.csv", "d.parquet")]

    assert found[0] == found[1] == found[2] == found[3]
    assert [("acme", Priority.BATCH, "llama3.2:1b", 40, 20, 36.0, True)] == [
        (one.tenant, one.priority, one.asked_model, one.prompt_tokens, one.completion_tokens, one.joules, one.measured)
        for one in found[0]
    ]


def test_texts_of_an_export_are_what_they_were(tmp_path: Path) -> None:
    """The apostrophe that the export puts before a formula is taken off, and none that was there before."""
    tenants = ["=acme", "'til noon", "'=x", "plain"]
    (tmp_path / "c.csv").write_text(as_text([{**FLAT, "tenant": harmless(tenant)} for tenant in tenants]))

    assert tenants == [one.tenant for one in read(tmp_path / "c.csv")]


def test_the_ledgers_own_rows_are_read() -> None:
    """A job as it travels, and as the ledger's table and its exports have it, is one and the same."""
    pytest.importorskip("sqlalchemy", reason="of the extra that runs a ledger")
    from dispatcher.ledger.rows import job_row  # noqa: PLC0415  # as above

    entry = codec.build(JobEntry, {**NESTED, "dispatcher": "d", "kind": "chat"})

    assert recorded(codec.plain(entry), "here") == recorded(job_row(entry), "here")
    assert (36.0, 20) == ((found := recorded(job_row(entry), "here")).joules, found.completion_tokens)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"state": "done"}', "a.jsonl line 1 is no record of a job"),
        ("a.jsonl", b"{nope", "a.jsonl line 1: "),
        ("a.json", b"3", "has no list of records"),
        ("a.csv", b"a,b\n1,2\n", "a.csv line 2 is no record of a job"),
        ("a.parquet", b"PAR0", "is no Parquet file"),
        ("a.xlsx", b"", "read from .csv, .jsonl, .json and .parquet"),
        ("a.csv", b"\xff\xfe\n\n", "is no .csv file"),
    ],
)
def test_what_is_no_record_is_refused_where_it_stands(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """The file, and the line where there are lines."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="of the extra parquet")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadRequest, match=said):
        read(tmp_path / name)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Not as a bug."""
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        read(tmp_path / "none.csv")


def test_only_what_a_device_answered_is_run_again_and_the_rest_is_counted() -> None:
    """Cache hits, failures and answers without tokens are left out by reason, and the oldest beyond the limit."""
    records = [job(3.0), job(1.0), job(2.0), job(cached=True), job(state="failed"), job(completion_tokens=0)]
    choice = chosen(records, limit=2)

    assert [2.0, 3.0] == [one.at_s for one in choice.jobs]
    assert 4 == sum(count for _, count in choice.left_out)
    assert {"answered", "failed:", "without", "older"} == {reason.split(" ")[0] for reason, _ in choice.left_out}


def test_numbers_that_no_record_has_are_absent() -> None:
    """Not a number, below nought, no number: nobody knows."""
    row = {**NESTED, "queue_s": float("nan"), "first_token_s": -1, "total_s": "soon", "priority": "urgent"}
    found = recorded(row, "here")

    assert (None, None, None, Priority.NORMAL) == (found.queue_s, found.first_token_s, found.total_s, found.priority)


def test_what_ran_faster_than_life_is_told_as_in_life() -> None:
    """A fleet at ten times: 4 s and 36 J of the wall are 40 s and 360 J of the devices; so are the waits between jobs."""
    first, second = sped([job(100.0, joules=36.0), job(101.0)], 10.0)

    assert (100.0, 110.0, 40.0, 360.0) == (first.at_s, second.at_s, first.total_s, first.joules)


def test_idle_gaps_are_cut_and_busy_ones_are_not() -> None:
    """An hour without work becomes the 360 s after which a model has left; an hour in which one job ran stays."""
    idle = plan.timetable([job(0.0), job(3600.0), job(3601.0)])
    busy = plan.timetable([job(0.0, total_s=3600.0), job(3600.0)])

    assert ([0.0, 364.0, 365.0], 1) == ([one.at_s for one in idle.due], idle.gaps)  # 4 s of work + 360 s
    assert ([0.0, 3600.0], 0) == ([one.at_s for one in busy.due], busy.gaps)
    assert 3605.0 == idle.recorded_s


@pytest.mark.parametrize(
    ("jobs", "speed", "said"),
    [
        ([job(0.0)], 101.0, "--speed 101 is too fast: above 100"),
        (
            [job(number / 2) for number in range(100)],
            100.0,
            "100 jobs arrive in one second, .*: give --speed 12 or less",
        ),
        ([job(number * 300.0) for number in range(100)], 1.0, "each fleet would take 495 minutes: give --speed 16"),
    ],
)
def test_time_is_compressed_within_bounds(jobs: list[Recorded], speed: float, said: str) -> None:
    """What would measure this machine, or take all day, is refused with what would do."""
    with pytest.raises(BadRequest, match=said):
        plan.require_sane(plan.timetable(jobs), speed)


def test_sane_ones_pass() -> None:
    """A bound that refuses everything would pass the test above."""
    plan.require_sane(plan.timetable([job(number * 8.0) for number in range(100)]), 20.0)

    assert 3.0 == plan.peak(plan.timetable([job(number * 8.0) for number in range(100)]), 20.0)


def test_what_came_all_at_once_is_no_fault_of_compressing() -> None:
    """A file of a hundred questions was submitted in one moment: it is at every speed."""
    plan.require_sane(plan.timetable([job(0.0) for _ in range(100)]), 20.0)

    assert 100.0 == plan.peak(plan.timetable([job(0.0) for _ in range(100)]), 1.0)


@pytest.mark.parametrize(
    ("text", "fleet", "name"),
    [
        ("nano,pi5", "nano,pi5", "nano, pi5"),
        ("orin-nano,pi5", "orin-nano=orin,pi5", "orin-nano, pi5"),
        ("shed=pi4, a=orin-nx", "shed=pi4,a=nx", "shed=pi4, a=nx"),
    ],
)
def test_boards_go_by_what_people_call_them(text: str, fleet: str, name: str) -> None:
    """An alias is a name of its own, and plays its board."""
    assert (fleet, name) == (plan.fleet(text), Arm(plan.fleet(text)).name)


@pytest.mark.parametrize("text", ["toaster", "", "nano,nano", "a b"])
def test_what_is_no_fleet_is_refused(text: str) -> None:
    """In the words of the option that it was given with."""
    with pytest.raises(ConfigError, match="--devices"):
        plan.fleet(text)


@pytest.mark.parametrize("tokens", [20, 137, 4000])
def test_a_prompt_has_the_recorded_length_and_is_the_jobs_own(tokens: int) -> None:
    """Filler stands for what nobody recorded; none is the beginning of another."""
    one, other = (Due(job=job(prompt_tokens=tokens), number=number, at_s=0.0) for number in (7, 8))

    assert tokens == plan.tokens_of(plan.prompt(one))
    assert plan.prompt(one)[:2] != plan.prompt(other)[:2]


def test_model_device_and_priority_are_asked_for_where_the_fleet_has_them() -> None:
    """What it does not have goes to auto, without a pin; no answer comes from the cache."""
    due = Due(job=job(asked_model="llama3.2:1b@orin", priority=Priority.BATCH), number=1, at_s=0.0)
    there = plan.request(due, Arm("orin", "perf"), {"llama3.2:1b"}, {"orin"})
    elsewhere = plan.request(due, Arm("pi5"), {"qwen2.5:1.5b"}, {"pi5"})

    assert ("llama3.2:1b@orin", "batch", "off", "perf") == (
        there["model"], there["priority"], there["cache"], there["strategy"],
    )  # fmt: skip
    assert ("auto", False) == (elsewhere["model"], "strategy" in elsewhere)
    assert (1, 1) == plan.asked_elsewhere([due.job], {"qwen2.5:1.5b"}, {"pi5"})


def test_jobs_at_once_share_what_a_device_draws() -> None:
    """10 W above idle: 4 s alone, 2 s with the other: 50 and 10 J, and 60 J in all for the 6 s of work."""
    works = [
        Work(device="a", from_s=0.0, to_s=6.0),
        Work(device="a", from_s=4.0, to_s=6.0),
        Work(device="b", from_s=0.0, to_s=1.0),
    ]

    assert [50.0, 10.0, None] == joules(works, {"a": Board(idle_w=5.0, busy_w=15.0)})


def played(due: Due, *, success: bool = True, latency_s: float = 8.0) -> Played:
    row = BenchRow(
        strategy="x",
        success=success,
        device="orin" if success else "",
        latency_s=latency_s,
        lag_s=0.0,
        queue_s=1.0,
        decode_tps=10.0,
        completion_tokens=20,
        time_factor=10.0,
    )
    return Played(due=due, row=row, ended_s=due.at_s + latency_s)


def lap(*one: Played, unfinished: int = 0) -> Lap:
    return metered(
        Lap(
            arm=Arm("orin"),
            played=one,
            unfinished=unfinished,
            boards={"orin": Board(idle_w=5.0, busy_w=15.0)},
            models=frozenset({"qwen2.5:7b"}),
            devices=frozenset({"orin"}),
            simulated=True,
            wall_s=1.0,
        )
    )


def test_a_run_is_told_beside_what_happened() -> None:
    """20 tokens at 10 a second are 2 s at 10 W above idle: 20 J; a job without an answer took nothing that is known."""
    due = Due(job=job(joules=36.0, measured=True, cost=0.36, currency="EUR"), number=1, at_s=0.0)
    price = price_of([due.job])
    before, after = happened([due.job]), outcome(lap(played(due), played(due, success=False), unfinished=1), price)

    assert Price(per_kwh=36_000.0, currency="EUR") == price
    assert (36.0, True, 4.0, 1.8) == (before.taken.joules, before.measured, before.total.p50_s, before.taken.per_token)
    assert (20.0, 1, 3, 8.0, 1.0) == (
        after.taken.joules,
        after.answered,
        after.jobs,
        after.total.p50_s,
        after.taken.per_token,
    )
    assert (0.2, 5.0) == (pytest.approx(after.cost), after.idle_w)


def test_the_notes_say_what_is_not_known() -> None:
    """Simulated, filler, faster than life and how much of that distorts, what was left out, what had no answer, and idle watts."""
    due = Due(job=job(asked_model="mistral:7b"), number=1, at_s=0.0)
    run = lap(played(due), unfinished=2)
    about = [*notes([run], plan.timetable([due.job]), [("failed: no answer was recorded", 3)], 10.0)]
    said = "\n".join([*about, *of_idle([outcome(run, None)], 60.0)])
    words = (
        "simulated", "never recorded", "10 times faster", "3 failed", "1 jobs asked for a model", "2 jobs had no answer",
        "62 % of the median latency", "orin 300 J",
    )  # fmt: skip

    assert list(words) == [word for word in words if word in said]


def test_too_many_runs_are_refused() -> None:
    """Five fleets with five strategies would take all day."""
    with pytest.raises(BadRequest, match="25 runs are too many"):
        plan.arms(["nano", "orin", "nx", "pi5", "pi4"], ["a", "b", "c", "d", "e"])
