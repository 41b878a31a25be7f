"""Where values of knobs come from, and how they are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.origins import Origin, Source, by_name, origin_of, told
from common.settings import BusSection, load, shown
from dispatcher.settings import UpSettings


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


@pytest.mark.parametrize(
    ("text", "environment", "origin"),
    [
        ("", None, Origin(Source.DEFAULT)),
        ("# one\n\n\nT_KNOB=1\n", None, Origin(Source.FILE, line=4)),
        ("T_KNOB=1\nexport t_knob='2'\n", None, Origin(Source.FILE, line=2)),
        ('A="x\ny"\nT_KNOB=1\n', None, Origin(Source.FILE, line=3)),
        ("T_KNOB=\n", None, Origin(Source.DEFAULT)),
        ("T_KNOB=1\n", "2", Origin(Source.ENVIRONMENT, passed_over=1)),
        ("T_KNOB=1\n", "", Origin(Source.DEFAULT, passed_over=1)),
    ],
)
def test_the_origin_of_a_value(
    file: Path, monkeypatch: pytest.MonkeyPatch, text: str, environment: str | None, origin: Origin
) -> None:
    """The environment before the file, the last line before the first, and an empty value is none."""
    file.write_text(text)
    if environment is not None:
        monkeypatch.setenv("T_KNOB", environment)

    assert origin == origin_of("T_KNOB", by_name())


def test_a_knob_of_two_pages_is_told_once(file: Path) -> None:
    """As the state directory, which the ledger has, too."""
    assert not file.exists()
    knobs = [one.knob for one in told(load(UpSettings))]

    assert 1 == knobs.count("DROVER_STATE_DIR")
    assert len(knobs) == len(set(knobs))


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("nats://10.0.0.1:4222", "nats://10.0.0.1:4222"),
        ("nats://me:pa@ss/word@host:4222", "nats://(hidden)@host:4222"),
        ("nats://token@a:1,nats://token@b:2", "nats://(hidden)@b:2"),
        ("nats://host?password=x", "nats://host?(hidden)"),
        ("me:word", "(hidden)"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, seen: str) -> None:
    """Whatever characters a password has."""
    assert seen == shown(BusSection(url=url), "url")
