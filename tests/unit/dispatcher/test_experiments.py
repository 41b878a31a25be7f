"""What the lab leaves for others: its bounds, how it is found, and that nothing else is ever read."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common import codec
from common.errors import BadRequest
from dispatcher.experiments import folder as folders
from dispatcher.experiments.folder import MOST_DEPTH, Folder, Found, Unreadable
from dispatcher.experiments.manifest import (
    ENDING,
    MOST_BYTES,
    MOST_POINTS,
    Rows,
    line,
)
from dispatcher.experiments.rows import MOST_LINE, as_csv, as_jsonl
from dispatcher.experiments.writing import beside, rows_of, write_manifest, write_rows
from tests.experiments import NOON, WHOLE, left


def told(root: Path) -> list[tuple[str, str]]:
    """The names of what is found, and what is wrong with it."""
    return [(one.name, one.broken) for one in Folder(root).look()[0]]


def rows(folder: Folder, found: Found) -> bytes:
    with folder.rows(found) as file:
        return file.read()


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """To the last point; and under the same id, by which it is found again. The list does without figures: some hundred runs would
    be gigabytes."""
    left(tmp_path / "deep")
    [found], more = Folder(tmp_path).look()
    one = Folder(tmp_path).find(found.id)
    assert one is not None
    assert found.manifest is not None

    assert (WHOLE, "deep/a.manifest.json", False) == (one.manifest, found.name, more)
    assert (found.id, found.stamp) == (Folder(tmp_path).look()[0][0].id, one.stamp)
    assert (WHOLE.title, WHOLE.rows, [("hybrid", 4, {})], ()) == (
        found.manifest.title,
        found.manifest.rows,
        [(arm.name, arm.n, arm.figures) for arm in found.manifest.arms],
        found.manifest.plots,
    )
    assert b"n,text\n1,one\n" == rows(Folder(tmp_path), found)


def test_there_is_nothing_where_no_folder_is(tmp_path: Path) -> None:
    """Nor where it is a file, or may not be read."""
    (tmp_path / "file").write_text("")

    assert ([], []) == (told(tmp_path / "none"), told(tmp_path / "file"))
    assert Folder(tmp_path).find("x") is None


def test_the_newest_stand_first_and_a_new_one_is_seen(tmp_path: Path) -> None:
    """What changed is read anew, and what went is gone."""
    one, two = left(tmp_path, "one"), left(tmp_path, "two")
    os.utime(one, (NOON, NOON))
    os.utime(two, (NOON + 1, NOON + 1))
    found = Folder(tmp_path)
    first = [one.name for one in found.look()[0]]
    write_manifest(one, replace(WHOLE, title="changed"))
    two.unlink()

    assert ["two.manifest.json", "one.manifest.json"] == first
    assert ["changed"] == [one.manifest.title for one in found.look()[0] if one.manifest]


WRONG: list[tuple[str, Any]] = [
    ("it is none", "{"),
    ("another version", codec.plain(WHOLE) | {"version": 2}),
    ("a field too many", codec.plain(WHOLE) | {"note": "x"}),
    ("another kind", codec.plain(WHOLE) | {"kind": "moon"}),
    ("rows elsewhere", codec.plain(WHOLE) | {"rows": {"file": "../secret.csv", "count": 1}}),
    ("rows by a whole path", codec.plain(WHOLE) | {"rows": {"file": "/etc/passwd", "count": 1}}),
    ("too many points", codec.plain(WHOLE) | {"plots": [{"title": "t", "x": "", "y": "", "lines": [
        {"name": "l", "points": [[0, 0]] * (MOST_POINTS + 1)}]}]}),
    ("endless numbers", json.dumps(codec.plain(WHOLE)).replace("0.25", "Infinity")),
    ("too large", " " * MOST_BYTES + "{}"),
]  # fmt: skip


@pytest.mark.parametrize("content", [content for _, content in WRONG], ids=[name for name, _ in WRONG])
def test_what_is_no_manifest_is_told_to_be_broken(tmp_path: Path, content: Any) -> None:
    """With why, and beside those that are sound."""
    left(tmp_path, "good")
    (tmp_path / f"bad{ENDING}").write_text(content if isinstance(content, str) else json.dumps(content))
    found = dict(told(tmp_path))

    assert ("", True) == (found["good.manifest.json"], 0 < len(found["bad.manifest.json"]) <= 500)


def test_links_lead_nowhere(tmp_path: Path) -> None:
    """A manifest, its rows, or a folder that is a link is not followed, even to what would be sound; nor is a pipe waited for."""
    left(tmp_path / "outside")
    root = tmp_path / "results"
    left(root, "good")
    (root / f"linked{ENDING}").symlink_to(tmp_path / "outside" / f"a{ENDING}")
    (root / "folder").symlink_to(tmp_path / "outside")
    os.mkfifo(root / f"pipe{ENDING}")
    (root / "rows.csv").unlink()
    (root / "rows.csv").symlink_to(tmp_path / "outside" / "rows.csv")
    found = Folder(root)
    good = next(one for one in found.look()[0] if one.manifest is not None)

    assert {"good.manifest.json": False, "linked.manifest.json": True, "pipe.manifest.json": True} == {
        one.name: bool(one.broken) for one in found.look()[0]
    }
    with pytest.raises(Unreadable, match=r"rows\.csv can't be opened"):
        found.rows(good)


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    """Where results lie is the owner's to say."""
    left(tmp_path / "disk")
    (tmp_path / "results").symlink_to(tmp_path / "disk")
    found = Folder(tmp_path / "results")
    [one] = found.look()[0]

    assert ("", b"n,text\n1,one\n") == (one.broken, rows(found, one))


def test_what_is_looked_at_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In depth, in entries and in manifests; that something is left out is told."""
    deep = tmp_path
    for number in range(MOST_DEPTH):
        deep = deep / str(number)
    left(deep)
    for number in range(4):
        left(tmp_path, str(number))
    whole = Folder(tmp_path).look()
    monkeypatch.setattr(folders, "MOST_FOUND", 3)
    fewer = Folder(tmp_path).look()
    monkeypatch.setattr(folders, "MOST_LOOKED_AT", 2)
    fewest = Folder(tmp_path).look()

    assert [(4, False), (3, True), (2, True)] == [(len(found), more) for found, more in (whole, fewer, fewest)]


def test_empty_folders_are_looked_at_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has others in it: without a bound a tree of them would be walked for hours. One that is called a manifest is none."""
    for number in range(4):
        (tmp_path / "tree" / f"{number}{ENDING}" / "empty").mkdir(parents=True)
    left(tmp_path)
    whole = Folder(tmp_path).look()
    monkeypatch.setattr(folders, "MOST_LOOKED_AT", 5)
    bounded = Folder(tmp_path).look()

    assert [(["a.manifest.json"], False), (["a.manifest.json"], True)] == [
        ([one.name for one in found], more) for found, more in (whole, bounded)
    ]


def test_rows_that_are_not_there_or_too_large_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a manifest without any."""
    left(tmp_path, "a")
    left(tmp_path, "b", replace(WHOLE, rows=None))
    found = Folder(tmp_path)
    with_rows, without = sorted(found.look()[0], key=lambda one: one.name)
    with pytest.raises(Unreadable, match="has no rows"):
        found.rows(without)
    monkeypatch.setattr(folders, "MOST_ROWS_BYTES", 3)
    with pytest.raises(Unreadable, match="more than 3"):
        found.rows(with_rows)
    (tmp_path / "rows.csv").unlink()
    with pytest.raises(Unreadable, match="can't be opened"):
        found.rows(with_rows)


def test_rows_come_as_they_are_or_as_objects(tmp_path: Path) -> None:
    """Numbers as numbers, names as names, what is absent as null, and a formula as the text that it was."""
    there = [
        {"n": 1, "s": 0.25, "job": "0012", "said": "=1+1", "text": "two\nlines, quoted"},
        {"n": None, "s": 1e-9, "job": "9" * 30, "said": "-", "more": "x"},
    ]
    written = write_rows(tmp_path / "r.csv", there)
    plain = (tmp_path / "r.csv").read_bytes()
    objects = [json.loads(one) for one in b"".join(as_jsonl(io.BytesIO(plain))).splitlines()]

    assert Rows(file="r.csv", count=2) == written
    assert plain == b"".join(as_csv(io.BytesIO(plain)))
    assert [there[0] | {"more": None}, there[1] | {"text": None}] == objects


def test_a_table_that_is_none_ends_with_an_error() -> None:
    """Behind the rows that could be read; one line without an end is not read to it."""
    for table in (b"a,b\n1,2\n\xff\xfe,\n", b"a,b\n1,2\n" + b"x" * MOST_LINE):
        with pytest.raises(Unreadable, match="no CSV"):
            list(as_jsonl(io.BytesIO(table)))


def test_what_nobody_could_read_is_not_written(tmp_path: Path) -> None:
    """It is told to who makes it."""
    with pytest.raises(BadRequest):
        write_manifest(tmp_path / f"a{ENDING}", replace(WHOLE, title=""))

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "kept"),
    [("rows.csv", True), ("my rows.csv", False), (".hidden", False), ("-o.csv", False), ("é.csv", False)],
)
def test_rows_by_another_name_are_left_out(name: str, kept: bool) -> None:
    """A measurement does not fail for how its file is called."""
    assert kept is (rows_of(Path("somewhere") / name, 1) is not None)


def test_a_manifest_stands_beside_its_file() -> None:
    """Under its name."""
    assert Path("results/bench-mixed-queries.manifest.json") == beside(Path("results/bench-mixed-queries.csv"))


def test_points_are_thinned_and_their_ends_stay() -> None:
    """Evenly; what no plot shows is left out."""
    found = line("l", [(float(x), 2.0 * x) for x in range(10_000)] + [(float("nan"), 1.0), (1.0, float("inf"))])

    assert (MOST_POINTS, (0.0, 0.0), (9999.0, 19998.0)) == (len(found.points), found.points[0], found.points[-1])
    assert sorted(found.points) == list(found.points)
