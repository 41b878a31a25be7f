"""The file of labels: what a crash leaves, other settings, two writers."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import LabelsError
from dispatcher.lab.label.store import Label, open_store
from dispatcher.lab.router.labels import read_labels

SETTINGS = {"weak": "w", "strong": "s"}
NASTY = 'a "quoted", comma\r\nline\u2028two\ttab\x0b'


def _label(prompt: str) -> Label:
    return Label(
        prompt=prompt,
        weak=0.25,
        strong=1.0,
        weak_response=NASTY,
        domain="d",
        strong_response="",
        standing="agreed",
        cost_usd=0.001,
    )


def _filled(path: Path, *prompts: str) -> None:
    with open_store(path, SETTINGS) as store:
        for prompt in prompts:
            store.add(_label(prompt))
        store.note(0.5)


def test_what_is_written_is_known_and_can_be_learned_from(tmp_path: Path) -> None:
    """Quotes, commas and every kind of line end come back as they were."""
    prompts = [f"{number} {NASTY}" for number in range(40)]
    _filled(tmp_path / "l.csv", *prompts)
    with open_store(tmp_path / "l.csv", SETTINGS) as store:
        known, spent = set(store.known), store.spent_usd
    labels = read_labels(tmp_path / "l.csv")

    assert (set(prompts), 0.5) == (known, spent)
    assert (tuple(prompts), (NASTY,) * 40, 40 * 0.75) == (labels.prompts, labels.answers, labels.gain.sum())


def test_a_row_cut_anywhere_is_taken_off(tmp_path: Path) -> None:
    """Whatever byte a crash stops at: the rows before it are known, and the next one is whole."""
    path = tmp_path / "l.csv"
    _filled(path, "one", "two")
    whole = path.read_bytes()
    first_ends = len(whole) - len(whole.split(b"\n", 1)[1]) // 2  # both rows are of one length
    for cut in range(first_ends, len(whole)):
        path.write_bytes(whole[:cut])
        with open_store(path, SETTINGS) as store:
            assert {"one"} == store.known, cut
            store.add(_label("two"))
        assert whole == path.read_bytes(), cut


def test_other_settings_are_refused(tmp_path: Path) -> None:
    """By name, with both values."""
    _filled(tmp_path / "l.csv", "one")

    with (
        pytest.raises(LabelsError, match="strong was 's' and is 't'"),
        open_store(tmp_path / "l.csv", {**SETTINGS, "strong": "t"}),
    ):
        pass


def test_a_file_of_another_origin_is_refused(tmp_path: Path) -> None:
    """It is not overwritten."""
    (tmp_path / "l.csv").write_text("prompt,weak,strong\nmine,1,0\n")
    with pytest.raises(LabelsError, match="not made by this verb"), open_store(tmp_path / "l.csv", SETTINGS):
        pass

    assert (tmp_path / "l.csv").read_text() == "prompt,weak,strong\nmine,1,0\n"


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """Two would pay twice for the same rows."""
    with (
        open_store(tmp_path / "l.csv", SETTINGS),
        pytest.raises(LabelsError, match="another process"),
        open_store(tmp_path / "l.csv", SETTINGS),
    ):
        pass


def test_what_was_held_when_it_was_killed_is_spent(tmp_path: Path) -> None:
    """Whether those calls were computed, only the server knows."""
    _filled(tmp_path / "l.csv", "one")
    with open_store(tmp_path / "l.csv", SETTINGS) as store:
        store.note(0.5, 0.25)
    with open_store(tmp_path / "l.csv", SETTINGS) as store:
        store.note(store.spent_usd)
    with open_store(tmp_path / "l.csv", SETTINGS) as store:
        spent = store.spent_usd

    assert spent == 0.75
