"""What a file of rows keeps, what it asks for again, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import BadRequest
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.store import open_store
from dispatcher.lab.bench.table import from_csv, to_csv

SETTINGS: dict[str, object] = {"seed": 0, "questions": "1 conversations, abc"}
FIRST, SECOND = BenchRow(strategy="hybrid", query_id="1"), BenchRow(strategy="hybrid", query_id="2")
TALK = [BenchRow(strategy="hybrid", query_id="talk", turn=turn, turns=2, success=True) for turn in (1, 2)]


def keep(path: Path, *rows: BenchRow, fresh: bool = False, **changed: object) -> list[BenchRow]:
    """Open the file, add rows as one conversation, and give what was there before."""
    with open_store(path, SETTINGS | changed, fresh=fresh) as store:
        before = list(store.rows)
        if rows:
            store.add(rows)
    return before


def kept(path: Path) -> list[BenchRow]:
    return from_csv(path.read_text(), path.name)


def test_a_store_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Rows of the run before are known, and new ones stand behind them."""
    keep(tmp_path / "q.csv", FIRST)

    assert [FIRST] == keep(tmp_path / "q.csv", SECOND)
    assert [FIRST, SECOND] == kept(tmp_path / "q.csv")


@pytest.mark.parametrize("torn", [to_csv([SECOND], head=False)[:30].encode(), "hybrid,,off,1,ü".encode()[:-1]])
def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path, torn: bytes) -> None:
    """A kill in the middle of a write, and of a character: the whole rows before it stay."""
    keep(tmp_path / "q.csv", FIRST)
    with (tmp_path / "q.csv").open("ab") as file:
        file.write(torn)

    assert [FIRST] == keep(tmp_path / "q.csv", SECOND)
    assert [FIRST, SECOND] == kept(tmp_path / "q.csv")


def test_half_a_conversation_is_none(tmp_path: Path) -> None:
    """Cut behind the first of two turns: it is asked again as a whole, and counts once."""
    keep(tmp_path / "q.csv", *TALK)
    text = (tmp_path / "q.csv").read_text()
    (tmp_path / "q.csv").write_text(text[:-5])

    with open_store(tmp_path / "q.csv", SETTINGS, fresh=False) as store:
        assert set() == store.known
        store.add(TALK)
        assert TALK == store.rows
    assert TALK == keep(tmp_path / "q.csv")


def test_other_settings_are_refused(tmp_path: Path) -> None:
    """Rows of two loads in one table would be compared as if they were of one."""
    keep(tmp_path / "q.csv", FIRST)

    with pytest.raises(BadRequest, match=r"seed was 0 and is 1\): choose another .*--fresh to measure anew"):
        keep(tmp_path / "q.csv", seed=1)
    assert [] == keep(tmp_path / "q.csv", SECOND, fresh=True, seed=1)
    assert [SECOND] == keep(tmp_path / "q.csv", seed=1)


def test_fresh_throws_nothing_away_before_it_has_something(tmp_path: Path) -> None:
    """A fleet that can't be reached costs no rows."""
    keep(tmp_path / "q.csv", FIRST)

    assert [] == keep(tmp_path / "q.csv", fresh=True, seed=1)
    assert [FIRST] == keep(tmp_path / "q.csv")


def test_a_bench_that_measured_nothing_leaves_nothing(tmp_path: Path) -> None:
    """Neither a file nor settings that the next one would have to share; a head without rows binds nobody either."""
    keep(tmp_path / "out/q.csv")
    assert [] == list((tmp_path / "out").iterdir())

    (tmp_path / "out/q.csv").write_text(to_csv((), head=True))
    (tmp_path / "out/q.settings.json").write_text(json.dumps({"seed": 9}))
    keep(tmp_path / "out/q.csv", FIRST)
    assert [FIRST] == keep(tmp_path / "out/q.csv")


def test_two_at_once_do_not_write_one_file(tmp_path: Path) -> None:
    """The second is refused, and waits for nothing."""
    with (
        open_store(tmp_path / "q.csv", SETTINGS, fresh=False),
        pytest.raises(BadRequest, match=r"another bench is writing .*q\.csv"),
        open_store(tmp_path / "q.csv", SETTINGS, fresh=True),
    ):
        pass


def test_a_file_without_its_settings_is_refused(tmp_path: Path) -> None:
    """It may be anything."""
    (tmp_path / "q.csv").write_text("mine\n")

    with pytest.raises(BadRequest, match=r"q\.settings\.json, which says how it was measured, is not readable"):
        keep(tmp_path / "q.csv")
    assert "mine\n" == (tmp_path / "q.csv").read_text()
