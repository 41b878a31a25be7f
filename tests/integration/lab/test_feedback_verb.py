"""`drover lab feedback`: what it writes, that it repeats, and that learned weights recover from a shift better than fixed ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import ConfigError
from dispatcher.lab.feedback.fleet import Plan, Shift
from dispatcher.lab.feedback.study import study
from dispatcher.lab.feedback.verb import feedback_verb

SMALL = Plan(jobs=300, shift_at=100)


def test_learned_weights_recover_better_than_fixed_ones() -> None:
    """Behind the shift the regret over ten fleets is lower, with an interval that leaves no doubt: the whole of it is below 0."""
    found = study(Plan(jobs=1400, shift_at=500), seeds=10, progress=lambda _: None)
    after = next(row for row in found.rows if (row.figure, row.stretch) == ("regret", "all after it"))

    assert after.learned < after.fixed
    assert after.difference.high < 0.0


def test_learning_costs_little_where_nothing_shifts() -> None:
    """Exploration and noise make answers no slower than by a fiftieth, on average."""
    calm = Plan(jobs=1200, shift_at=200, shift=Shift(slower=1.0, faster=1.0))
    found = study(calm, seeds=8, progress=lambda _: None)
    after = next(row for row in found.rows if (row.figure, row.stretch) == ("latency", "all after it"))

    assert after.learned <= 1.02 * after.fixed


def test_the_verb_writes_figures_and_a_plot_and_repeats(tmp_path: Path) -> None:
    """The same seeds give the same file, byte for byte, and PNG and SVG beside it."""
    told = [
        feedback_verb(SMALL, tmp_path / name, seeds=2, first_seed=5, target_s=8.0, plots=name == "one")
        for name in ("one", "two")
    ]
    one, two = ((tmp_path / name / "feedback.json").read_bytes() for name in ("one", "two"))

    assert one == two
    assert (tmp_path / "one" / "feedback.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "one" / "feedback.svg").stat().st_size > 1000
    assert 8 == len(json.loads(one)["rows"])
    assert "2 simulated fleets" in told[0]


def test_a_shift_beyond_the_jobs_is_refused(tmp_path: Path) -> None:
    """There would be nothing to compare."""
    with pytest.raises(ConfigError, match="the shift after 300 of 300"):
        feedback_verb(Plan(jobs=300, shift_at=300), tmp_path, seeds=2, first_seed=0, target_s=8.0, plots=False)
