"""Labelled questions from files: what is read, and what is refused with the line that is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from common.errors import LabelsError
from dispatcher.lab.cache.data import Pair, Question, read_all


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_a_table_of_questions_is_read_with_the_part_that_its_name_says(tmp_path: Path) -> None:
    """`shop_test.csv.gz` is the test part of shop, and any of the usual names of a column will do."""
    path = written(tmp_path, "shop_test.csv.gz", 'text,category\n"Where is it, please?",where\n')

    assert read_all([path]).questions == (
        Question(text="Where is it, please?", intent="where", source="shop", part="test"),
    )


def test_an_object_of_parts_is_read(tmp_path: Path) -> None:
    """CLINC150's file: a list of [text, intent] for each part; what is out of scope belongs to no intent."""
    path = written(tmp_path, "full.json", '{"val": [["a", "x"]], "test": [["b", "x"]], "oos_test": [["c", "oos"]]}')

    assert [(one.part, one.outside) for one in read_all([path]).questions] == [
        ("train", False),
        ("test", False),
        ("test", True),
    ]


def test_pairs_are_read_from_lines_and_those_that_nobody_judged_are_counted(tmp_path: Path) -> None:
    """The file of the mode shadow has no verdict until somebody writes one into it."""
    lines = '{"asked": "a", "kept": "b", "similarity": 0.9}\n\n{"asked": "c", "kept": "d", "same": false, "similarity": 0.8}\n'
    found = read_all([written(tmp_path, "shadow.jsonl", lines)])

    assert (found.unlabelled, found.pairs) == (1, (Pair(asked="c", kept="d", same=False, source="shadow"),))


def test_similar_questions_are_pairs(tmp_path: Path) -> None:
    """The form in which a question stands with those that mean the same."""
    path = written(tmp_path, "cases.json", '[{"original_question": "a", "similar_questions": ["b", "c"]}]')

    assert [(pair.asked, pair.kept, pair.same) for pair in read_all([path]).pairs] == [
        ("b", "a", True),
        ("c", "a", True),
    ]


def test_a_folder_is_all_files_in_it(tmp_path: Path) -> None:
    """Files of other kinds in it are left alone."""
    written(tmp_path, "a.csv", "text,intent\nx,1\n")
    written(tmp_path, "b.jsonl", '{"question": "y", "label": "2"}\n')
    written(tmp_path, "README.md", "not data")

    assert [one.text for one in read_all([tmp_path]).questions] == ["x", "y"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "text,intent\nhi,\n", "line 2: there is no text under intent"),
        ("a.csv", "word,number\nhi,1\n", "there is no text under text"),
        ("a.csv", "text,intent\n", "there is no labelled question"),
        ("a.csv", "a,b,same\nx,y,perhaps\n", "line 2: same is 'perhaps'"),
        ("a.jsonl", '{"text": "x"\n', "can't be read"),
        ("a.jsonl", '{"text": 5, "intent": "x"}\n', "there is no text under text"),
        ("a.json", '{"train": {"x": 1}}', "is no list"),
        ("a.json", '{"train": [["only one"]]}', "row 1 is not"),
        ("a.json", "5", "neither a list nor an object"),
        ("a.txt", "hi", "of no known kind"),
        ("a.csv.gz", "", "there is no labelled question"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, text: str, said: str) -> None:
    """With the file, and the line where there is one."""
    path = written(tmp_path, name, text)

    with pytest.raises(LabelsError) as caught:
        read_all([path])

    assert said in str(caught.value)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    """Half of a .gz file is no file."""
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"text,intent\n" + b"x,y\n" * 1000)[:40])

    with pytest.raises(LabelsError, match="can't be read"):
        read_all([path])


def test_a_text_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """Before it takes the memory that comparing it would."""
    path = written(tmp_path, "a.csv", f"text,intent\n{'x' * 20_001},y\n")

    with pytest.raises(LabelsError, match="too long"):
        read_all([path])


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """By name."""
    with pytest.raises(LabelsError, match=r"nothing\.csv"):
        read_all([tmp_path / "nothing.csv"])
