"""A table of labels: what is read, and what is refused by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from common.errors import LabelsError
from dispatcher.lab.router.labels import FEWEST, Columns, read_labels

GOOD = "\n".join(f"question {number},{number % 2},1" for number in range(FEWEST))


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read(tmp_path: Path) -> None:
    """Prompts, both models' scores, their difference."""
    labels = read_labels(_written(tmp_path / "a.csv", f"prompt,weak,strong\n{GOOD}\n"))

    assert (len(labels.prompts), labels.gain[:2].tolist(), labels.answers) == (FEWEST, [1.0, 0.0], None)


def test_a_gzipped_table_is_the_same(tmp_path: Path) -> None:
    """By its ending."""
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(f"prompt,weak,strong\n{GOOD}\n".encode()))

    assert len(read_labels(path).prompts) == FEWEST


def test_a_cell_that_is_no_prompt_is_refused(tmp_path: Path) -> None:
    """Before it takes the memory: a dump of megabytes in one cell is a slip of a quote."""
    path = _written(tmp_path / "a.csv", f"prompt,weak,strong\n{GOOD}\n{'x' * 4_000_001},0,1\n")

    with pytest.raises(LabelsError, match="field larger than field limit"):
        read_labels(path)


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    """A table with a column for each model serves any pair."""
    path = _written(tmp_path / "a.csv", f"text,small,large\n{GOOD}\n")

    assert read_labels(path, Columns(prompt="text", weak="small", strong="large")).strong.sum() == FEWEST


def test_bad_rows_are_named_by_line(tmp_path: Path) -> None:
    """All of them at once, each with what is wrong."""
    path = _written(
        tmp_path / "a.csv", f"prompt,weak,strong\nfirst,1,1\n,1,1\nthird,yes,1\nfourth,1,2\nfifth,1,nan\n{GOOD}\n"
    )
    with pytest.raises(LabelsError) as raised:
        read_labels(path)

    assert raised.value.message.partition("bad rows: ")[2] == (
        "line 3: prompt is empty; line 4: weak is 'yes', no number; line 5: strong is 2, not between 0 and 1; "
        "line 6: strong is nan, not between 0 and 1"
    )


def test_a_short_row_is_a_bad_row(tmp_path: Path) -> None:
    """A cell that is not there is no number."""
    with pytest.raises(LabelsError, match=r"line 2: strong is None, no number"):
        read_labels(_written(tmp_path / "a.csv", f"prompt,weak,strong\nfirst,1\n{GOOD}\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"prompt,weak\n{GOOD}\n", "lacks the columns strong: it has prompt, weak"),
        ("", "lacks the columns prompt, weak, strong: it has none"),
        ("prompt,weak,strong\nhi,0,1\n", "has 1 labels: at least 40"),
    ],
)
def test_what_nothing_can_be_learned_from_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """With the name of the file, and what it lacks."""
    with pytest.raises(LabelsError, match=said):
        read_labels(_written(tmp_path / "a.csv", text))


@pytest.mark.parametrize("name", ["gone.csv", "bytes.csv", "cut.csv.gz"])
def test_what_is_no_table_is_refused(tmp_path: Path, name: str) -> None:
    """A missing file, bytes that are no text, a gzip that ends early."""
    (tmp_path / "bytes.csv").write_bytes(b"prompt,weak,strong\n\xff\xfe\x00,1,1\n")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(GOOD.encode())[:40])
    with pytest.raises(LabelsError, match="can't be read as a table"):
        read_labels(tmp_path / name)
